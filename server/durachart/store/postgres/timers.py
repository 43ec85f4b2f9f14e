"""Claims on due timers, as functions on a connection; each is one statement."""

from __future__ import annotations

from typing import Final

import asyncpg

from durachart.store.postgres.arrays import Columns, matches_key
from durachart.store.rows import TimerRow
from durachart.store.schema import timers

_TIMER: Final = Columns.of(timers)
_CLAIM: Final = (
    f"WITH due AS MATERIALIZED (SELECT {_TIMER.listed()} FROM timers"
    " WHERE due_at_ms <= $1 AND claimed_until_ms <= $1"
    " ORDER BY due_at_ms, sequence LIMIT $2 FOR UPDATE SKIP LOCKED),"
    " claimed AS (UPDATE timers t SET claimed_until_ms = $3 FROM due d"
    f" WHERE {matches_key('t', 'd', 'timer_key')} RETURNING {_TIMER.listed('t')})"
    " SELECT * FROM claimed ORDER BY due_at_ms, sequence"
)
# What is claimed was due, so it stands before the first that is not: two short stretches of the index.
_NEXT: Final = (
    "WITH free AS MATERIALIZED (SELECT due_at_ms FROM timers WHERE claimed_until_ms <= due_at_ms"
    " ORDER BY due_at_ms, sequence LIMIT 1)"
    " SELECT least((SELECT due_at_ms FROM free),"
    " (SELECT min(claimed_until_ms) FROM timers WHERE claimed_until_ms > due_at_ms"
    " AND due_at_ms <= coalesce((SELECT due_at_ms FROM free), 9223372036854775807)))"
)


async def claim(connection: asyncpg.Connection, before_ms: int, limit: int, until_ms: int) -> list[TimerRow]:
    """See ``Store.claim_due_timers``."""
    return [TimerRow(*row) for row in await connection.fetch(_CLAIM, before_ms, limit, until_ms)]


async def next_due(connection: asyncpg.Connection) -> int | None:
    """See ``Store.next_due``."""
    found: int | None = await connection.fetchval(_NEXT)
    return found
