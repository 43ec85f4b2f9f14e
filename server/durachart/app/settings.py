"""What an operator can set. Options of ``durachart serve``, or ``DURACHART_*`` in the environment.

Values are checked here, once, each with one sentence that names the option; what is built from them need
not check again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from durachart.fronts.address import GRPC_DEFAULT, HTTP_DEFAULT, Address, parse_address
from durachart.fronts.grpc_settings import GrpcServer
from durachart.store.postgres.target import SCHEMES, PostgresTarget, TargetInvalid, parse_target
from durachart.workers.http_targets import HttpTargets, read_hosts
from durachart.workers.providers.settings import ProviderSettings
from durachart.workers.retention_worker import RetentionSettings

DATABASE_FILE = "durachart.db"
OFF = "off"

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]


class SettingInvalid(Exception):
    """A setting cannot be used; the text names the option, says why, and what would do."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what is taken. Sizes are of JSON text in UTF-8.

    Attributes:
        event_bytes: An event's data, or a creation's input.
        context_bytes: A context.
        definition_bytes: A definition document.
        microsteps: Of one macrostep.
    """

    event_bytes: int = 256 * 1024
    context_bytes: int = 1024 * 1024
    definition_bytes: int = 10 * 1024 * 1024
    microsteps: int = 1_000


@dataclass(frozen=True, slots=True)
class Settings:
    """One server.

    Attributes:
        listen: Where gRPC listens; port 0 lets the system choose.
        grpc_server: What speaks HTTP/2 there, see `durachart.fronts.grpc_settings.GrpcSettings`.
        advertise: Where other servers on the same database can call gRPC; None: where it listens.
        http: Where gRPC-Web and Connect listen; None: they are off.
        data_dir: Holds the database; made when missing.
        database: The SQLite file, in a directory that exists; None: ``durachart.db`` in ``data_dir``.
        postgres: The PostgreSQL database that is used instead; None: a file is used.
        nats_url: NATS between servers on the same PostgreSQL database; ``""``: none.
        machines: Directory whose machines are published at the start; None: none are.
        plugins: Modules with plug-ins, beside those of installed packages.
        cors_origins: Web pages that may call; ``*`` is every page.
        otlp_endpoint: Where traces go, as an OTLP/gRPC URL; ``""``: nothing is traced.
        providers: Language models.
        http_targets: Where `http.request` may send requests to.
        concurrency: Most attempts that this server makes at a time, by handler; 0 leaves a handler's effects
            to workers of their own. Handlers that are not named do as they say themselves.
        cache_mib: What instances kept in memory may take, about; MiB, >= 1.
        limits: Bounds of what is taken.
        retention: How long what is kept.
        drain_ms: How long calls under way get when the server is asked to end.
        stream_window: How many events of one StreamEvents may be unanswered before no more are taken, >= 1.
        watch_age: About how long a watch lasts before it is closed with a token, a fifth more or less.
        stalled_ms: How long a response of a stream may wait for its reader before the stream is ended.
        log_level: Least important messages that are logged.
        log_format: ``text`` for people, ``json`` for collectors; one message a line either way.
    """

    listen: Address = GRPC_DEFAULT
    grpc_server: GrpcServer = "own"
    advertise: Address | None = None
    http: Address | None = HTTP_DEFAULT
    data_dir: Path = Path("data")
    database: Path | None = None
    postgres: PostgresTarget | None = None
    nats_url: str = ""
    machines: Path | None = None
    plugins: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    otlp_endpoint: str = ""
    providers: ProviderSettings = field(default_factory=ProviderSettings)
    http_targets: HttpTargets = field(default_factory=HttpTargets)
    concurrency: Mapping[str, int] = field(default_factory=dict)
    cache_mib: int = 128
    limits: Limits = field(default_factory=Limits)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    drain_ms: int = 10_000
    stream_window: int = 256
    watch_age: timedelta = timedelta(minutes=30)
    stalled_ms: int = 60_000
    log_level: LogLevel = "info"
    log_format: LogFormat = "text"

    @property
    def database_path(self) -> Path:
        """The file that holds everything, where a file does."""
        return self.database if self.database is not None else self.data_dir / DATABASE_FILE

    @property
    def database_shown(self) -> str:
        """What holds everything, for people; without a password."""
        return f"postgresql://{self.postgres.shown}" if self.postgres is not None else str(self.database_path)


def address(text: str, option: str) -> Address:
    """Where a front listens.

    Raises:
        SettingInvalid: ``text`` is not an address.
    """
    try:
        return parse_address(text)
    except ValueError as error:
        raise SettingInvalid(f"{option}: {error}") from error


def advertised(text: str, option: str = "--advertise") -> Address | None:
    """Where others can call; None for ``""``.

    Raises:
        SettingInvalid: ``text`` is not an address that others could call.
    """
    if not text:
        return None
    read = address(text, option)
    if not read.port or read.host in ("0.0.0.0", "::"):  # noqa: S104 - refused
        raise SettingInvalid(f"{option}: nobody can call {text!r}; write HOST:PORT as other servers reach it")
    return read


def nats(url: str, target: PostgresTarget | None, option: str = "--nats") -> str:
    """The URL of NATS; ``""`` for none.

    Raises:
        SettingInvalid: It is not one, or there is nothing to share.
    """
    if not url:
        return ""
    parts = urlsplit(url)
    if parts.scheme not in ("nats", "tls") or not parts.hostname:
        raise SettingInvalid(f"{option}: that is not a URL of NATS; write nats://HOST:4222")
    if target is None:
        raise SettingInvalid(
            f"{option}: only servers on PostgreSQL have others to speak to; set --db as well"
        )
    return url


def postgres(url: str, option: str = "--db") -> PostgresTarget | None:
    """The PostgreSQL database a URL names; None: it is not a URL of PostgreSQL.

    Raises:
        SettingInvalid: It is one and cannot be used.
    """
    if url.partition("://")[0] not in SCHEMES:
        return None
    try:
        return parse_target(url)
    except TargetInvalid as error:
        raise SettingInvalid(f"{option}: {error}") from error


def database(url: str, option: str = "--db") -> Path | None:
    """The database file a URL names; None for ``""``, which leaves it to the data directory.

    Raises:
        SettingInvalid: It is not the URL of a SQLite file.
    """
    if not url:
        return None
    example = (
        "write sqlite:///FILE, sqlite:////FILE for an absolute path, or postgresql://USER@HOST:PORT/DATABASE"
    )
    parts = urlsplit(url)
    if parts.scheme != "sqlite":
        raise SettingInvalid(
            f"{option}: {parts.scheme or url!r} is not a database this release can use; {example}"
        )
    if parts.netloc or len(parts.path) < 2 or parts.query:
        raise SettingInvalid(f"{option}: {url!r} names no file; {example}")
    path = parts.path[1:]
    if path == ":memory:":
        raise SettingInvalid(f"{option}: a database in memory would lose what was acknowledged; {example}")
    return Path(path)


def machines_directory(path: Path | None, option: str = "--machines") -> Path | None:
    """The directory to publish from: the one asked for, else ``machines`` if there is one here.

    Raises:
        SettingInvalid: What was asked for is not a directory.
    """
    if path is None:
        default = Path("machines")
        return default if default.is_dir() else None
    if not path.is_dir():
        raise SettingInvalid(f"{option}: {path} is not a directory; name one that holds MACHINE/machine.yaml")
    return path


def origins(words: list[str], option: str = "--cors-origin") -> tuple[str, ...]:
    """Origins as browsers write them, ``https://app.example:8443``, or ``*``.

    Raises:
        SettingInvalid: One is neither.
    """
    for word in words:
        parts = urlsplit(word)
        if word != "*" and (
            parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/")
        ):
            raise SettingInvalid(f"{option}: {word!r} is not an origin; write https://app.example or *")
    return tuple(words)


def http_targets(allow: list[str], deny: list[str]) -> HttpTargets:
    """Where ``http.request`` may send requests to, from the words of ``--http-allow`` and ``--http-deny``.

    Raises:
        SettingInvalid: One is no host.
    """
    read = []
    for words, option in ((allow, "--http-allow"), (deny, "--http-deny")):
        try:
            read.append(read_hosts(words))
        except ValueError as error:
            raise SettingInvalid(f"{option}: {error}") from error
    return HttpTargets(*read)


def concurrency(words: list[str], option: str = "--concurrency") -> Mapping[str, int]:
    """Attempts at a time by handler, each written ``HANDLER=N``.

    Raises:
        SettingInvalid: One is not, or N is no whole number from 0 to 10,000.
    """
    most: dict[str, int] = {}
    for word in words:
        handler, separator, number = word.rpartition("=")
        if not (separator and handler and number.isascii() and number.isdecimal() and int(number) <= 10_000):
            raise SettingInvalid(
                f"{option}: {word!r} is not HANDLER=N with N from 0 to 10,000; write llm.generate=4"
            )
        most[handler] = int(number)
    return most


def endpoint(url: str | None, option: str) -> str | None:
    """An ``http`` or ``https`` URL; None for none.

    Raises:
        SettingInvalid: It is not one.
    """
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SettingInvalid(f"{option}: {url!r} is not a URL; write http://HOST:PORT")
    return url


_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def duration(text: str, option: str) -> timedelta | None:
    """A whole number of seconds, minutes, hours, days or weeks, ``90s`` to ``52w``; None for ``off``.

    Raises:
        SettingInvalid: It is neither.
    """
    if text == OFF:
        return None
    found = _DURATION.fullmatch(text)
    if found is None:
        raise SettingInvalid(
            f"{option}: {text!r} is not a duration; write a whole number over 0 and s, m, h, d or w, "
            f"as in 12h or 7d, or `{OFF}`"
        )
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def watch_age(text: str, option: str = "--watch-age") -> timedelta:
    """How long watches last, as `duration` reads it.

    Raises:
        SettingInvalid: It is no duration; watches that last for ever cannot be had.
    """
    read = duration(text, option)
    if read is None:
        raise SettingInvalid(f"{option}: watches cannot be kept open for ever; write for example 30m")
    return read


def retention(finished: str, requests: str, journal: str) -> RetentionSettings:
    """How long what is kept, from the words of ``--retain-finished``, ``-requests`` and ``-journal``.

    Raises:
        SettingInvalid: One is no duration, or a finished instance would take request ids with it too soon.
    """
    read = RetentionSettings(
        duration(finished, "--retain-finished"),
        duration(requests, "--retain-requests"),
        duration(journal, "--retain-journal"),
    )
    if read.finished is not None and (read.requests is None or read.finished < read.requests):
        raise SettingInvalid(
            f"--retain-finished: {finished} is less than {requests}, for which request ids are kept, and a "
            "finished instance takes its own with it; lower --retain-requests as well"
        )
    return read


def trace_endpoint(url: str | None, option: str = "--otlp-endpoint") -> str:
    """Where traces go: the option's URL, else what OpenTelemetry's own variables say; ``""`` for nowhere.

    Raises:
        SettingInvalid: It is not an OTLP endpoint.
    """
    # Imported here: nothing else that settings are read for needs OpenTelemetry.
    from durachart.app.telemetry import endpoint_of

    try:
        return endpoint_of(url or "")
    except ValueError as error:
        raise SettingInvalid(f"{option}: {error}") from error
