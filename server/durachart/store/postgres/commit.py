"""Writing a batch, as functions on a connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, Final

import asyncpg

from durachart.crash_points import reach
from durachart.store.interface import CommitResult, Writes
from durachart.store.keys import InstanceKey
from durachart.store.postgres import deletion
from durachart.store.postgres.arrays import transposed
from durachart.store.postgres.revisions import MAX_ROWS
from durachart.store.postgres.statements import (
    COLUMNS,
    TOUCHED,
    Part,
    check_statement,
    commit_statement,
)
from durachart.store.rows import EffectEnd, InstanceRow

_Key = tuple[Any, ...]
_NOTHING_WRITTEN: Final = CommitResult((), frozenset())
_result: Final[Callable[[InstanceRow], tuple[Any, ...]]] = itemgetter(
    *(InstanceRow._fields.index(name) for name in COLUMNS[Part.UPDATES].names[1:])
)

_LOST_RACES: Final = (
    asyncpg.UniqueViolationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)


class _LostRaceError(Exception):
    """Another node was faster, in a way that only the second look shows."""


class _Touched:
    """What was judged of each instance of a batch.

    Keys are plain tuples here: equal to instance keys, and quicker to take out of a row.

    Attributes:
        keys: The instances, in order.
        n: Their places in ``keys``.
        rows: Of `TOUCHED`.
    """

    def __init__(self, writes: Writes, *, deleted: bool) -> None:
        """Gather it. ``deleted``: what goes has gone by now."""
        shards: dict[_Key, int] = {}
        uids: dict[_Key, str] = {}
        versions: dict[_Key, int] = {}
        heads: dict[_Key, int] = {}
        made_by: dict[_Key, int] = {}
        # What was made and went again in the batch was never stored.
        unstored = {
            (gone[1:4], gone.uid) for gone, judged_version, _ in writes.deletes if judged_version is None
        }
        for row in writes.journal:
            key = row[1:4]
            if key not in heads:
                heads[key] = row.seq - 1
                shards[key] = row[0]
            if row.outcome == "refused" and row.uid and (key, row.uid) not in unstored:
                # It may have been removed since, by retention, which leaves its journal for a while.
                uids.setdefault(key, row.uid)
        for key, uid in writes.occupied:
            if (key, uid) not in unstored:
                uids.setdefault(key, uid)
        for insert in writes.inserts:
            versions[insert[1:4]] = -1
        for moved, from_version in writes.updates:
            key = moved[1:4]
            uids[key] = moved.uid
            versions[key] = from_version
        for gone, judged_version, _ in writes.deletes:
            if judged_version is not None:
                key = gone[1:4]
                uids[key] = gone.uid
                versions[key] = -1 if deleted else judged_version
        for request in writes.requests:
            # An answer without a row of the journal was judged on the version that this row made.
            if request[1:4] not in heads:
                made_by[request[1:4]] = request.seq
                shards[request[1:4]] = request[0]
        for end in (*writes.ends, *writes.late_ends):
            shards.setdefault(end[1:4], end[0])
        for revival in writes.revivals:
            shards.setdefault(revival.row[1:4], revival.row[0])
        self.keys = sorted(shards)
        self.n: Mapping[_Key, int] = {key: n for n, key in enumerate(self.keys)}
        self.rows = [
            (n, shards[key], *key, uids.get(key), versions.get(key), made_by.get(key), heads.get(key))
            for key, n in self.n.items()
        ]

    def instances(self, places: Iterable[int]) -> frozenset[InstanceKey]:
        """The instances at these places."""
        return frozenset(InstanceKey._make(self.keys[n]) for n in places)


def end_key(end: EffectEnd) -> InstanceKey:
    """Whose effect ends."""
    return InstanceKey(end.namespace, end.machine_id, end.instance_id)


async def commit(connection: asyncpg.Connection, writes: Writes) -> CommitResult:
    """See ``Store.commit``. When a race is lost, nothing is written and the whole batch is stale."""
    if len(writes.journal) > MAX_ROWS:
        raise ValueError(f"a batch of {len(writes.journal)} rows; at most {MAX_ROWS} can be ordered")
    touched = _Touched(writes, deleted=False)
    if not touched.keys:
        return _NOTHING_WRITTEN
    write = _commit_with_deletes if writes.deletes else _commit
    reach("commit.before")
    try:
        written = await write(connection, writes, touched)
    except (*_LOST_RACES, _LostRaceError):
        return CommitResult([0] * len(writes.journal), touched.instances(touched.n.values()))
    reach("commit.after")
    return written


async def _commit(connection: asyncpg.Connection, writes: Writes, touched: _Touched) -> CommitResult:
    parts, parameters = _parameters(writes, touched)
    outdated, first, _ = await connection.fetchrow(commit_statement(parts), *parameters)
    if not outdated:
        return CommitResult(range(first, first + len(writes.journal)), frozenset())
    stale = touched.instances(outdated)
    return CommitResult(
        [0 if row.key in stale else first + place for place, row in enumerate(writes.journal)], stale
    )


async def _commit_with_deletes(
    connection: asyncpg.Connection, writes: Writes, touched: _Touched
) -> CommitResult:
    """A row cannot go and come again in one statement, so this takes several, with the rows locked first."""
    async with connection.transaction():
        parts, parameters = _parameters(writes, touched)
        outdated, _ = await connection.fetchrow(check_statement(parts), *parameters)
        stale = touched.instances(outdated)
        kept = _without(writes, stale) if stale else writes
        await deletion.delete(connection, kept.deletes)
        written: CommitResult = _NOTHING_WRITTEN
        remaining = _Touched(kept, deleted=True)
        if remaining.keys:
            written = await _commit(connection, kept, remaining)
        if written.stale:
            raise _LostRaceError
        await deletion.remember(connection, kept.deletes)
    revisions = iter(written.revisions)
    return CommitResult([0 if row.key in stale else next(revisions) for row in writes.journal], stale)


def _without(writes: Writes, stale: frozenset[InstanceKey]) -> Writes:
    return replace(
        writes,
        journal=[row for row in writes.journal if row.key not in stale],
        deletes=[gone for gone in writes.deletes if gone.tombstone.key not in stale],
        inserts=[row for row in writes.inserts if row.key not in stale],
        updates=[update for update in writes.updates if update.row.key not in stale],
        effects=[row for row in writes.effects if row.key not in stale],
        revivals=[revival for revival in writes.revivals if revival.row.key not in stale],
        ends=[end for end in writes.ends if end_key(end) not in stale],
        late_ends=[end for end in writes.late_ends if end_key(end) not in stale],
        timers_gone=[row for row in writes.timers_gone if row.key not in stale],
        timers=[row for row in writes.timers if row.key not in stale],
        requests=[row for row in writes.requests if row.key not in stale],
    )


def _parameters(writes: Writes, touched: _Touched) -> tuple[Part, list[Sequence[Any]]]:
    n = touched.n
    parts = Part(0)
    parameters = list(transposed(TOUCHED, touched.rows))

    def add(part: Part, rows: Sequence[Sequence[Any]], of: Sequence[int]) -> None:
        nonlocal parts
        if rows:
            parts |= part
            parameters.append(of)
            parameters.extend(transposed(COLUMNS[part], rows))

    if writes.journal:
        add(Part.JOURNAL, writes.journal, [n[row[1:4]] for row in writes.journal])
        parameters.append(range(len(writes.journal)))
    add(Part.INSERTS, writes.inserts, [n[row[1:4]] for row in writes.inserts])
    moved = [update.row for update in writes.updates]
    add(Part.UPDATES, list(map(_result, moved)), [n[row[1:4]] for row in moved])
    add(Part.EFFECTS, writes.effects, [n[row[1:4]] for row in writes.effects])
    revived = [revival.row for revival in writes.revivals]
    add(Part.REVIVALS, revived, [n[row[1:4]] for row in revived])
    add(Part.ENDS, writes.ends, [n[end[1:4]] for end in writes.ends])
    add(Part.LATE_ENDS, writes.late_ends, [n[end[1:4]] for end in writes.late_ends])
    add(Part.TIMERS_GONE, writes.timers_gone, [n[row[1:4]] for row in writes.timers_gone])
    add(Part.TIMERS, writes.timers, [n[row[1:4]] for row in writes.timers])
    add(Part.REQUESTS, writes.requests, [n[row[1:4]] for row in writes.requests])
    return parts, parameters
