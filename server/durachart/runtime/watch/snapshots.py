"""What a watch begins with: the instances that match, page by page, each page from one cut."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, NamedTuple

from durachart.engine.errors import SnapshotInvalid
from durachart.runtime.clock import Clock
from durachart.runtime.errors import DurachartError, InstanceCorrupt, StoreUnavailable
from durachart.runtime.instance import Instance, restored
from durachart.runtime.instance_filter import InstanceFilter
from durachart.runtime.present import bare_state, instance_state
from durachart.runtime.registry import Registry
from durachart.runtime.views import InstanceState, View, WatchFilter
from durachart.runtime.watch.shared_reads import SharedReads
from durachart.store.interface import InstancesPage, Store, StoredInstance
from durachart.store.keys import InstanceKey

_PER_PAGE: Final = 200


class Page(NamedTuple):
    """A page of what is watched.

    Attributes:
        cut: The page as it was read.
        last_key: The last instance that was looked at; None: it is the last page.
        wanted: Those that match.
    """

    cut: InstancesPage
    last_key: InstanceKey | None
    wanted: Sequence[StoredInstance]


class Snapshots:
    """Reads what is watched as it is now."""

    def __init__(
        self,
        store: Store,
        reads: SharedReads,
        registry: Registry,
        clock: Clock,
        keys: Sequence[InstanceKey],
        watched: WatchFilter | None,
        matching: InstanceFilter,
        view: View,
    ) -> None:
        """Read ``keys``, in order, with ``reads``, or what is ``watched``, from ``store``.

        One that cannot be read or run here must not keep a watcher from all others: it is shown as far as
        its row goes, unless it is the only one.
        """
        self._store = store
        self._reads = reads
        self._registry = registry
        self._clock = clock
        self._keys = keys
        self._watched = watched
        self._matching = matching
        self._view = view
        self.of_many = watched is not None or len(keys) > 1

    async def page(self, after: InstanceKey | None) -> Page:
        """The next page, strictly after ``after``; None: the first."""
        cut, last_key = await self._cut(after)
        return Page(cut, last_key, [stored for stored in cut.instances if await self.is_wanted(stored)])

    async def _cut(self, after: InstanceKey | None) -> tuple[InstancesPage, InstanceKey | None]:
        watched = self._watched
        if watched is not None:
            position = ("", "") if after is None else (after.machine_id, after.instance_id)
            # Not by status: a page that looks at all instances says how far it has come even if none matches.
            cut = await self._store.list_instances(
                watched.namespace, watched.machine_id, "", position, _PER_PAGE
            )
            last_key = cut.instances[-1].row.key if len(cut.instances) == _PER_PAGE else None
            # The cut knows as well what is ahead of instances that it does not show.
            ahead = {
                key: revision
                for key, revision in cut.ahead.items()
                if (after is None or key > after) and (last_key is None or key <= last_key)
            }
            return cut._replace(ahead=ahead), last_key
        first = 0 if after is None else bisect_left(self._keys, after)
        if after is not None and first < len(self._keys) and self._keys[first] == after:
            first += 1
        some = self._keys[first : first + _PER_PAGE]
        more = first + len(some) < len(self._keys)
        return await self._reads.get_instances(some), some[-1] if more else None

    async def is_wanted(self, stored: StoredInstance) -> bool:
        """Whether it matches; one whose definition is not at hand does not, if that is needed to tell."""
        if self._matching.takes_all:
            return True
        if self._matching.asks_states:
            await self.prepare(stored.row.machine_id, stored.row.machine_version)
        return self._matching.is_stored_wanted(stored)

    async def prepare(self, machine_id: str, machine_version: int) -> None:
        """Have a definition at hand, if it can be had."""
        try:
            await self._registry.load(machine_id, machine_version)
        except StoreUnavailable:
            raise
        except DurachartError:
            return

    async def state(self, stored: StoredInstance) -> InstanceState:
        """An instance as it is shown.

        Raises:
            DurachartError: It is the only one, and cannot be read or run here.
        """
        row = stored.row
        try:
            instance = await self._instance(stored)
        except DurachartError as error:
            if not self.of_many or isinstance(error, StoreUnavailable):
                raise
            return bare_state(stored, self._view)
        return instance_state(instance, self._view, max(self._clock.now_ms(), row.updated_at_ms))

    async def _instance(self, stored: StoredInstance) -> Instance:
        row = stored.row
        definition = await self._registry.load(row.machine_id, row.machine_version)
        try:
            return restored(stored, definition)
        except SnapshotInvalid as error:
            raise InstanceCorrupt(row.key, str(error)) from error
