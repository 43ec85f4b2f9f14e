"""Everything a database holds, instance by instance, read beside whatever server runs on it.

Nothing is written, locked or migrated. Instances come in the order of the primary key, in groups; each group
is read in one transaction, so that what belongs to an instance is from one cut. A journal is handed on in
pages while it is read: what is in memory does not grow with the database.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    and_,
    func,
    literal,
    or_,
    select,
    text,
    tuple_,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from durachart.store.errors import StoreFailed, StoreNotOpened
from durachart.store.interface import LogEntry
from durachart.store.keys import InstanceKey, shard
from durachart.store.log_reads import select_entries, to_entry
from durachart.store.migrate import HEAD
from durachart.store.rows import EffectRow, InstanceRow, MachineRow, RequestRow, TimerRow
from durachart.store.schema import (
    definitions,
    effects,
    instances,
    journal,
    requests,
    store_info,
    timers,
    tombstones,
)

_GROUP: Final = 200
"""Instances of one transaction: a server's log cannot be tidied up while a transaction reads."""
_PAGE: Final = 500

_TABLES: Final = (instances, journal, timers, effects, requests, tombstones)

Place = tuple[int, str, str, str]
"""Shard and key, as the rows have them; the shard may be wrong."""


@dataclass(slots=True)
class ScannedInstance:
    """What is stored under one place.

    Attributes:
        place: Where.
        instance: Its current snapshot; None: there is none.
        timers: Its pending timers.
        unfinished: Its effects that have not ended.
        lost_requests: Its request ids whose journal row is missing, or was made by another request.
        gone: Incarnations that were deleted or whose time was over, and the last journal row of each:
            retention removes what they left, up to there.
    """

    place: Place
    instance: InstanceRow | None
    timers: list[TimerRow]
    unfinished: list[EffectRow]
    lost_requests: list[RequestRow]
    gone: dict[str, int]

    @property
    def key(self) -> InstanceKey:
        """Which instance."""
        return InstanceKey(*self.place[1:])


class ScannedPage(NamedTuple):
    """Rows of one journal.

    Attributes:
        of: Whose, the same object for all pages of an instance.
        entries: The next rows, by seq; may be empty.
        last: Whether these were the last ones.
    """

    of: ScannedInstance
    entries: list[LogEntry]
    last: bool


