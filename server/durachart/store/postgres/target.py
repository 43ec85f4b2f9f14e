"""Which database, as an operator writes it: a URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

SCHEMES: Final = ("postgresql", "postgres")
EXAMPLE: Final = "write postgresql://USER@HOST:PORT/DATABASE"
_POOL_SIZE: Final = "pool_size"
_MAX_POOL_SIZE: Final = 1_000


class TargetInvalid(ValueError):
    """The URL names no PostgreSQL database; the text says why, without the URL's password."""


@dataclass(frozen=True, slots=True)
class PostgresTarget:
    """A database.

    Attributes:
        dsn: What the driver is given, password included: never shown, never logged.
        shown: Host and database, for people.
        pool_size: Connections for the event path, from 1 to 1,000; None: as many as are right for most.
    """

    dsn: str
    shown: str
    pool_size: int | None = None

    def __repr__(self) -> str:
        return f"PostgresTarget({self.shown})"


def parse_target(url: str) -> PostgresTarget:
    """Read ``postgresql://user:password@host:port/database?pool_size=8``.

    What else PostgreSQL's own tools take in a URL (``sslmode``, ``host`` for a Unix socket, …) is taken here.
    What is missing comes from PostgreSQL's own variables (``PGPASSWORD``, …) and defaults.

    Raises:
        TargetInvalid: It is not such a URL.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise TargetInvalid(f"the database's URL cannot be read: {error}; {EXAMPLE}") from None
    if parts.scheme not in SCHEMES:
        raise TargetInvalid(f"{parts.scheme!r} is not PostgreSQL; {EXAMPLE}")
    database = unquote(parts.path[1:])
    if not database:
        raise TargetInvalid(f"the URL names no database; {EXAMPLE}")
    options = parse_qsl(parts.query, keep_blank_values=True)
    pool_size = None
    for name, value in options:
        if name == _POOL_SIZE:
            pool_size = _size(value)
    query = urlencode([option for option in options if option[0] != _POOL_SIZE])
    place = parts.netloc.rpartition("@")[2] or dict(options).get("host", "") or "localhost"
    dsn = f"postgresql://{parts.netloc}{parts.path}" + (f"?{query}" if query else "")
    return PostgresTarget(dsn, f"{place}/{database}", pool_size)


def _size(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MAX_POOL_SIZE:
        raise TargetInvalid(f"{_POOL_SIZE} is {text!r}; it must be a number from 1 to {_MAX_POOL_SIZE:,}")
    return int(text)
