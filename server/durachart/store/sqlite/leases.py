"""Leases of effects, as functions on the writer's connection; each is one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from durachart.store.interface import Leased
from durachart.store.keys import InstanceKey, shard
from durachart.store.rows import EffectRow
from durachart.store.sqlite import statements as sql
from durachart.store.sqlite.commit import effect_row


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
    waiting: list[EffectRow] = []
    for handler in handlers:
        found = connection.execute(
            sql.SELECT_WAITING.sql, sql.SELECT_WAITING.bind(handler=handler, now_ms=now_ms, limit=limit)
        )
        waiting.extend(effect_row(row) for row in found.fetchall())
    if not waiting:
        return []
    waiting.sort(key=lambda row: (row.scheduled_at_ms, row.created_at_ms, row.version, row.ordinal))
    leased = []
    for row in waiting[:limit]:
        exhausted = row.attempt >= row.max_attempts
        epoch = row.lease_epoch + 1
        leased.append(
            Leased(
                row._replace(
                    state="running",
                    attempt=row.attempt if exhausted else row.attempt + 1,
                    scheduled_at_ms=until_ms,
                    lease_holder=holder,
                    lease_token=f"{epoch}.{new_secret()}",
                    lease_epoch=epoch,
                ),
                exhausted,
            )
        )
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(sql.BEGIN_ATTEMPT.sql, [sql.arrange_attempt(effect.row) for effect in leased])
    connection.execute("COMMIT")
    return leased


def extend(
    connection: sqlite3.Connection, key: InstanceKey, effect_id: str, lease_token: str, *, until_ms: int
) -> EffectRow | None:
    """See ``Store.extend_lease``."""
    return _change(
        connection,
        sql.EXTEND_LEASE,
        key,
        effect_id,
        lease_token=lease_token,
        scheduled_at_ms=until_ms,
    )


def retry(
    connection: sqlite3.Connection,
    key: InstanceKey,
    effect_id: str,
    lease_token: str,
    *,
    scheduled_at_ms: int,
    error: str,
) -> EffectRow | None:
    """See ``Store.retry_effect``."""
    return _change(
        connection,
        sql.RETRY_EFFECT,
        key,
        effect_id,
        lease_token=lease_token,
        scheduled_at_ms=scheduled_at_ms,
        state="retryable",
        error=error,
        # The attempt is over: nobody holds it, and its token is worth nothing any more.
        no_lease="",
    )


def _change(
    connection: sqlite3.Connection,
    statement: sql.Statement,
    key: InstanceKey,
    effect_id: str,
    **values: object,
) -> EffectRow | None:
    where = {**key._asdict(), "shard": shard(key), "effect_id": effect_id}
    changed = connection.execute(statement.sql, statement.bind(**where, **values))
    if changed.rowcount != 1:
        return None
    row = connection.execute(sql.SELECT_EFFECT.sql, sql.SELECT_EFFECT.bind(**where)).fetchone()
    return effect_row(row)
