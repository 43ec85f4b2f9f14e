"""Reading what a batch needs.

The driver lets other Python threads run before each row and takes its turn again after it, for which it may
have to wait as long as the interpreter lets a thread run. So all that is wanted, however many rows it is,
comes as one row of JSON, which SQLite makes while the event loop goes on. The event loop waits while that is
parsed, which is why large contexts come as they are, in rows of their own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import Column, LargeBinary, Table

from durachart.store.interface import Head, Loaded, StoredInstance, Wanted
from durachart.store.keys import InstanceKey, shard
from durachart.store.rows import EffectRow, InstanceRow, RequestRow
from durachart.store.schema import effects, instances, journal, requests
from durachart.store.sqlite import statements as sql

_KEY: Final = ("shard", "namespace", "machine_id", "instance_id")
_CANCEL_ON_EXIT: Final = EffectRow._fields.index("cancel_on_exit")
_BODY_HASH: Final = RequestRow._fields.index("body_hash")
# More than a row of its own costs: a context of this size is parsed in about 10 µs.
_LARGE_CHARACTERS: Final = 8_192


def _values(table: Table, names: Iterable[str]) -> str:
    """Columns as the items of a JSON array; bytes as hexadecimal digits, a large context as no text."""
    return ", ".join(_value(table, table.columns[name]) for name in names)


def _value(table: Table, column: Column[Any]) -> str:
    name = f"{table.name}.{column.name}"
    if isinstance(column.type, LargeBinary):
        return f"hex({name})"
    return f"iif({_is_large}, '', {name})" if column is instances.c.context else name


_is_large = f"length(instances.context) > {_LARGE_CHARACTERS}"


def _found(wanted: str, keys: Sequence[str], table: Table, names: Iterable[str], more: str = "") -> str:
    """Rows of ``table`` for all that is ``wanted``, looked up one after the other in its primary key."""
    same = " AND ".join(f"{table.name}.{key} = {wanted}.{key}" for key in keys)
    # CROSS JOIN keeps SQLite from looking through the table for the keys instead.
    return (
        f"(SELECT json_group_array(json_array({_values(table, names)}))"  # noqa: S608 - our names
        f" FROM {wanted} CROSS JOIN {table.name} ON {same}{more})"
    )


def _given(name: str, keys: Sequence[str], parameter: int) -> str:
    """A table of keys, from a parameter that is a JSON array of arrays."""
    values = ", ".join(f"json_extract(value, '$[{at}]')" for at in range(len(keys)))
    return f"{name}({', '.join(keys)}) AS (SELECT {values} FROM json_each(?{parameter}))"  # noqa: S608


_newest = " AND ".join(f"newer.{name} = wanted.{name}" for name in _KEY)
_ASKED: Final = (*_KEY, "request_id")
_same_instance = " AND ".join(f"instances.{name} = wanted.{name}" for name in _KEY)
# One statement, so that it is one cut.
_LOAD: Final = (
    f"WITH {_given('wanted', _KEY, 1)}, {_given('asked', _ASKED, 2)} SELECT "  # noqa: S608
    + ", ".join(
        (
            _found("wanted", _KEY, instances, InstanceRow._fields),
            _found(
                "wanted",
                _KEY,
                journal,
                ("namespace", "machine_id", "instance_id", "seq", "hash", "at_ms"),
                f" AND journal.seq = (SELECT max(newer.seq) FROM journal AS newer WHERE {_newest})",  # noqa: S608
            ),
            _found("wanted", _KEY, effects, EffectRow._fields, " AND effects.finalized_at_ms IS NULL"),
            _found("asked", _ASKED, requests, RequestRow._fields),
            "NULL",
        )
    )
    + " UNION ALL SELECT wanted.namespace, wanted.machine_id, wanted.instance_id, NULL, instances.context"
    + f" FROM wanted CROSS JOIN instances ON {_same_instance} WHERE {_is_large}"
)


def load(connection: sqlite3.Connection, wanted: Wanted) -> Loaded:
    """See ``Store.load``. On the writer's connection all is one cut, elsewhere all but the wanted effects."""
    places = [(shard(key), *key) for key in wanted.instances]
    asked = [(shard(key), *key, request_id) for key, request_id in wanted.requests]
    found: Sequence[str] = ()
    large: dict[InstanceKey, str] = {}
    for *fields, context in connection.execute(_LOAD, (_json(places), _json(asked))):
        if context is None:
            found = fields
        else:
            large[InstanceKey(*fields[:3])] = context
    stored, newest, unfinished, known = map(orjson.loads, found)
    running: dict[InstanceKey, list[EffectRow]] = {}
    for effect in sorted(map(effect_row, unfinished), key=_as_asked_for):
        running.setdefault(effect.key, []).append(effect)
    instances_found = {}
    for fields in stored:
        row = InstanceRow._make(fields)
        if not row.context:
            row = row._replace(context=large.get(row.key, ""))
        instances_found[row.key] = StoredInstance(row, tuple(running.get(row.key, ())))
    heads = {
        InstanceKey(*row[:3]): Head(row[3], bytes.fromhex(row[4]), row[5])  # as `_LOAD` has them
        for row in newest
    }
    requests_found = {}
    for fields in known:
        fields[_BODY_HASH] = bytes.fromhex(fields[_BODY_HASH])
        request = RequestRow._make(fields)
        requests_found[request.key, request.request_id] = request
    effects_found = {}
    for key, effect_id in wanted.effects:
        row = connection.execute(sql.SELECT_EFFECT.sql, (shard(key), *key, effect_id)).fetchone()
        if row is not None:
            effects_found[key, effect_id] = effect_row(row)
    return Loaded(instances_found, heads, requests_found, effects_found)


def effect_row(row: Sequence[Any]) -> EffectRow:
    """A row of ``effects`` as read; SQLite has no booleans."""
    fields = list(row)
    fields[_CANCEL_ON_EXIT] = bool(fields[_CANCEL_ON_EXIT])
    return EffectRow._make(fields)


def _json(rows: Sequence[Sequence[Any]]) -> str:
    return orjson.dumps(rows).decode()


def _as_asked_for(effect: EffectRow) -> tuple[int, int, int]:
    return effect.created_at_ms, effect.version, effect.ordinal
