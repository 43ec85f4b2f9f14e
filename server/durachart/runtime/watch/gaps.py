"""Instead of what a watcher missed: the latest state of each instance that it missed something of.

Used for watchers that asked for it and cannot keep up, and of an instance whose journal cannot be read. An
incarnation that the watcher knew and that is gone is told of as deleted, whatever came after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from durachart.runtime.errors import DurachartError, StoreUnavailable
from durachart.runtime.history import History
from durachart.runtime.instance_filter import InstanceFilter
from durachart.runtime.judge.deletion import DELETED
from durachart.runtime.log import Change, Deletion
from durachart.runtime.views import InstanceState, View
from durachart.runtime.watch.cursor import Seen
from durachart.runtime.watch.snapshots import Snapshots
from durachart.store.interface import LogEntry, Store, StoredInstance
from durachart.store.keys import InstanceKey
from durachart.store.rows import JournalRow

_ROWS_PER_READ: Final = 200


class Gap(NamedTuple):
    """The latest state of an instance, in place of what led to it.

    Attributes:
        key: Which instance.
        state: The state.
        previous_version: The version that the watcher knows; -1: it does not know the instance.
        matches: Whether the state matches the filter.
    """

    key: InstanceKey
    state: InstanceState
    previous_version: int
    matches: bool


class Latest(NamedTuple):
    """What stands for changes that were missed.

    Attributes:
        revision: Of the last change it stands for.
        told: What a watcher is told.
    """

    revision: int
    told: Gap | Deletion


def latest_of(changes: Iterable[Change], matching: InstanceFilter, view: View) -> list[Latest]:
    """What stands for these changes, which are all there are of their instances; by revision."""
    missed: dict[InstanceKey, _Missed] = {}
    for change in changes:
        known = missed.get(change.key)
        if known is None:
            missed[change.key] = known = _Missed(change, matching.before(change))
        known.add(change)
    latest = [each for known in missed.values() for each in known.latest(matching, view)]
    return sorted(latest, key=lambda each: each.revision)


class _Missed:
    """What was missed of one instance."""

    def __init__(self, first: Change, is_known: bool) -> None:
        self.first = first
        self.last = first
        self._is_known = is_known
        self._end: Deletion | None = None

    def add(self, change: Change) -> None:
        self.last = change
        if isinstance(change, Deletion) and change.entry.row.uid == self.first.entry.row.uid:
            self._end = change

    def latest(self, matching: InstanceFilter, view: View) -> Iterable[Latest]:
        last, end = self.last, self._end if self._is_known else None
        if end is not None and end is not last:
            yield Latest(end.revision, end)
        if isinstance(last, Deletion):
            if end is last or matching.before(last):
                yield Latest(last.revision, last)
            return
        goes_on = self._is_known and end is None
        matches = matching.after(last)
        if matches or goes_on:
            previous = self.first.entry.row.from_version if goes_on else -1
            yield Latest(last.revision, Gap(last.key, last.state(view), previous, matches))


class StoredLatest:
    """Reads from the store what stands for rows of the journal."""

    def __init__(
        self, store: Store, history: History, snapshots: Snapshots, matching: InstanceFilter, seen: Seen
    ) -> None:
        """Note in ``seen`` what was shown."""
        self._store = store
        self._history = history
        self._snapshots = snapshots
        self._matching = matching
        self._seen = seen

    async def of(self, entries: Sequence[LogEntry]) -> list[Latest]:
        """What stands for these rows and all later ones of their instances; by revision."""
        own: dict[InstanceKey, list[LogEntry]] = {}
        for entry in entries:
            own.setdefault(entry.row.key, []).append(entry)
        latest: list[Latest] = []
        keys = sorted(own)
        while keys:
            cut = await self._store.get_instances(keys)
            stored = {each.row.key: each for each in cut.instances}
            again = []
            for key in keys:
                first, at = own[key][0].row, own[key][-1].revision
                if key in stored:
                    told = await self._existing(stored[key], first)
                    self._seen.add_one(key, max(cut.revision, cut.ahead.get(key, 0)))
                else:
                    last = await self._history.last_change(key)
                    if last is not None and last.row.status != DELETED:
                        again.append(key)  # created anew since it was looked for
                        continue
                    told = await self._gone(first, last)
                latest.extend(Latest(at, each) for each in told)
            keys = again
        return sorted(latest, key=lambda each: each.revision)

    async def _existing(self, stored: StoredInstance, first: JournalRow) -> list[Gap | Deletion]:
        is_known = await self._was_known(first)
        told: list[Gap | Deletion] = []
        if is_known and stored.row.uid != first.uid:
            is_known = False
            told.extend(await self._end_of(first))
        matches = await self._snapshots.is_wanted(stored)
        if matches or is_known:
            state = await self._snapshots.state(stored)
            told.append(Gap(stored.row.key, state, first.from_version if is_known else -1, matches))
        return told

    async def _gone(self, first: JournalRow, last: LogEntry | None) -> list[Gap | Deletion]:
        if last is None:  # retention has removed what was left of it
            return []
        self._seen.add_one(last.row.key, last.revision)
        deletion = Deletion(*last)
        is_known = await self._was_known(first)
        told: list[Gap | Deletion] = []
        if is_known and last.row.uid != first.uid:
            told.extend(await self._end_of(first))
        if (is_known and last.row.uid == first.uid) or self._matching.before(deletion):
            told.append(deletion)
        return told

    async def _was_known(self, first: JournalRow) -> bool:
        """Whether the watcher knows the instance as it was before ``first``; if in doubt, it does."""
        if first.cause == "create":
            return False
        if self._matching.takes_all:
            return True
        if self._matching.asks_states:
            await self._snapshots.prepare(first.machine_id, first.machine_version)
        try:
            (change,) = await self._history.changes([LogEntry(0, first)])
        except StoreUnavailable:
            raise
        except DurachartError:
            return True
        return self._matching.before(change)

    async def _end_of(self, first: JournalRow) -> list[Deletion]:
        """The deletion of the incarnation of ``first``; empty when retention has removed it."""
        seq = first.seq
        while entries := await self._store.list_journal(first.key, from_seq=seq, limit=_ROWS_PER_READ):
            for entry in entries:
                if entry.row.uid == first.uid and entry.row.status == DELETED:
                    return [Deletion(*entry)]
            seq = entries[-1].row.seq + 1
        return []
