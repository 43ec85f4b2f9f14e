"""Leases of effects, and what is recorded under them, as functions on a connection.

Each is one statement, that is one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncpg

from durachart.crash_points import reach
from durachart.store.interface import Leased
from durachart.store.keys import InstanceKey, shard
from durachart.store.postgres.arrays import KEY, Columns, matches_key
from durachart.store.rows import EffectRow, StepRow
from durachart.store.schema import PRIORITIES, effect_steps, effects

_EFFECT: Final = Columns.of(effects)
_STEP: Final = Columns.of(effect_steps)
_EFFECT_KEY: Final = (*KEY, "effect_id")
_KEY_LIST: Final = ", ".join(_EFFECT_KEY)
_ORDER: Final = "scheduled_at_ms, created_at_ms, version, ordinal"

# A level of priority of a handler is a range of the index, in order. Each gives as many as are asked for;
# those beyond the limit stay locked until the statement ends, a moment in which others pass them by.
_PICKED: Final = (
    "SELECT p.* FROM unnest($1::text[]) AS h(handler)"
    f" CROSS JOIN (VALUES {', '.join(f'({priority}::smallint)' for priority in PRIORITIES)}) AS l(priority)"
    f" CROSS JOIN LATERAL (SELECT {_EFFECT.listed('e')} FROM effects e"
    " WHERE e.handler = h.handler AND e.priority = l.priority AND e.scheduled_at_ms <= $3"
    f" AND e.finalized_at_ms IS NULL ORDER BY {_ORDER} LIMIT $2 FOR UPDATE SKIP LOCKED) p"
)
_EXHAUSTED: Final = "p.attempt >= p.max_attempts"
_LEASE: Final = (
    f"WITH picked AS MATERIALIZED ({_PICKED} ORDER BY priority, {_ORDER} LIMIT $2),"
    " leased AS (UPDATE effects e SET state = 'running', scheduled_at_ms = $4,"
    " lease_epoch = p.lease_epoch + 1,"
    # Random and unforgeable: the token fences whoever held the effect before.
    " lease_token = (p.lease_epoch + 1)::text || '.' || replace(gen_random_uuid()::text, '-', ''),"
    f" attempt = CASE WHEN {_EXHAUSTED} THEN p.attempt ELSE p.attempt + 1 END,"
    f" attempted_at_ms = CASE WHEN {_EXHAUSTED} THEN p.attempted_at_ms ELSE $3 END,"
    f" lease_holder = CASE WHEN {_EXHAUSTED} THEN p.lease_holder ELSE $5 END"
    f" FROM picked p WHERE {matches_key('e', 'p', 'effect_id')}"
    f" RETURNING {_EXHAUSTED} AS exhausted, p.priority AS level, p.scheduled_at_ms AS waited_since,"
    f" {_EFFECT.listed('e')}),"
    " lost AS (UPDATE effect_attempts t SET ended_at_ms = $3, outcome = 'lost' FROM picked p"
    f" WHERE {matches_key('t', 'p', 'effect_id')} AND t.attempt = p.attempt AND t.ended_at_ms IS NULL),"
    f" begun AS (INSERT INTO effect_attempts ({_KEY_LIST}, attempt, lease_holder, started_at_ms, outcome)"
    f" SELECT {_KEY_LIST}, attempt, lease_holder, $3, '' FROM leased WHERE NOT exhausted)"
    f" SELECT exhausted, {_EFFECT.listed()} FROM leased"
    " ORDER BY level, waited_since, created_at_ms, version, ordinal"
)
_IS_LEASED: Final = (
    "shard = $1 AND namespace = $2 AND machine_id = $3 AND instance_id = $4 AND effect_id = $5"
    " AND lease_token = $6 AND finalized_at_ms IS NULL"
)
_EXTEND: Final = f"UPDATE effects SET scheduled_at_ms = $7 WHERE {_IS_LEASED} RETURNING {_EFFECT.listed()}"
_RETRY: Final = (
    "WITH given_back AS (UPDATE effects SET state = 'retryable', scheduled_at_ms = $7, error = $8,"
    " max_attempts = max_attempts + $9, lease_token = ''"
    f" WHERE {_IS_LEASED} RETURNING {_EFFECT.listed()}),"
    " ended AS (UPDATE effect_attempts t SET ended_at_ms = $10, outcome = 'failed', error = $8"
    f" FROM given_back g WHERE {matches_key('t', 'g', 'effect_id')}"
    " AND t.attempt = g.attempt AND t.ended_at_ms IS NULL)"
    f" SELECT {_EFFECT.listed()} FROM given_back"
)
_IS_STEP: Final = " AND ".join(f"t.{name} = ${place}" for place, name in enumerate(_EFFECT_KEY, 1))
# The lock on the effect's row keeps its end, and other steps, behind this step.
_RECORD_STEP: Final = (
    f"WITH held AS MATERIALIZED (SELECT 1 FROM effects WHERE {_IS_LEASED} FOR UPDATE),"
    f" stored AS (INSERT INTO effect_steps AS t ({_STEP.listed()})"
    " SELECT $1, $2, $3, $4, $5, $7,"
    f" (SELECT coalesce(max(t.ordinal), 0) + 1 FROM effect_steps t WHERE {_IS_STEP}),"
    " $8, $9, $10, $11, $12, $13 FROM held"
    f" ON CONFLICT ({_KEY_LIST}, name) DO UPDATE SET attempt = excluded.attempt, state = excluded.state,"
    " output = excluded.output, error = excluded.error, ended_at_ms = excluded.ended_at_ms"
    f" WHERE t.state <> 'completed' RETURNING {_STEP.listed('t')})"
    f" SELECT {_STEP.listed()} FROM stored"
    f" UNION ALL SELECT {_STEP.listed('t')} FROM effect_steps t, held WHERE {_IS_STEP} AND t.name = $7"
    " AND t.state = 'completed'"
)


async def lease(
    connection: asyncpg.Connection,
    handlers: Sequence[str],
    *,
    limit: int,
    holder: str,
    now_ms: int,
    until_ms: int,
) -> list[Leased]:
    """See ``Store.lease_effects``."""
    rows = await connection.fetch(_LEASE, list(dict.fromkeys(handlers)), limit, now_ms, until_ms, holder)
    if rows:
        reach("lease.after")
    return [Leased(EffectRow(*row[1:]), row[0]) for row in map(tuple, rows)]


async def extend(
    connection: asyncpg.Connection, key: InstanceKey, effect_id: str, lease_token: str, *, until_ms: int
) -> EffectRow | None:
    """See ``Store.extend_lease``."""
    row = await connection.fetchrow(_EXTEND, shard(key), *key, effect_id, lease_token, until_ms)
    return None if row is None else EffectRow(*row)


async def retry(
    connection: asyncpg.Connection,
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
    where = (shard(key), *key, effect_id, lease_token)
    row = await connection.fetchrow(_RETRY, *where, scheduled_at_ms, error, more_attempts, now_ms)
    return None if row is None else EffectRow(*row)


async def record_step(connection: asyncpg.Connection, step: StepRow, lease_token: str) -> StepRow | None:
    """See ``Store.record_step``."""
    *effect, name, _, attempt, state, output, error, started_at_ms, ended_at_ms = step
    row = await connection.fetchrow(
        _RECORD_STEP,
        *effect,
        lease_token,
        name,
        attempt,
        state,
        output,
        error,
        started_at_ms,
        ended_at_ms,
    )
    return None if row is None else StepRow(*row)
