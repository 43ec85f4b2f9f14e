"""Reading what a batch needs to know, in one statement, that is from one cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import asyncpg

from durachart.store.interface import Head, Loaded, StoredInstance, Wanted
from durachart.store.keys import InstanceKey, shard
from durachart.store.postgres.arrays import KEY, Columns, matches_key, parameter_numbers, transposed
from durachart.store.rows import EffectRow, InstanceRow, RequestRow
from durachart.store.schema import effects, instances, requests

_KEYS: Final = Columns.of(instances, *KEY)
_REQUEST_KEYS: Final = Columns.of(requests, *KEY, "request_id")
_EFFECT_KEYS: Final = Columns.of(effects, *KEY, "effect_id")


def _statement() -> str:
    numbers = parameter_numbers()
    key = ", ".join(f"w.{name}" for name in KEY)
    return (
        f"WITH w AS MATERIALIZED (SELECT * FROM {_KEYS.unnested('w', numbers)})"
        f" SELECT ARRAY(SELECT ROW({Columns.of(instances).listed('r')})"
        f" FROM w JOIN instances r ON {matches_key('r', 'w')}),"
        f" ARRAY(SELECT ROW({key}, h.seq, h.hash, h.at_ms) FROM w CROSS JOIN LATERAL"
        f" (SELECT j.seq, j.hash, j.at_ms FROM journal j WHERE {matches_key('j', 'w')}"
        " ORDER BY j.seq DESC LIMIT 1) h),"
        f" ARRAY(SELECT ROW({Columns.of(effects).listed('e')})"
        f" FROM w JOIN effects e ON {matches_key('e', 'w')} AND e.finalized_at_ms IS NULL"
        " ORDER BY e.created_at_ms, e.version, e.ordinal),"
        f" ARRAY(SELECT ROW({Columns.of(requests).listed('q')})"
        f" FROM {_REQUEST_KEYS.unnested('a', numbers)}"
        f" JOIN requests q ON {matches_key('q', 'a', 'request_id')}),"
        f" ARRAY(SELECT ROW({Columns.of(effects).listed('e')})"
        f" FROM {_EFFECT_KEYS.unnested('a', numbers)}"
        f" JOIN effects e ON {matches_key('e', 'a', 'effect_id')})"
    )


_LOAD: Final = _statement()


async def load(connection: asyncpg.Connection, wanted: Wanted) -> Loaded:
    """See ``Store.load``."""
    found = await connection.fetchrow(
        _LOAD,
        *transposed(_KEYS, _storable([(shard(key), *key) for key in wanted.instances])),
        *transposed(_REQUEST_KEYS, _storable([(shard(key), *key, name) for key, name in wanted.requests])),
        *transposed(_EFFECT_KEYS, _storable([(shard(key), *key, name) for key, name in wanted.effects])),
    )
    running: dict[InstanceKey, list[EffectRow]] = {}
    for effect in map(EffectRow._make, found[2]):
        running.setdefault(effect.key, []).append(effect)
    rows = map(InstanceRow._make, found[0])
    return Loaded(
        {row.key: StoredInstance(row, tuple(running.get(row.key, ()))) for row in rows},
        dict(_heads(found[1])),
        {(row.key, row.request_id): row for row in map(RequestRow._make, found[3])},
        {(row.key, row.effect_id): row for row in map(EffectRow._make, found[4])},
    )


def _storable(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Those that may exist: no text here holds U+0000. Asking for one would fail for the whole batch."""
    return [row for row in rows if not any("\0" in name for name in row[1:])]


def _heads(rows: Sequence[Sequence[Any]]) -> Iterator[tuple[InstanceKey, Head]]:
    for _, namespace, machine_id, instance_id, *head in rows:
        yield InstanceKey(namespace, machine_id, instance_id), Head._make(head)
