"""The nodes of a database, and what text they have, as functions on a connection.

All instants are the database's: nodes whose clocks differ still agree on who is there.
"""

from __future__ import annotations

from typing import Final

import asyncpg

from durachart.store.keys import InstanceKey, shard
from durachart.store.nodes import SERVER_HOLDER, RelayRow
from durachart.store.postgres.arrays import KEY, matches_key

_NOW_MS: Final = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
# Long after the lease: a node that was halted and goes on finds its rows.
_LONG_GONE_MS: Final = 3_600_000
_REGISTER: Final = (
    f"INSERT INTO nodes (node_id, address, lease_until_ms) VALUES ($1, $2, {_NOW_MS} + $3)"
    " ON CONFLICT (node_id) DO UPDATE SET address = excluded.address,"
    " lease_until_ms = excluded.lease_until_ms RETURNING xmax = 0"
)
_SWEEP_NODES: Final = f"DELETE FROM nodes WHERE lease_until_ms < {_NOW_MS} - {_LONG_GONE_MS}"
_SWEEP_FEEDS: Final = (
    "DELETE FROM fed_generations f WHERE NOT EXISTS (SELECT 1 FROM nodes n WHERE n.node_id = f.node_id)"
)
_REMOVE: Final = (
    "WITH gone AS (DELETE FROM nodes WHERE node_id = $1) DELETE FROM fed_generations WHERE node_id = $1"
)
_EFFECT_KEY: Final = (*KEY, "effect_id")
_IS_EFFECT: Final = " AND ".join(f"{name} = ${place}" for place, name in enumerate(_EFFECT_KEY, 1))
_CLAIM: Final = (
    f"INSERT INTO fed_generations AS f ({', '.join(_EFFECT_KEY)}, attempt, node_id)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7)"
    f" ON CONFLICT ({', '.join(_EFFECT_KEY)}) DO UPDATE SET"
    " node_id = CASE WHEN f.attempt < excluded.attempt THEN excluded.node_id ELSE f.node_id END,"
    " attempt = greatest(f.attempt, excluded.attempt) RETURNING node_id"
)
_RELEASE: Final = f"DELETE FROM fed_generations WHERE {_IS_EFFECT} AND attempt = $6 AND node_id = $7"
_OF_EFFECT: Final = " AND ".join(f"e.{name} = ${place}" for place, name in enumerate(_EFFECT_KEY, 1))
_FIND: Final = (
    "SELECT n.node_id, n.address, e.attempt FROM effects e"
    f" LEFT JOIN fed_generations f ON {matches_key('f', 'e', 'effect_id')} AND f.attempt = e.attempt"
    " JOIN nodes n ON n.node_id = coalesce(f.node_id, CASE WHEN starts_with(e.lease_holder, $6)"
    " THEN split_part(substr(e.lease_holder, length($6) + 1), '/', 1) END)"
    f" WHERE {_OF_EFFECT} AND e.state = 'running' AND n.lease_until_ms > {_NOW_MS}"
)


async def read_relay_secret(connection: asyncpg.Connection) -> str:
    """See ``NodeTable``."""
    secret: str = await connection.fetchval("SELECT value FROM store_info WHERE name = 'relay_secret'")
    return secret


async def register(connection: asyncpg.Connection, node_id: str, address: str, *, lease_ms: int) -> None:
    """See ``NodeTable``."""
    is_new = await connection.fetchval(_REGISTER, node_id, address, lease_ms)
    if is_new:  # rows are left behind only where nodes die, and where nodes die others are started
        await connection.execute(_SWEEP_NODES)
        await connection.execute(_SWEEP_FEEDS)


async def remove(connection: asyncpg.Connection, node_id: str) -> None:
    """See ``NodeTable``."""
    await connection.execute(_REMOVE, node_id)


async def claim_feed(
    connection: asyncpg.Connection, key: InstanceKey, effect_id: str, attempt: int, node_id: str
) -> str:
    """See ``NodeTable``."""
    owner: str = await connection.fetchval(_CLAIM, shard(key), *key, effect_id, attempt, node_id)
    return owner


async def release_feed(
    connection: asyncpg.Connection, key: InstanceKey, effect_id: str, attempt: int, node_id: str
) -> None:
    """See ``NodeTable``."""
    await connection.execute(_RELEASE, shard(key), *key, effect_id, attempt, node_id)


async def find_relay(connection: asyncpg.Connection, key: InstanceKey, effect_id: str) -> RelayRow | None:
    """See ``NodeTable``."""
    row = await connection.fetchrow(_FIND, shard(key), *key, effect_id, SERVER_HOLDER)
    return None if row is None else RelayRow(*row)
