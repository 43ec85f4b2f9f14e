"""What a watch reads of the journal, because the log in memory does not reach back to its cursor."""

from __future__ import annotations

from collections.abc import Sequence

from durachart.runtime.errors import DurachartError, StoreUnavailable
from durachart.runtime.history import History
from durachart.runtime.instance_filter import InstanceFilter
from durachart.runtime.log import Change
from durachart.runtime.watch.cursor import Seen
from durachart.runtime.watch.gaps import Latest, StoredLatest
from durachart.runtime.watch.snapshots import Snapshots
from durachart.store.interface import LogEntry


class Missed:
    """See the module.

    Args:
        history: Makes changes of rows.
        matching: Which are wanted.
        snapshots: Of the watch; prepares the definitions that its filter asks.
        stored: What instances are by now.
        seen: What was shown otherwise.
    """

    def __init__(
        self,
        history: History,
        matching: InstanceFilter,
        snapshots: Snapshots,
        stored: StoredLatest,
        seen: Seen,
    ) -> None:
        self._history = history
        self._matching = matching
        self._snapshots = snapshots
        self._stored = stored
        self._seen = seen

    async def changes(self, entries: Sequence[LogEntry]) -> Sequence[Change | Latest]:
        """What rows of the journal say happened.

        Of an instance whose rows cannot be read, or not run here, a watch of many shows what it is by now
        instead: one must not keep a watcher from all others.
        """
        entries = self.not_shown(entries)
        if self._matching.asks_states:
            for machine in {(entry.row.machine_id, entry.row.machine_version) for entry in entries}:
                await self._snapshots.prepare(*machine)
        try:
            return self._wanted(await self._history.changes(entries))
        except DurachartError as error:
            if not self._snapshots.of_many or isinstance(error, StoreUnavailable):
                raise
        found: list[Change | Latest] = []
        for key in dict.fromkeys(entry.row.key for entry in entries):
            own = [entry for entry in entries if entry.row.key == key]
            try:
                found.extend(self._wanted(await self._history.changes(own)))
            except StoreUnavailable:
                raise
            except DurachartError:
                found.extend(await self._stored.of(own))
        return sorted(found, key=lambda change: change.revision)

    def _wanted(self, changes: list[Change]) -> list[Change]:
        if self._matching.takes_all:
            return changes
        return [change for change in changes if self._matching.wants(change)]

    def not_shown(self, entries: Sequence[LogEntry]) -> list[LogEntry]:
        """Those of ``entries`` that lead to something that was not shown yet."""
        return [entry for entry in entries if not self._seen.shows(entry.row.key, entry.revision)]
