"""SQLAlchemy Core statements as SQL text with positions, compiled once, for a connection used directly.

Building and compiling a statement costs a hundred times what SQLite needs to run it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Table, bindparam, delete, func, insert, literal_column, select, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import insert as insert_or_update
from sqlalchemy.sql import ClauseElement

from durachart.store.rows import EffectEnd, EffectRow, InstanceRow, TimerRow
from durachart.store.schema import (
    definitions,
    effect_attempts,
    effect_steps,
    effects,
    instances,
    journal,
    requests,
    store_info,
    timers,
)
from durachart.store.sqlite.many_rows import ManyRows, insert_many

_DIALECT = sqlite.dialect(paramstyle="qmark")
_KEY = ("shard", "namespace", "machine_id", "instance_id")


class Statement(NamedTuple):
    """SQL text and what goes where.

    Attributes:
        sql: With ``?`` for each parameter.
        names: Names of the parameters, in order.
    """

    sql: str
    names: tuple[str, ...]

    def arranger(self, fields: Sequence[str]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
        """A function that arranges a tuple of ``fields`` as the parameters of this statement."""
        return itemgetter(*(fields.index(name.removeprefix("p_")) for name in self.names))

    def bind(self, **values: object) -> list[object]:
        """The parameters by name, in order. For cold paths."""
        return [values[name.removeprefix("p_")] for name in self.names]


def compiled(clause: ClauseElement) -> Statement:
    """``clause`` for SQLite."""
    done = clause.compile(dialect=_DIALECT)
    return Statement(str(done), tuple(getattr(done, "positiontup", None) or ()))


def _is(table: Table, *names: str) -> list[Any]:
    """``column = parameter`` for each name. A parameter is ``p_`` and the name, apart from a column's own."""
    return [table.c[name] == bindparam(f"p_{name}") for name in names]


def _set(*names: str) -> dict[str, Any]:
    return {name: bindparam(f"p_{name}") for name in names}


_unfinished = effects.c.finalized_at_ms.is_(None)

INSERT_JOURNAL = compiled(insert(journal))
INSERT_INSTANCE = compiled(insert(instances))
INSERT_EFFECT = compiled(insert(effects))
INSERT_TIMER = compiled(insert(timers))
INSERT_REQUEST = compiled(insert(requests))
WRITE_JOURNAL = insert_many(INSERT_JOURNAL.sql)
WRITE_INSTANCES = insert_many(INSERT_INSTANCE.sql)
WRITE_EFFECTS = insert_many(INSERT_EFFECT.sql)
WRITE_TIMERS = insert_many(INSERT_TIMER.sql)
WRITE_REQUESTS = insert_many(INSERT_REQUEST.sql)
INSERT_INFO = compiled(insert(store_info).prefix_with("OR IGNORE"))

# The result columns of an instance; its key, uid, labels and instant of creation never change.
_RESULT = (
    "machine_version",
    "version",
    "status",
    "value",
    "context",
    "internals",
    "updated_at_ms",
    "seq",
    "snapshot_seq",
)
_JUDGED = (*_KEY, "uid", "from_version")


def _update_instances() -> ManyRows:
    """Each row is a result and what it was judged on. By hand: Core writes no UPDATE … FROM (VALUES …)."""
    columns = (*_RESULT, *_JUDGED)
    # The columns of VALUES have these names.
    number = {name: f"new.column{place}" for place, name in enumerate(columns, 1)}
    results = ", ".join(f"{name} = {number[name]}" for name in _RESULT)
    judged = " AND ".join(
        f"{instances.name}.{name.removeprefix('from_')} = {number[name]}" for name in _JUDGED
    )
    before = f"UPDATE {instances.name} SET {results} FROM (VALUES"  # noqa: S608 - names of our own schema
    return ManyRows(before, len(columns), f") AS new WHERE {judged}")


UPDATE_INSTANCES = _update_instances()
_fields = (*InstanceRow._fields, "from_version")
arrange_instance_update: Callable[[Sequence[Any]], tuple[Any, ...]] = itemgetter(
    *(_fields.index(name) for name in (*_RESULT, *_JUDGED))
)

