"""Deleting instances, as functions on the writer's connection, inside the transaction of a batch."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, bindparam, func, insert, literal_column, select
from sqlalchemy import delete as delete_from

from durachart.store.interface import InstanceDelete
from durachart.store.rows import TombstoneRow
from durachart.store.schema import (
    effect_attempts,
    effect_steps,
    effects,
    instances,
    journal,
    requests,
    tombstones,
)
from durachart.store.sqlite.statements import Statement, compiled


def _given(table: Table, *names: str) -> ColumnElement[bool]:
    """The rows whose columns have the values of the parameters of these names."""
    return and_(*(table.c[name] == bindparam(f"p_{name}") for name in names))


def _of_instance(table: Table) -> ColumnElement[bool]:
    return _given(table, "shard", "namespace", "machine_id", "instance_id")


def _before(table: Table) -> Statement:
    """Deletes the rows of an instance that lie before a place in its journal."""
    return compiled(delete_from(table).where(_of_instance(table), table.c.seq < bindparam("p_seq")))


def _of_others(table: Table) -> Statement:
    """Deletes what belongs to effects that the instance of now, if there is one, did not ask for."""
    living = select(instances.c.uid).where(_of_instance(instances)).scalar_subquery()
    asked_by_others = effects.c.uid != func.coalesce(living, literal_column("''"))
    ids = select(effects.c.effect_id).where(_of_instance(effects), asked_by_others)
    return compiled(delete_from(table).where(_of_instance(table), table.c.effect_id.in_(ids)))


_INSERT_TOMBSTONE = compiled(insert(tombstones))
_DELETE_INSTANCE = compiled(
    delete_from(instances).where(_of_instance(instances), _given(instances, "uid", "version"))
)
# The effects last, because the others are found by them.
_PURGE = (
    *map(_of_others, (effect_attempts, effect_steps, effects)),
    *map(_before, (journal, requests)),
)


def delete(connection: sqlite3.Connection, deletes: Sequence[InstanceDelete]) -> int:
    """Remove instances and remember them; returns how many were as they were judged."""
    done = 0
    for tombstone, from_version, _ in deletes:
        if from_version is None:
            done += 1
        else:
            done += _run(connection, _DELETE_INSTANCE, tombstone, version=from_version)
        connection.execute(_INSERT_TOMBSTONE.sql, tombstone)
    return done


def purge(connection: sqlite3.Connection, deletes: Sequence[InstanceDelete]) -> None:
    """Remove what instances left behind, where that was asked for. See `InstanceDelete`."""
    for each in deletes:
        if each.purge:
            for statement in _PURGE:
                _run(connection, statement, each.tombstone)


def _run(connection: sqlite3.Connection, statement: Statement, of: TombstoneRow, **more: Any) -> int:
    return connection.execute(statement.sql, statement.bind(**of._asdict(), **more)).rowcount
