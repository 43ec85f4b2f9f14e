"""Removing what was kept long enough, as functions on a connection.

As on every database a finished instance goes in two steps: its row is exchanged for a tombstone, and what it
leaves behind is removed some rows at a time, the tombstone last. Each statement is a transaction of its own,
short enough not to hold back those who watch. One node at a time removes: an advisory lock, which ends with
its connection, keeps the others out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import asyncpg

from durachart.store.interface import Expirable
from durachart.store.keys import InstanceKey, shard
from durachart.store.postgres.arrays import KEY, matches_key

_LOCK: Final = 0x6475_7261_6578_7069
"""Advisory lock of whoever removes ("duraexpi")."""
_ROWS: Final = 500
"""Rows of a table that one call removes of journals, and of what instances left behind."""
_STRETCH: Final = 1_100
"""Rows of a journal that are looked at to find where to cut it: more than lie between two whole contexts."""

_KEY_LIST: Final = ", ".join(KEY)
_HERE: Final = " AND ".join(f"{name} = ${place}" for place, name in enumerate(KEY, 1))
_OF_EFFECTS: Final = ("effect_attempts", "effect_steps", "effects")
_RAISE_COMPACTED: Final = (
    "INSERT INTO store_info AS s (name, value) SELECT 'compacted_revision', max(revision)::text FROM gone"
    " HAVING max(revision) IS NOT NULL ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    " WHERE excluded.value::bigint > s.value::bigint"
)

# An instance has finished when it is done, nothing it asked for is still to be carried out, and nobody has
# tried anything with it for long enough. Whoever is trying now has locked its row.
_FINISHED: Final = (
    f"WITH finished AS MATERIALIZED (SELECT {_KEY_LIST}, uid,"
    f" (SELECT max(seq) FROM journal o WHERE {matches_key('o', 'i')}) AS last_seq FROM instances i"
    " WHERE status <> 'active' AND updated_at_ms < $1"
    f" AND NOT EXISTS (SELECT FROM effects o WHERE {matches_key('o', 'i')} AND o.finalized_at_ms IS NULL)"
    f" AND coalesce((SELECT at_ms FROM journal o WHERE {matches_key('o', 'i')}"
    " ORDER BY seq DESC LIMIT 1), 0) < $1"
    " ORDER BY updated_at_ms LIMIT $2 FOR UPDATE OF i SKIP LOCKED),"
    f" a AS (DELETE FROM instances t USING finished f WHERE {matches_key('t', 'f')}),"
    f" b AS (DELETE FROM timers t USING finished f WHERE {matches_key('t', 'f')}),"
    f" c AS (INSERT INTO tombstones ({_KEY_LIST}, uid, seq, deleted_at_ms)"
    f" SELECT {_KEY_LIST}, uid, coalesce(last_seq, 0), $1 - 1 FROM finished)"
    " SELECT count(*) FROM finished"
)
_TOMBSTONES: Final = (
    f"SELECT {_KEY_LIST}, uid, seq FROM tombstones"
    " WHERE deleted_at_ms < $1 ORDER BY deleted_at_ms, seq LIMIT $2"
)
# Place, uid, seq, room. The tombstone goes with the last of it.
_LEFT_BEHIND: Final = (
    f"WITH gone AS MATERIALIZED (SELECT seq, revision FROM journal WHERE {_HERE} AND seq <= $6"
    " ORDER BY seq LIMIT $7),"
    f" asked AS MATERIALIZED (SELECT request_id FROM requests WHERE {_HERE} AND seq BETWEEN 1 AND $6"
    " LIMIT $7),"
    f" ran AS MATERIALIZED (SELECT effect_id FROM effects WHERE {_HERE} AND uid = $5 LIMIT $7),"
    " counted AS MATERIALIZED (SELECT greatest((SELECT count(*) FROM gone), (SELECT count(*) FROM asked),"
    " (SELECT count(*) FROM ran)) AS rows),"
    # The last row goes together with the tombstone: see the same of SQLite.
    f" a AS (DELETE FROM journal t USING gone WHERE {_HERE} AND t.seq = gone.seq"
    " AND (gone.seq < $6 OR (SELECT rows FROM counted) < $7)),"
    f" b AS ({_RAISE_COMPACTED}),"
    f" c AS (DELETE FROM requests t USING asked WHERE {_HERE} AND t.request_id = asked.request_id),"
    + "".join(
        f" d{count} AS (DELETE FROM {table} t USING ran WHERE {_HERE} AND t.effect_id = ran.effect_id),"
        for count, table in enumerate(_OF_EFFECTS)
    )
    + f" e AS (DELETE FROM tombstones WHERE {_HERE} AND uid = $5 AND (SELECT rows FROM counted) < $7)"
    " SELECT rows FROM counted"
)
_EFFECTS: Final = (
    f"WITH ended AS MATERIALIZED (SELECT {_KEY_LIST}, effect_id FROM effects"
    " WHERE finalized_at_ms IS NOT NULL AND finalized_at_ms < $1"
    " ORDER BY finalized_at_ms LIMIT $2 FOR UPDATE SKIP LOCKED),"
    + ",".join(
        f" d{count} AS (DELETE FROM {table} t USING ended e WHERE {matches_key('t', 'e', 'effect_id')})"
        for count, table in enumerate(_OF_EFFECTS)
    )
    + " SELECT count(*) FROM ended"
)
_REQUESTS: Final = (
    f"WITH old AS MATERIALIZED (SELECT {_KEY_LIST}, request_id FROM requests WHERE created_at_ms < $1"
    " ORDER BY created_at_ms LIMIT $2),"
    f" d AS (DELETE FROM requests t USING old o WHERE {matches_key('t', 'o', 'request_id')})"
    " SELECT count(*) FROM old"
)
# The next instances whose journal has a whole context, beside the first row, that is old enough.
_CUTTABLE: Final = (
    "SELECT i.namespace, i.machine_id, i.instance_id, i.snapshot_seq FROM instances i"
    f" CROSS JOIN LATERAL (SELECT seq, at_ms FROM journal o WHERE {matches_key('o', 'i')}"
    " ORDER BY seq LIMIT 1) f"
    " WHERE (i.shard, i.namespace, i.machine_id, i.instance_id) > ($1, $2, $3, $4)"
    " AND f.at_ms < $5 AND f.seq < i.snapshot_seq"
    f" AND (SELECT o.at_ms FROM journal o WHERE {matches_key('o', 'i')} AND o.seq > f.seq"
    " AND o.context IS NOT NULL ORDER BY o.seq LIMIT 1) < $5"
    " ORDER BY i.shard, i.namespace, i.machine_id, i.instance_id LIMIT $6"
)
# Place, newest whole context, before. A row that a request id still names is kept, and all after it.
_CUT: Final = (
    f"WITH looked AS MATERIALIZED (SELECT seq, revision, at_ms, context IS NOT NULL AS whole FROM journal"
    f" WHERE {_HERE} AND seq <= least($5, (SELECT min(seq) FROM requests WHERE {_HERE} AND seq > 0))"
    f" ORDER BY seq LIMIT {_STRETCH}),"
    " gone AS MATERIALIZED (SELECT seq, revision FROM looked"
    " WHERE seq < (SELECT max(seq) FROM looked WHERE whole AND at_ms < $6)),"
    f" a AS (DELETE FROM journal t USING gone WHERE {_HERE} AND t.seq = gone.seq),"
    f" b AS ({_RAISE_COMPACTED})"
    " SELECT count(*) FROM gone"
)


class Cut(NamedTuple):
    """What cutting journals came to.

    Attributes:
        removed: Rows.
        after: Where to go on; None: from the beginning.
    """

    removed: int
    after: InstanceKey | None


async def expire(connection: asyncpg.Connection, what: Expirable, before_ms: int, limit: int) -> int:
    """See ``Store.expire``; of all but journals."""
    async with _alone(connection) as alone:
        if not alone:
            return 0
        if what == "deleted":
            return await _remove_left_behind(connection, before_ms, limit)
        statement = {"instances": _FINISHED, "effects": _EFFECTS, "requests": _REQUESTS}[what]
        removed: int = await connection.fetchval(statement, before_ms, limit)
        return removed


async def cut_journals(
    connection: asyncpg.Connection, before_ms: int, after: InstanceKey | None, limit: int
) -> Cut:
    """Remove old rows before whole contexts, some thousand at most, of the next ``limit`` instances."""
    async with _alone(connection) as alone:
        if not alone:
            return Cut(0, after)
        place = (-1, "", "", "") if after is None else (shard(after), *after)
        found = await connection.fetch(_CUTTABLE, *place, before_ms, limit)
        removed = 0
        last = after
        for *names, snapshot_seq in found:
            key = InstanceKey(*names)
            while removed < _ROWS:
                rows = await connection.fetchval(_CUT, shard(key), *key, snapshot_seq, before_ms)
                removed += rows
                if not rows:
                    break
            if removed >= _ROWS:
                return Cut(removed, last)
            last = key
        return Cut(removed, last if len(found) == limit else None)


@asynccontextmanager
async def _alone(connection: asyncpg.Connection) -> AsyncIterator[bool]:
    """Whether no other node removes; none does while the block runs."""
    locked = await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK)
    try:
        yield locked
    finally:
        if locked and not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def _remove_left_behind(connection: asyncpg.Connection, before_ms: int, limit: int) -> int:
    found = await connection.fetch(_TOMBSTONES, before_ms, limit)
    room = _ROWS
    for tombstone in found:
        room -= await connection.fetchval(_LEFT_BEHIND, *tombstone, room)
        if room <= 0:
            break  # there is more
    return len(found)