class StoreScan:
    """A database as found."""

    def __init__(
        self,
        engine: AsyncEngine,
        name: str,
        describe: Callable[[BaseException], str],
        failures: tuple[type[BaseException], ...] = (SQLAlchemyError,),
    ) -> None:
        """Read a database.

        Args:
            engine: Its connections' transactions see one snapshot of the database.
            name: Of the database, for messages.
            describe: Says what went wrong, in a sentence for whoever runs the server.
            failures: What it, its driver and the network between may raise.
        """
        self._engine = engine
        self._name = name
        self._describe = describe
        self._failures = failures

    async def close(self) -> None:
        """Let go of the database."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.connect() as connection:
                yield connection
        except self._failures as error:
            raise StoreFailed(f"{self._name} cannot be read: {self._describe(error)}") from error

    async def require_readable(self) -> None:
        """Raises StoreNotOpened, with a sentence, unless it is a database of this release."""
        try:
            async with self._reading() as connection:
                found = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar()
        except StoreFailed as error:
            raise StoreNotOpened(f"{error}; is it a database of Durachart?") from error
        if found != HEAD:
            raise StoreNotOpened(
                f"{self._name} has schema {found}, this release reads {HEAD}; use the release "
                "that wrote it, or let this one's server bring it up to date"
            )

    async def compacted_revision(self) -> int:
        """Retention removed rows up to this revision, inclusive; 0: none."""
        async with self._reading() as connection:
            value = select(store_info.c.value).where(store_info.c.name == "compacted_revision")
            return int((await connection.execute(value)).scalar_one_or_none() or 0)

    async def repeated_revisions(self, limit: int) -> list[int]:
        """Revisions that more than one journal row has, at most ``limit``; none should."""
        statement = (
            select(journal.c.revision)
            .group_by(journal.c.revision)
            .having(func.count() > 1)
            .order_by(journal.c.revision)
            .limit(limit)
        )
        async with self._reading() as connection:
            return [int(found) for found in (await connection.execute(statement)).scalars()]

    async def definition(self, machine_id: str, version: int) -> MachineRow | None:
        """One version of a machine; None: it is not stored."""
        statement = select(definitions).where(
            definitions.c.machine_id == machine_id, definitions.c.version == version
        )
        async with self._reading() as connection:
            row = (await connection.execute(statement)).one_or_none()
        return None if row is None else MachineRow(*row)

    async def pages(self, only: InstanceKey | None = None) -> AsyncGenerator[ScannedPage, None]:
        """Every instance with its journal, in pages; of each instance at least one page.

        Args:
            only: This instance alone; nothing comes when nothing is stored of it.

        Raises:
            StoreFailed: The database cannot be read.
        """
        after: Place | None = None
        while True:
            async with self._reading() as connection:
                if only is None:
                    places = await _places(connection, after)
                else:
                    places = await _place_of(connection, only) if after is None else []
                if not places:
                    return
                async with aclosing(_group(connection, places)) as pages:
                    async for page in pages:
                        yield page
            after = places[-1]


async def _places(connection: AsyncConnection, after: Place | None) -> list[Place]:
    """The next places in use, in order."""
    found: set[Place] = set()
    for table in _TABLES:
        columns = _place_columns(table)
        statement = select(*columns).distinct().order_by(*columns).limit(_GROUP)
        if after is not None:
            statement = statement.where(tuple_(*columns) > tuple_(*map(literal, after)))
        # Each table's list is whole up to its own end, so the first ones of all lists are the first of all.
        found.update(tuple(row) for row in await connection.execute(statement))
    return sorted(found)[:_GROUP]


async def _place_of(connection: AsyncConnection, key: InstanceKey) -> list[Place]:
    place: Place = (shard(key), *key)
    for table in _TABLES:
        statement = select(literal(1)).select_from(table).where(_between(table, place, place)).limit(1)
        if (await connection.execute(statement)).first() is not None:
            return [place]
    return []


async def _group(connection: AsyncConnection, places: Sequence[Place]) -> AsyncGenerator[ScannedPage, None]:
    """The pages of these instances, which are neighbours."""
    first, last = places[0], places[-1]
    waiting = {place: ScannedInstance(place, None, [], [], [], {}) for place in places}
    for row in await connection.execute(select(instances).where(_between(instances, first, last))):
        waiting[_place(row)].instance = InstanceRow(*row)
    for row in await connection.execute(select(timers).where(_between(timers, first, last))):
        waiting[_place(row)].timers.append(TimerRow(*row))
    unfinished = select(effects).where(_between(effects, first, last), effects.c.finalized_at_ms.is_(None))
    for row in await connection.execute(unfinished):
        waiting[_place(row)].unfinished.append(EffectRow(*row))
    for row in await connection.execute(_lost_requests(first, last)):
        waiting[_place(row)].lost_requests.append(RequestRow(*row))
    for row in await connection.execute(select(tombstones).where(_between(tombstones, first, last))):
        waiting[_place(row)].gone[row.uid] = row.seq
    entries = (
        select_entries()
        .where(_between(journal, first, last))
        .order_by(*_place_columns(journal), journal.c.seq)
    )
    current: ScannedInstance | None = None
    page: list[LogEntry] = []
    async with connection.stream(entries.execution_options(yield_per=_PAGE)) as rows:
        async for partition in rows.partitions():
            for row in partition:
                entry = to_entry(row)
                place: Place = (entry.row.shard, *entry.row.key)
                if current is None or place != current.place:
                    if current is not None:
                        yield ScannedPage(current, page, True)
                    current, page = waiting.pop(place), []
                page.append(entry)
            if current is not None:
                yield ScannedPage(current, page, False)
                page = []
    if current is not None:
        yield ScannedPage(current, page, True)
    for without_journal in waiting.values():
        yield ScannedPage(without_journal, [], True)


def _lost_requests(first: Place, last: Place) -> Select[Any]:
    """Request ids that name no journal row, or one of another request.

    Those that keep their answer themselves name the row that was current, whoever made it.
    """
    same = and_(
        *(requests.c[column.name] == column for column in _place_columns(journal)),
        requests.c.seq == journal.c.seq,
    )
    return (
        select(requests)
        .select_from(requests.outerjoin(journal, same))
        .where(
            _between(requests, first, last),
            requests.c.seq != 0,
            or_(
                journal.c.seq.is_(None),
                and_(requests.c.answer.is_(None), journal.c.request_id != requests.c.request_id),
            ),
        )
    )


def _place_columns(table: Table) -> tuple[ColumnElement[Any], ...]:
    columns = table.c
    return columns.shard, columns.namespace, columns.machine_id, columns.instance_id


def _between(table: Table, first: Place, last: Place) -> ColumnElement[bool]:
    if first == last:
        return and_(*(column == value for column, value in zip(_place_columns(table), first, strict=True)))
    columns = tuple_(*_place_columns(table))
    return and_(columns >= tuple_(*map(literal, first)), columns <= tuple_(*map(literal, last)))


def _place(row: Any) -> Place:
    return (row.shard, row.namespace, row.machine_id, row.instance_id)
