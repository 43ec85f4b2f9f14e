"""Reading the log: accepted rows of the journal in the order of their revisions, from a given one on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Table, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from durachart.store.interface import LogEntry, LogMatch, LogPage
from durachart.store.keys import InstanceKey, shard
from durachart.store.rows import JournalRow
from durachart.store.schema import journal

_REVISIONS_PER_SCAN: Final = 20_000
"""How far one statement looks through the log for matches: bounds its time when hardly any row matches."""

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


async def newest_revision(connection: AsyncConnection) -> int:
    """As this transaction sees it; 0 when there is no row."""
    newest = (await connection.execute(select(func.max(journal.c.revision)))).scalar()
    return int(newest or 0)


async def read_log(connection: AsyncConnection, after: int, limit: int, match: LogMatch) -> LogPage:
    """See ``Store.read_log``."""
    newest = await newest_revision(connection)
    if newest <= after:
        return LogPage([], after)
    if match.keys is None:
        entries, through = await _scan(
            connection, after, min(newest, after + _REVISIONS_PER_SCAN), limit, match
        )
    else:
        entries, through = [], newest
        for key in match.keys:
            found = await _read_instance(connection, key, after, limit)
            if len(found) == limit:
                through = min(through, found[-1].revision)
            entries.extend(found)
        entries.sort(key=lambda entry: entry.revision)
        if len(entries) > limit:
            through = min(through, entries[limit - 1].revision)
        entries = [entry for entry in entries if entry.revision <= through]
    return LogPage(entries, through)


async def _scan(
    connection: AsyncConnection, after: int, through: int, limit: int, match: LogMatch
) -> tuple[list[LogEntry], int]:
    columns = journal.c
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
    connection: AsyncConnection, key: InstanceKey, after: int, limit: int
) -> list[LogEntry]:
    first_seq = await _first_seq_after(connection, key, after)
    if first_seq is None:
        return []
    statement = (
        select_entries()
        .where(is_instance(journal, key), journal.c.seq >= first_seq, accepted)
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
