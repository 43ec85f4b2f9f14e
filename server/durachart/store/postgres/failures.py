"""What went wrong, in a sentence for whoever runs the server."""

from __future__ import annotations

import os
import socket
from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from durachart.store.postgres.target import PostgresTarget

FAILURES: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # Of a connection that was ended while nobody used it, until the driver has noticed.
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    SQLAlchemyError,
)
"""Everything that a database, its driver and the network between may raise."""

_ADVICE: Final = {
    "53100": "the disk is full; free some space",
    "53200": "it is out of memory",
    "53300": "it takes no more connections; raise its max_connections or lower pool_size",
    "57P01": "it was shut down; it is used again once it is back",
    "57P02": "it crashed; it is used again once it is back",
    "57P03": "it is starting up or shutting down; it is used again once it is ready",
    "25006": "it is a read-only copy; use the primary",
    "42501": "the user lacks a privilege; let it own the database",
    "42P01": "a table is missing; was it removed by hand?",
    "58030": "the disk failed to read or write; see its log",
    "XX001": "its data is damaged; restore it from a backup",
    "XX002": "an index is damaged; rebuild it with REINDEX",
}


def describe(error: BaseException) -> str:
    """One sentence about a failure while the database was being used."""
    cause = _cause(error)
    if isinstance(cause, asyncpg.PostgresError) and cause.sqlstate is not None:
        advice = _ADVICE.get(cause.sqlstate)
        # Not `str(cause)`, which goes on with details that may hold what is stored.
        said = cause.args[0] if cause.args else type(cause).__name__
        return f"the database failed: {said}" + (f" ({advice})" if advice else "")
    if isinstance(cause, TimeoutError):
        return "the database did not answer in time; see that it runs and can be reached"
    if isinstance(cause, OSError):
        return f"the database cannot be reached: {_said(cause)}"
    return f"the connection to the database failed: {str(cause) or type(cause).__name__}"


def describe_opening(error: BaseException, target: PostgresTarget) -> str:
    """One sentence about why the database cannot be opened, and what to do."""
    cause = _cause(error)
    begin = f"cannot open the database {target.shown}: "
    if isinstance(cause, asyncpg.InvalidCatalogNameError):
        name = target.shown.rpartition("/")[2]
        return f"{begin}it does not exist; make it with: createdb --encoding UTF8 {name}"
    if isinstance(cause, asyncpg.InvalidAuthorizationSpecificationError):
        return (
            f"{begin}user or password was refused ({cause.args[0]}); give them in the URL, or the password in"
            " PGPASSWORD or ~/.pgpass"
        )
    if isinstance(cause, asyncpg.InsufficientPrivilegeError):
        return (
            f"{begin}its user may not make tables ({cause.args[0]}); let it own the database, or grant it"
            " CREATE on the schema"
        )
    if isinstance(cause, socket.gaierror):
        return f"{begin}its host is not known ({_said(cause)}); see the URL"
    if isinstance(cause, TimeoutError):
        return f"{begin}there was no answer in time; see that it runs and can be reached from here"
    if isinstance(cause, OSError):
        return f"{begin}{_said(cause)}; see that PostgreSQL runs and listens there"
    return f"{begin}{describe(cause)}"


def _cause(error: BaseException) -> BaseException:
    """The driver's own error; SQLAlchemy wraps it twice."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error


def _said(error: OSError) -> str:
    # asyncio words it in its own way; a resolver's numbers are none of the system's.
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return (error.strerror or str(error) or type(error).__name__).lower()
