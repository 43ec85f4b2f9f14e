"""Deleting instances, as functions on a connection in a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncpg

from durachart.store.interface import InstanceDelete
from durachart.store.postgres.arrays import KEY, Columns, matches_key, parameter_numbers, transposed
from durachart.store.schema import tombstones

_GONE: Final = Columns.of(tombstones)
_unnested: Final = _GONE.unnested("a", parameter_numbers())

_DELETE_INSTANCES: Final = (
    f"DELETE FROM instances r USING {_unnested} WHERE {matches_key('r', 'a')} AND r.uid = a.uid"
)
_INSERT_TOMBSTONES: Final = (
    f"INSERT INTO tombstones ({_GONE.listed()}) SELECT {_GONE.listed()} FROM {_unnested}"
)
# Effects that the instance of now, if there is one, did not ask for. Attempts and steps have no uid.
_PURGE_EFFECTS: Final = (
    f"WITH gone AS (DELETE FROM effects r USING {_unnested}"
    f" WHERE {matches_key('r', 'a')} AND r.uid IS DISTINCT FROM"
    f" (SELECT i.uid FROM instances i WHERE {matches_key('i', 'a')})"
    f" RETURNING {', '.join(f'r.{name}' for name in KEY)}, r.effect_id),"
    " attempts AS (DELETE FROM effect_attempts t USING gone"
    f" WHERE {matches_key('t', 'gone', 'effect_id')})"
    f" DELETE FROM effect_steps t USING gone WHERE {matches_key('t', 'gone', 'effect_id')}"
)
_PURGE_REQUESTS: Final = (
    f"DELETE FROM requests r USING {_unnested} WHERE {matches_key('r', 'a')} AND r.seq < a.seq"
)
_PURGE_JOURNAL: Final = (
    f"DELETE FROM journal r USING {_unnested} WHERE {matches_key('r', 'a')} AND r.seq < a.seq"
)


async def delete(connection: asyncpg.Connection, deletes: Sequence[InstanceDelete]) -> None:
    """Remove instances that have been found as they were judged."""
    stored = [gone.tombstone for gone in deletes if gone.from_version is not None]
    if stored:
        await connection.execute(_DELETE_INSTANCES, *transposed(_GONE, stored))


async def remember(connection: asyncpg.Connection, deletes: Sequence[InstanceDelete]) -> None:
    """Keep what is remembered, and purge where that was asked for.

    Last, because what the batch itself wrote of the instance goes as well.
    """
    if deletes:
        await connection.execute(_INSERT_TOMBSTONES, *transposed(_GONE, [gone.tombstone for gone in deletes]))
    purged = [gone.tombstone for gone in deletes if gone.purge]
    if purged:
        for statement in (_PURGE_EFFECTS, _PURGE_REQUESTS, _PURGE_JOURNAL):
            await connection.execute(statement, *transposed(_GONE, purged))
