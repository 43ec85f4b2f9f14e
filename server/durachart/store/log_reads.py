"""Reading the log: accepted rows of the journal in the order of their revisions, from a given one on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Table, and_, bindparam, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from durachart.store.interface import LogEntry, LogMatch, LogPage
from durachart.store.keys import InstanceKey, shard
from durachart.store.rows import JournalRow
from durachart.store.schema import journal, store_info

_ROWS_PER_SCAN: Final = 20_000
"""How far one statement looks through the log for matches: bounds its time when hardly any row matches."""

Newest = Callable[[AsyncConnection], Awaitable[int]]
"""The newest final revision, as a connection's transaction sees the log."""

_KEY: Final = ("shard", "namespace", "machine_id", "instance_id")
_OF: Final = tuple(f"of_{name}" for name in _KEY)
_row_columns = [column for column in journal.c if column.name != "revision"]
accepted = journal.c.outcome == "accepted"


def is_instance(table: Table, key: InstanceKey) -> ColumnElement[bool]:
    """The rows of ``table`` that belong to one instance."""
    columns = table.c
    return and_(
        columns.shard == shard(key),
        columns.namespace == key.namespace,
        columns.machine_id == key.machine_id,
        columns.instance_id == key.instance_id,
    )


def is_given_instance(table: Table) -> ColumnElement[bool]:
    """As `is_instance`, for a statement that is made once: the instance is given as `parameters`."""
    return and_(*(table.c[name] == bindparam(f"of_{name}") for name in _KEY))


def parameters(key: InstanceKey, **others: object) -> dict[str, object]:
    """What a statement with `is_given_instance` is executed with, and what else it takes."""
    return {**dict(zip(_OF, (shard(key), *key), strict=True)), **others}


def are_instances(table: Table, keys: Sequence[InstanceKey]) -> ColumnElement[bool]:
    """The rows of ``table`` that belong to any of these; some hundreds at most."""
    # Not a list of tuples after IN: SQLite would not use the primary key for it.
    return or_(*(is_instance(table, key) for key in keys))


def select_entries() -> Select[Any]:
    """The columns that `to_entry` takes."""
    return select(journal.c.revision, *_row_columns)


def to_entry(row: Sequence[Any]) -> LogEntry:
    """A row of `select_entries`."""
    revision, *fields = row
    return LogEntry(revision, JournalRow._make(fields))


_COMPACTED: Final = select(store_info.c.value).where(store_info.c.name == "compacted_revision")


async def newest_revision(connection: AsyncConnection) -> int:
    """Of all rows that this transaction sees, where they become visible in order; 0 when there is none."""
    newest = select(func.max(journal.c.revision)).scalar_subquery()
    # The newest rows may have been removed; the log has been further nevertheless.
    found = (await connection.execute(select(newest, _COMPACTED.scalar_subquery()))).one()
    return max(int(found[0] or 0), int(found[1] or 0))


async def read_ahead(
    connection: AsyncConnection, revision: int, among: ColumnElement[bool]
) -> dict[InstanceKey, int]:
    """Of each instance that has rows beyond ``revision``: the revision of its last one."""
    columns = journal.c
    key = (columns.namespace, columns.machine_id, columns.instance_id)
    rows = await connection.execute(
        select(*key, func.max(columns.revision)).where(columns.revision > revision, among).group_by(*key)
    )
    return {InstanceKey(*of): last for *of, last in rows}


async def read_log(
    connection: AsyncConnection, after: int, limit: int, match: LogMatch, newest: int
) -> LogPage:
    """See ``Store.read_log``; ``newest`` is the newest final revision."""
    if newest <= after:
        return LogPage([], after)
    if match.keys is None:
        entries, through = await _scan(connection, after, newest, limit, match)
    else:
        entries, through = [], newest
        for key in match.keys:
            found = await _read_instance(connection, key, after, newest, limit)
            if len(found) == limit:
                through = min(through, found[-1].revision)
            entries.extend(found)
        entries.sort(key=lambda entry: entry.revision)
        if len(entries) > limit:
            through = min(through, entries[limit - 1].revision)
        entries = [entry for entry in entries if entry.revision <= through]
    compacted = (await connection.execute(_COMPACTED)).scalar_one_or_none()
    return LogPage(entries, through, int(compacted or 0))


async def _scan(
    connection: AsyncConnection, after: int, newest: int, limit: int, match: LogMatch
) -> tuple[list[LogEntry], int]:
    columns = journal.c
    through = newest
    if match.machine is not None and newest - after > _ROWS_PER_SCAN:
        # Revisions may lie far apart, so rows are counted.
        furthest = (
            select(columns.revision)
            .where(columns.revision > after)
            .order_by(columns.revision)
            .offset(_ROWS_PER_SCAN - 1)
            .limit(1)
        )
        through = min(newest, (await connection.execute(furthest)).scalar_one_or_none() or newest)
    statement = (
        select_entries()
        .where(columns.revision > after, columns.revision <= through, accepted)
        .order_by(columns.revision)
        .limit(limit)
    )
    if match.machine is not None:
        namespace, machine_id = match.machine
        statement = statement.where(columns.namespace == namespace, columns.machine_id == machine_id)
    entries = [to_entry(row) for row in await connection.execute(statement)]
    return entries, entries[-1].revision if len(entries) == limit else through


async def _read_instance(
    connection: AsyncConnection, key: InstanceKey, after: int, newest: int, limit: int
) -> list[LogEntry]:
    first_seq = await _first_seq_after(connection, key, after)
    if first_seq is None:
        return []
    statement = (
        select_entries()
        .where(is_instance(journal, key), journal.c.seq >= first_seq, accepted, journal.c.revision <= newest)
        .order_by(journal.c.seq)
        .limit(limit)
    )
    return [to_entry(row) for row in await connection.execute(statement)]


async def _first_seq_after(connection: AsyncConnection, key: InstanceKey, after: int) -> int | None:
    """The instance's first row with a revision over ``after``; None: it has no such row.

    Revisions rise with seq, so the row is searched for by seq, from the newest backwards in growing strides:
    whoever asks has usually missed little. This costs a few look-ups whatever the length of journal and log.
    """
    columns = journal.c
    mine = is_instance(journal, key)
    newest = (
        await connection.execute(
            select(columns.seq, columns.revision).where(mine).order_by(columns.seq.desc()).limit(1)
        )
    ).one_or_none()
    if newest is None or newest.revision <= after:
        return None
    before, found, stride = 0, int(newest.seq), 1
    while found - before > 1:
        probe = found - stride if found - stride > before else (before + found) // 2
        revision = (
            await connection.execute(select(columns.revision).where(mine, columns.seq == probe))
        ).scalar()
        # A row that retention removed counts as older.
        if revision is not None and revision > after:
            found, stride = probe, stride * 2
        else:
            before, stride = probe, max((found - probe) // 2, 1)
    return found
