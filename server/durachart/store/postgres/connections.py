"""Connections to the database: how they are opened, and what is set on each."""

from __future__ import annotations

import logging
from typing import Final

import asyncpg

from durachart.store.postgres import revisions
from durachart.store.postgres.target import PostgresTarget

_log = logging.getLogger(__name__)

_SETTINGS: Final = {
    # What is acknowledged is on disk, whatever the database does by default. Stricter settings stay.
    "synchronous_commit": "CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'"
    " ELSE current_setting('synchronous_commit') END",
    # The statements of the event path touch few rows by their keys, however large the tables are. Planned
    # once, when the tables may have been empty, they must not go through them from end to end.
    "plan_cache_mode": "'force_generic_plan'",
    "enable_seqscan": "'off'",
    "enable_hashjoin": "'off'",
    "enable_mergejoin": "'off'",
    "jit": "'off'",
    # A node that halts amid a transaction must not keep rows locked, nor the log from being final.
    "idle_in_transaction_session_timeout": "'15s'",
    # Instants are numbers; whatever else is asked for must not depend on where the server stands.
    "timezone": "'UTC'",
}
_SET: Final = "SELECT " + ", ".join(
    f"set_config('{name}', {value}, false)" for name, value in _SETTINGS.items()
)
MIGRATION_LOCK: Final = 0x6475_7261_6368_6172
"""Advisory lock of whoever brings a database up to date ("durachar")."""


async def connect(
    target: PostgresTarget, *, connect_timeout_s: float, command_timeout_s: float | None
) -> asyncpg.Connection:
    """Open a connection as the database's defaults have it."""
    return await asyncpg.connect(
        target.dsn,
        timeout=connect_timeout_s,
        command_timeout=command_timeout_s,
        server_settings={"application_name": "durachart"},
    )


async def prepare(connection: asyncpg.Connection) -> None:
    """Make a new connection fit for the event path.

    The database behind it may be another one than a moment ago, restored from a dump: see `revisions`.
    """
    await connection.execute(_SET)
    if await connection.fetchval(revisions.IS_AHEAD):
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
            raised = await connection.execute(revisions.RAISE_OFFSET)
        _log.warning("the log goes on in a restored copy of the database result=%s", raised)