_end = update(effects).values(_set("state", "finalized_at_ms", "output", "error"))
# A worker's end of an effect holds only under its own lease; a cancellation under any.
END_EFFECT_LEASED = compiled(_end.where(*_is(effects, *_KEY, "effect_id", "lease_token"), _unfinished))
END_EFFECT = compiled(_end.where(*_is(effects, *_KEY, "effect_id"), _unfinished))
# What came of an effect after it had been cancelled is kept once: then its lease is worth nothing any more.
KEEP_LATE_END = compiled(
    update(effects)
    .where(*_is(effects, *_KEY, "effect_id", "lease_token"), effects.c.state == literal_column("'cancelled'"))
    .values(**_set("output", "error"), lease_token=literal_column("''"))
)
arrange_late_end = KEEP_LATE_END.arranger(EffectEnd._fields)
arrange_end_leased = END_EFFECT_LEASED.arranger(EffectEnd._fields)
arrange_end = END_EFFECT.arranger(EffectEnd._fields)
# Of the attempts at an effect at most one is open.
END_ATTEMPT = compiled(
    update(effect_attempts)
    .where(*_is(effect_attempts, *_KEY, "effect_id"), effect_attempts.c.outcome == literal_column("''"))
    .values(**_set("outcome", "error"), ended_at_ms=bindparam("p_finalized_at_ms"))
)
arrange_attempt_end = END_ATTEMPT.arranger(EffectEnd._fields)
REVIVE_EFFECT = compiled(
    update(effects)
    .where(*_is(effects, *_KEY, "effect_id"), effects.c.state == literal_column("'discarded'"))
    .values(
        _set("state", "max_attempts", "scheduled_at_ms", "lease_token", "finalized_at_ms", "output", "error")
    )
)
arrange_revival = REVIVE_EFFECT.arranger(EffectRow._fields)

DELETE_TIMER = compiled(delete(timers).where(*_is(timers, *_KEY, "timer_key", "uid", "sequence")))
arrange_timer_gone = DELETE_TIMER.arranger(TimerRow._fields)

SELECT_UID = compiled(select(instances.c.uid).where(*_is(instances, *_KEY, "uid")))
SELECT_HEAD = compiled(
    select(journal.c.seq, journal.c.hash, journal.c.at_ms)
    .where(*_is(journal, *_KEY))
    .order_by(journal.c.seq.desc())
    .limit(literal_column("1"))
    .offset(literal_column("0"))
)
SELECT_EFFECT = compiled(select(effects).where(*_is(effects, *_KEY, "effect_id")))


SELECT_NEWEST_REVISION = compiled(select(func.max(journal.c.revision)))
SELECT_INFO = compiled(select(store_info.c.value).where(*_is(store_info, "name")))

SELECT_WAITING = compiled(
    select(effects)
    .where(
        effects.c.handler == bindparam("p_handler"),
        effects.c.priority == bindparam("p_priority"),
        effects.c.scheduled_at_ms <= bindparam("p_now_ms"),
        _unfinished,
    )
    .order_by(effects.c.scheduled_at_ms, effects.c.created_at_ms, effects.c.version, effects.c.ordinal)
    .limit(bindparam("p_limit"))
    .offset(literal_column("0"))
)
BEGIN_ATTEMPT = compiled(
    update(effects)
    .where(*_is(effects, *_KEY, "effect_id"))
    .values(
        _set(
            "state",
            "attempt",
            "scheduled_at_ms",
            "lease_holder",
            "lease_token",
            "lease_epoch",
            "attempted_at_ms",
        )
    )
)
arrange_attempt = BEGIN_ATTEMPT.arranger(EffectRow._fields)
INSERT_ATTEMPT = compiled(insert(effect_attempts))
# Workers that this database's process runs itself are gone with it; those of other processes may live on.
RELEASE_LEASES = compiled(
    update(effects)
    .where(
        effects.c.state == literal_column("'running'"),
        effects.c.lease_holder.like(literal_column("'server/%'")),
        _unfinished,
    )
    .values(scheduled_at_ms=effects.c.created_at_ms)
)
_leased = (*_is(effects, *_KEY, "effect_id", "lease_token"), _unfinished)
EXTEND_LEASE = compiled(update(effects).where(*_leased).values(_set("scheduled_at_ms")))
RETRY_EFFECT = compiled(
    update(effects)
    .where(*_leased)
    .values(
        **_set("state", "scheduled_at_ms", "error"),
        max_attempts=effects.c.max_attempts + bindparam("p_more_attempts"),
        lease_token=literal_column("''"),
    )
)
HOLDS_LEASE = compiled(select(literal_column("1")).select_from(effects).where(*_leased))
SELECT_NEXT_ORDINAL = compiled(
    select(func.coalesce(func.max(effect_steps.c.ordinal), literal_column("0")) + literal_column("1")).where(
        *_is(effect_steps, *_KEY, "effect_id")
    )
)
_new_step = insert_or_update(effect_steps)
RECORD_STEP = compiled(
    _new_step.on_conflict_do_update(
        index_elements=[*_KEY, "effect_id", "name"],
        set_={
            name: _new_step.excluded[name] for name in ("attempt", "state", "output", "error", "ended_at_ms")
        },
        where=effect_steps.c.state != literal_column("'completed'"),
    )
)
SELECT_STEP = compiled(select(effect_steps).where(*_is(effect_steps, *_KEY, "effect_id", "name")))

INSERT_DEFINITION = compiled(insert(definitions))
SELECT_SAME_DEFINITION = compiled(select(definitions).where(*_is(definitions, "machine_id", "content_hash")))
SELECT_LATEST_VERSION = compiled(
    select(func.max(definitions.c.version)).where(*_is(definitions, "machine_id"))
)
