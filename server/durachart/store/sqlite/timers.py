"""Claims on due timers, as functions on the writer's connection."""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy import bindparam, literal_column, select, update

from durachart.store.rows import TimerRow
from durachart.store.schema import timers
from durachart.store.sqlite.statements import compiled

_columns: Final = timers.c
_SELECT_FREE: Final = compiled(
    select(timers)
    .where(
        _columns.due_at_ms <= bindparam("p_before_ms"), _columns.claimed_until_ms <= bindparam("p_before_ms")
    )
    .order_by(_columns.due_at_ms, _columns.sequence)
    .limit(bindparam("p_limit"))
    .offset(literal_column("0"))
)
_CLAIM: Final = compiled(
    update(timers)
    .where(
        *(_columns[name] == bindparam(f"p_{name}") for name in timers.primary_key.columns.keys())  # noqa: SIM118
    )
    .values(claimed_until_ms=bindparam("p_claimed_until_ms"))
)
_arrange_claim: Final = _CLAIM.arranger(TimerRow._fields)
# Whoever had claimed a timer was this file's process before and has ended with it.
RELEASE_CLAIMS: Final = compiled(
    update(timers)
    .where(_columns.claimed_until_ms > literal_column("0"))
    .values(claimed_until_ms=literal_column("0"))
)


def claim(connection: sqlite3.Connection, before_ms: int, limit: int, until_ms: int) -> list[TimerRow]:
    """See ``Store.claim_due_timers``."""
    found = connection.execute(
        _SELECT_FREE.sql, _SELECT_FREE.bind(before_ms=before_ms, limit=limit)
    ).fetchall()
    claimed = [TimerRow._make(row)._replace(claimed_until_ms=until_ms) for row in found]
    if claimed:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_CLAIM.sql, [_arrange_claim(row) for row in claimed])
        connection.execute("COMMIT")
    return claimed
