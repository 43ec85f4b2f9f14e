"""Reads for every database that SQLAlchemy's asyncio engine speaks to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    and_,
    bindparam,
    func,
    literal,
    literal_column,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from durachart.store.errors import StoreFailed
from durachart.store.interface import (
    EffectDetails,
    EffectMatch,
    EffectPosition,
    InstancesPage,
    LogEntry,
    LogMatch,
    LogPage,
    StoredInstance,
)
from durachart.store.keys import SHARDS, InstanceKey
from durachart.store.log_reads import (
    Newest,
    accepted,
    are_instances,
    is_given_instance,
    is_instance,
    newest_revision,
    parameters,
    read_ahead,
    read_log,
    select_entries,
    to_entry,
)
from durachart.store.rows import AttemptRow, EffectRow, InstanceRow, MachineRow, StepRow, TimerRow
from durachart.store.schema import (
    PRIORITIES,
    definitions,
    effect_attempts,
    effect_steps,
    effects,
    instances,
    journal,
    store_info,
    timers,
)

_KEYS_PER_STATEMENT: Final = 200
_HANDLERS_PER_STATEMENT: Final = 25
_UNFINISHED_STATES: Final = ("available", "running", "retryable")
_STATES: Final = {state: state for state in (*_UNFINISHED_STATES, "completed", "discarded", "cancelled")}

# Made once: to put a statement together takes longer than to execute it.
_INSTANCE: Final = select(instances).where(is_given_instance(instances))
_unfinished = effects.c.finalized_at_ms.is_(None)
_as_asked = (effects.c.created_at_ms, effects.c.version, effects.c.ordinal)
_RUNNING: Final = select(effects).where(is_given_instance(effects), _unfinished).order_by(*_as_asked)
_seq = journal.c.seq
_mine = select_entries().where(is_given_instance(journal))
_JOURNAL: Final = _mine.where(_seq >= bindparam("from_seq")).order_by(_seq).limit(bindparam("at_most"))
_JOURNAL_BACK: Final = (
    _mine.where(_seq <= bindparam("from_seq")).order_by(_seq.desc()).limit(bindparam("at_most"))
)
_RESULTS: Final = _mine.where(_seq.between(bindparam("first_seq"), bindparam("last_seq")), accepted).order_by(
    _seq
)


class Reads:
    """The reading half of a store. A method that reads twice does so in one transaction, that is one cut."""

    def __init__(
        self,
        engine: AsyncEngine,
        describe: Callable[[SQLAlchemyError], str],
        newest_final: Newest | None = None,
    ) -> None:
        """Read through ``engine``.

        Args:
            engine: Its connections' transactions must see one snapshot of the database.
            describe: Says what went wrong, in a sentence for whoever runs the server.
            newest_final: Says up to where the log is final, of what a transaction sees; None: all of it is.
        """
        self._engine = engine
        self._describe = describe
        self._newest = newest_final or newest_revision
        self._may_be_ahead = newest_final is not None

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreFailed(self._describe(error)) from error

    # --- instances ---

    async def get_instance(self, key: InstanceKey) -> StoredInstance | None:
        """See ``Store``."""
        given = parameters(key)
        async with self._reading() as connection:
            row = (await connection.execute(_INSTANCE, given)).one_or_none()
            if row is None:
                return None
            running = await connection.execute(_RUNNING, given)
            return StoredInstance(InstanceRow(*row), tuple(EffectRow(*effect) for effect in running))

    async def get_instances(self, keys: Sequence[InstanceKey]) -> InstancesPage:
        """See ``Store``."""
        found: list[InstanceRow] = []
        async with self._reading() as connection:
            revision = await self._newest(connection)
            ahead: dict[InstanceKey, int] = {}
            wanted = sorted(set(keys))
            for first in range(0, len(wanted), _KEYS_PER_STATEMENT):
                some = wanted[first : first + _KEYS_PER_STATEMENT]
                rows = await connection.execute(select(instances).where(are_instances(instances, some)))
                found.extend(sorted((InstanceRow(*row) for row in rows), key=lambda row: row.key))
                if self._may_be_ahead:
                    ahead |= await read_ahead(connection, revision, are_instances(journal, some))
            return InstancesPage(await _with_effects(connection, found), revision, ahead)

    async def list_instances(
        self, namespace: str, machine_id: str, status: str, after: tuple[str, str], limit: int
    ) -> InstancesPage:
        """See ``Store``."""
        columns = instances.c
        statement = (
            select(instances)
            .where(columns.namespace == namespace)
            .order_by(columns.machine_id, columns.instance_id)
            .limit(limit)
        )
        if machine_id:
            statement = statement.where(columns.machine_id == machine_id, columns.instance_id > after[1])
        else:
            statement = statement.where(
                tuple_(columns.machine_id, columns.instance_id) > tuple_(*map(literal, after))
            )
        if status:
            statement = statement.where(columns.status == status)
        async with self._reading() as connection:
            revision = await self._newest(connection)
            rows = [InstanceRow(*row) for row in await connection.execute(statement)]
            ahead = {}
            if self._may_be_ahead:
                among = journal.c.namespace == namespace
                if machine_id:
                    among = and_(among, journal.c.machine_id == machine_id)
                ahead = await read_ahead(connection, revision, among)
            return InstancesPage(await _with_effects(connection, rows), revision, ahead)

    # --- the journal ---

    async def list_journal(
        self, key: InstanceKey, *, from_seq: int, limit: int, newest_first: bool = False
    ) -> list[LogEntry]:
        """See ``Store``."""
        statement = _JOURNAL_BACK if newest_first else _JOURNAL
        return await self._entries(statement, parameters(key, from_seq=from_seq, at_most=limit))

    async def read_results(self, key: InstanceKey, first_seq: int, last_seq: int) -> list[LogEntry]:
        """See ``Store``."""
        return await self._entries(_RESULTS, parameters(key, first_seq=first_seq, last_seq=last_seq))

    async def read_log(self, after: int, limit: int, match: LogMatch, known: Sequence[int] = ()) -> LogPage:
        """See ``Store``."""
        async with self._reading() as connection:
            page = await read_log(connection, after, limit, match, await self._newest(connection))
        if known:
            left_out = frozenset(known)
            entries = [entry for entry in page.entries if entry.revision not in left_out]
            return page._replace(entries=entries)
        return page

    async def newest_revision(self) -> int:
        """See ``Store``."""
        async with self._reading() as connection:
            return await self._newest(connection)

    async def compacted_revision(self) -> int:
        """See ``Store``."""
        return int(await self.info("compacted_revision") or 0)

    async def info(self, name: str) -> str | None:
        """A value of ``store_info``; None when there is none."""
        async with self._reading() as connection:
            value = select(store_info.c.value).where(store_info.c.name == name)
            found: str | None = (await connection.execute(value)).scalar_one_or_none()
            return found

    async def _entries(self, statement: Select[Any], given: Mapping[str, object]) -> list[LogEntry]:
        async with self._reading() as connection:
            return [to_entry(row) for row in await connection.execute(statement, given)]

    # --- machines ---

    async def get_machine(self, machine_id: str, version: int) -> MachineRow | None:
        """See ``Store``."""
        columns = definitions.c
        statement = select(definitions).where(columns.machine_id == machine_id)
        if version:
            statement = statement.where(columns.version == version)
        else:
            statement = statement.order_by(columns.version.desc()).limit(1)
        async with self._reading() as connection:
            row = (await connection.execute(statement)).one_or_none()
        return None if row is None else MachineRow(*row)

    async def list_machines(self, after: str, limit: int) -> list[MachineRow]:
        """See ``Store``."""
        columns = definitions.c
        latest = (
            select(columns.machine_id, func.max(columns.version).label("version"))
            .where(columns.machine_id > after)
            .group_by(columns.machine_id)
            .order_by(columns.machine_id)
            .limit(limit)
            .subquery()
        )
        shown = [column for column in columns if column.name != "document"]
        statement = (
            select(*shown)
            .join(
                latest,
                and_(columns.machine_id == latest.c.machine_id, columns.version == latest.c.version),
            )
            .order_by(columns.machine_id)
        )
        async with self._reading() as connection:
            rows = await connection.execute(statement)
            return [MachineRow(**row, document="") for row in rows.mappings()]

    # --- effects and timers ---

    async def next_effect_at(self, handlers: Sequence[str]) -> int | None:
        """See ``Store``."""
        soonest: list[int] = []
        wanted = list(dict.fromkeys(handlers))
        async with self._reading() as connection:
            for first in range(0, len(wanted), _HANDLERS_PER_STATEMENT):
                levels = [
                    _soonest(handler, priority)
                    for handler in wanted[first : first + _HANDLERS_PER_STATEMENT]
                    for priority in PRIORITIES
                ]
                for (at_ms,) in await connection.execute(union_all(*levels)):
                    if at_ms is not None:
                        soonest.append(at_ms)
        return min(soonest, default=None)

    async def get_effect(self, key: InstanceKey, effect_id: str) -> EffectRow | None:
        """See ``Store``."""
        return await self._effect(
            select(effects).where(is_instance(effects, key), effects.c.effect_id == effect_id)
        )

    async def latest_effect(self, key: InstanceKey, handler: str) -> EffectRow | None:
        """See ``Store``."""
        columns = effects.c
        asked_last = (columns.created_at_ms.desc(), columns.version.desc(), columns.ordinal.desc())
        statement = select(effects).where(is_instance(effects, key)).limit(1)
        if handler:
            statement = statement.where(columns.handler == handler)
        running = await self._effect(statement.where(columns.finalized_at_ms.is_(None)).order_by(*asked_last))
        return running or await self._effect(statement.order_by(*asked_last))

    async def list_steps(self, key: InstanceKey, effect_ids: Sequence[str]) -> list[StepRow]:
        """See ``Store``."""
        found: list[StepRow] = []
        wanted = sorted(set(effect_ids))
        async with self._reading() as connection:
            for first in range(0, len(wanted), _KEYS_PER_STATEMENT):
                some = wanted[first : first + _KEYS_PER_STATEMENT]
                statement = (
                    select(effect_steps)
                    .where(is_instance(effect_steps, key), effect_steps.c.effect_id.in_(some))
                    .order_by(effect_steps.c.effect_id, effect_steps.c.ordinal)
                )
                found.extend(StepRow(*row) for row in await connection.execute(statement))
        return found

    async def count_steps(self, key: InstanceKey, effect_id: str, *, but: str) -> int:
        """See ``Store``."""
        columns = effect_steps.c
        statement = select(func.count()).where(
            is_instance(effect_steps, key), columns.effect_id == effect_id, columns.name != but
        )
        async with self._reading() as connection:
            found: int = (await connection.execute(statement)).scalar_one()
        return found

    async def get_effect_details(self, key: InstanceKey, effect_id: str) -> EffectDetails | None:
        """See ``Store``."""

        def of(table: Table) -> tuple[ColumnElement[bool], ...]:
            return (is_instance(table, key), table.c.effect_id == effect_id)

        attempts = select(effect_attempts).where(*of(effect_attempts)).order_by(effect_attempts.c.attempt)
        steps = select(effect_steps).where(*of(effect_steps)).order_by(effect_steps.c.ordinal)
        async with self._reading() as connection:
            row = (await connection.execute(select(effects).where(*of(effects)))).one_or_none()
            if row is None:
                return None
            return EffectDetails(
                EffectRow(*row),
                tuple(AttemptRow(*attempt) for attempt in await connection.execute(attempts)),
                tuple(StepRow(*step) for step in await connection.execute(steps)),
            )

    async def list_effects(
        self, match: EffectMatch, after: EffectPosition | None, limit: int
    ) -> list[EffectRow]:
        """See ``Store``."""
        columns = effects.c
        place = [columns[name] for name in EffectPosition._fields]
        wanted = select(effects).where(columns.namespace == match.namespace).order_by(*place)
        if match.machine_id:
            wanted = wanted.where(columns.machine_id == match.machine_id)
        if match.handler:
            wanted = wanted.where(columns.handler == match.handler)
        if match.state:
            # Written out, so that the index of those that were discarded is known to hold them all.
            wanted = wanted.where(columns.state == literal_column(f"'{_STATES[match.state]}'"))
        if match.state in _UNFINISHED_STATES:
            wanted = wanted.where(columns.finalized_at_ms.is_(None))
        if after is not None:
            wanted = wanted.where(tuple_(*place) > tuple_(*map(literal, after)))
        if match.instance_id:
            key = InstanceKey(match.namespace, match.machine_id, match.instance_id)
            statements = [wanted.where(is_instance(effects, key))]
        elif match.state == "discarded" or match.state in _UNFINISHED_STATES:
            statements = [wanted]
        else:
            # All of a namespace or a machine: shard by shard they lie together, and others are passed over.
            first = 0 if after is None else after.shard
            statements = [wanted.where(columns.shard == shard) for shard in range(first, SHARDS)]
        found: list[EffectRow] = []
        async with self._reading() as connection:
            for statement in statements:
                rows = await connection.execute(statement.limit(limit - len(found)))
                found.extend(EffectRow(*row) for row in rows)
                if len(found) == limit:
                    break
        return found

    async def _effect(self, statement: Select[Any]) -> EffectRow | None:
        async with self._reading() as connection:
            row = (await connection.execute(statement)).one_or_none()
        return None if row is None else EffectRow(*row)

    async def due_timers(self, before_ms: int, limit: int) -> list[TimerRow]:
        """See ``Store``."""
        columns = timers.c
        statement = (
            select(timers)
            .where(columns.due_at_ms <= before_ms)
            .order_by(columns.due_at_ms, columns.sequence)
            .limit(limit)
        )
        async with self._reading() as connection:
            return [TimerRow(*row) for row in await connection.execute(statement)]

    async def next_due(self) -> int | None:
        """See ``Store``."""
        columns = timers.c
        # What is claimed was due, so it stands before the first that is free: two short stretches of the
        # index.
        free = (
            select(columns.due_at_ms)
            .where(columns.claimed_until_ms <= columns.due_at_ms)
            .order_by(columns.due_at_ms, columns.sequence)
            .limit(1)
        )
        async with self._reading() as connection:
            first: int | None = (await connection.execute(free)).scalar_one_or_none()
            claimed = select(func.min(columns.claimed_until_ms)).where(
                columns.claimed_until_ms > columns.due_at_ms
            )
            if first is not None:
                claimed = claimed.where(columns.due_at_ms <= first)
            again: int | None = (await connection.execute(claimed)).scalar()
        return min((at for at in (first, again) if at is not None), default=None)


def _soonest(handler: str, priority: int) -> Select[tuple[int | None]]:
    columns = effects.c
    return select(func.min(columns.scheduled_at_ms)).where(
        columns.handler == handler, columns.priority == priority, columns.finalized_at_ms.is_(None)
    )


async def _with_effects(connection: AsyncConnection, rows: Sequence[InstanceRow]) -> list[StoredInstance]:
    """The instances with what hangs on them, read in the transaction that read ``rows``."""
    running: dict[InstanceKey, list[EffectRow]] = {row.key: [] for row in rows}
    keys = list(running)
    for first in range(0, len(keys), _KEYS_PER_STATEMENT):
        some = keys[first : first + _KEYS_PER_STATEMENT]
        statement = select(effects).where(are_instances(effects, some), _unfinished).order_by(*_as_asked)
        for found in await connection.execute(statement):
            effect = EffectRow(*found)
            running[effect.key].append(effect)
    return [StoredInstance(row, tuple(running[row.key])) for row in rows]
