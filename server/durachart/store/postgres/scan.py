"""A PostgreSQL database as it is found, read beside whatever servers run on it."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import create_async_engine

from durachart.store.postgres.connections import connect
from durachart.store.postgres.failures import FAILURES, describe
from durachart.store.postgres.target import PostgresTarget
from durachart.store.scan import StoreScan

_CONNECT_TIMEOUT_S = 10.0


def scan_database(target: PostgresTarget) -> StoreScan:
    """Read a database; a statement may take its time."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: connect(target, connect_timeout_s=_CONNECT_TIMEOUT_S, command_timeout_s=None),
        isolation_level="REPEATABLE READ",
        execution_options={"postgresql_readonly": True},
    )
    return StoreScan(engine, target.shown, describe, FAILURES)
