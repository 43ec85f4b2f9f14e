"""Leases of effects, and what is recorded under them, as functions on the writer's connection.

Each is one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from durachart.crash_points import reach
from durachart.store.interface import Leased
from durachart.store.keys import InstanceKey, shard
from durachart.store.rows import AttemptRow, EffectEnd, EffectRow, StepRow
from durachart.store.schema import PRIORITIES
from durachart.store.sqlite import statements as sql
from durachart.store.sqlite.loading import effect_row


def lease(
    connection: sqlite3.Connection,
    handlers: Sequence[str],
    *,
    limit: int,
    holder: str,
    now_ms: int,
    until_ms: int,
    new_secret: Callable[[], str],
) -> list[Leased]:
    """See ``Store.lease_effects``."""
    waiting = _waiting(connection, handlers, now_ms, limit)
    if not waiting:
        return []
    leased = [_leased(row, holder, now_ms, until_ms, new_secret()) for row in waiting]
    lost = [
        EffectEnd(*row[:5], row.state, now_ms, None, None, None, "lost")
        for row in waiting
        if row.state == "running"
    ]
    begun = [
        AttemptRow(*effect.row[:5], effect.row.attempt, holder, now_ms, None, "", None)
        for effect in leased
        if not effect.exhausted
    ]
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(sql.BEGIN_ATTEMPT.sql, [sql.arrange_attempt(effect.row) for effect in leased])
    connection.executemany(sql.END_ATTEMPT.sql, [sql.arrange_attempt_end(end) for end in lost])
    connection.executemany(sql.INSERT_ATTEMPT.sql, begun)
    connection.execute("COMMIT")
    reach("lease.after")
    return leased


def _waiting(
    connection: sqlite3.Connection, handlers: Sequence[str], now_ms: int, limit: int
) -> list[EffectRow]:
    """Those to be leased, in order; a level of priority is looked at when those before it leave room."""
    found: list[EffectRow] = []
    for priority in PRIORITIES:
        room = limit - len(found)
        if room == 0:
            break
        level: list[EffectRow] = []
        for handler in dict.fromkeys(handlers):
            rows = connection.execute(
                sql.SELECT_WAITING.sql,
                sql.SELECT_WAITING.bind(handler=handler, priority=priority, now_ms=now_ms, limit=room),
            )
            level.extend(effect_row(row) for row in rows.fetchall())
        level.sort(key=lambda row: (row.scheduled_at_ms, row.created_at_ms, row.version, row.ordinal))
        found.extend(level[:room])
    return found


def _leased(row: EffectRow, holder: str, now_ms: int, until_ms: int, secret: str) -> Leased:
    exhausted = row.attempt >= row.max_attempts
    epoch = row.lease_epoch + 1
    row = row._replace(
        state="running",
        scheduled_at_ms=until_ms,
        lease_token=f"{epoch}.{secret}",
        lease_epoch=epoch,
    )
    if not exhausted:
        row = row._replace(attempt=row.attempt + 1, attempted_at_ms=now_ms, lease_holder=holder)
    return Leased(row, exhausted)


def extend(
    connection: sqlite3.Connection, key: InstanceKey, effect_id: str, lease_token: str, *, until_ms: int
) -> EffectRow | None:
    """See ``Store.extend_lease``."""
    where = _where(key, effect_id)
    values = sql.EXTEND_LEASE.bind(**where, lease_token=lease_token, scheduled_at_ms=until_ms)
    extended = connection.execute(sql.EXTEND_LEASE.sql, values)
    return _effect(connection, where) if extended.rowcount == 1 else None


def retry(
    connection: sqlite3.Connection,
    key: InstanceKey,
    effect_id: str,
    lease_token: str,
    *,
    now_ms: int,
    scheduled_at_ms: int,
    error: str,
    more_attempts: int,
) -> EffectRow | None:
    """See ``Store.retry_effect``."""
    where = _where(key, effect_id)
    values = sql.RETRY_EFFECT.bind(
        **where,
        lease_token=lease_token,
        scheduled_at_ms=scheduled_at_ms,
        state="retryable",
        error=error,
        more_attempts=more_attempts,
    )
    connection.execute("BEGIN IMMEDIATE")
    retried = connection.execute(sql.RETRY_EFFECT.sql, values).rowcount == 1
    if retried:
        ended = sql.END_ATTEMPT.bind(**where, finalized_at_ms=now_ms, outcome="failed", error=error)
        connection.execute(sql.END_ATTEMPT.sql, ended)
    connection.execute("COMMIT")
    return _effect(connection, where) if retried else None


def record_step(connection: sqlite3.Connection, step: StepRow, lease_token: str) -> StepRow | None:
    """See ``Store.record_step``."""
    where = dict(zip(StepRow._fields[:6], step[:6], strict=True))
    connection.execute("BEGIN IMMEDIATE")
    held = sql.HOLDS_LEASE.bind(**where, lease_token=lease_token)
    if connection.execute(sql.HOLDS_LEASE.sql, held).fetchone() is None:
        connection.execute("ROLLBACK")
        return None
    (ordinal,) = connection.execute(
        sql.SELECT_NEXT_ORDINAL.sql, sql.SELECT_NEXT_ORDINAL.bind(**where)
    ).fetchone()
    connection.execute(sql.RECORD_STEP.sql, step._replace(ordinal=ordinal))
    stored = connection.execute(sql.SELECT_STEP.sql, sql.SELECT_STEP.bind(**where)).fetchone()
    connection.execute("COMMIT")
    return StepRow._make(stored)


def _where(key: InstanceKey, effect_id: str) -> dict[str, object]:
    return {**key._asdict(), "shard": shard(key), "effect_id": effect_id}


def _effect(connection: sqlite3.Connection, where: dict[str, object]) -> EffectRow:
    row = connection.execute(sql.SELECT_EFFECT.sql, sql.SELECT_EFFECT.bind(**where)).fetchone()
    return effect_row(row)
