"""What can be read of instances: their states, lists of them, their journals, and what an event would do."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

from durachart.engine.errors import SnapshotInvalid
from durachart.runtime.arguments import require_event_type, require_key
from durachart.runtime.clock import Clock
from durachart.runtime.commands import NO_LABELS, Caller
from durachart.runtime.errors import DurachartError, InstanceCorrupt, InstanceNotFound, StoreUnavailable
from durachart.runtime.history import History
from durachart.runtime.instance import Instance, restored
from durachart.runtime.instance_filter import ActiveStates
from durachart.runtime.instance_list import InstanceLists, Narrowed
from durachart.runtime.judge.judge import Judge
from durachart.runtime.judge.moment import Moment
from durachart.runtime.opaque import PageTokens
from durachart.runtime.paging import page_limit, read_page, size_bytes
from durachart.runtime.present import bare_state, instance_state, journal_entry
from durachart.runtime.preview import Asked, at_version, preview
from durachart.runtime.queue.cache import InstanceCache
from durachart.runtime.registry import Registry
from durachart.runtime.store_errors import told_as_unavailable
from durachart.runtime.views import InstanceState, InstanceStatus, JournalEntry, Page, Preview, View
from durachart.store.interface import LogEntry, Store, StoredInstance
from durachart.store.keys import InstanceKey

_LAST_SEQ: Final = sys.maxsize


class InstanceReads:
    """See the module. Nothing is written, and nothing waits for a command that is under way.

    Args:
        store: Has what is stored.
        registry: Has the definitions.
        history: Reads what instances were.
        cache: Has what is current, where no other node writes.
        judge: Says what an event would do.
        clock: Says what is allowed now.
        states: What is known of the states that lists name.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        history: History,
        cache: InstanceCache,
        judge: Judge,
        clock: Clock,
        states: ActiveStates,
    ) -> None:
        self._store = store
        self._registry = registry
        self._history = history
        self._cache = cache
        self._judge = judge
        self._clock = clock
        self._lists = InstanceLists(store, registry, states, self._shown)

    async def get(self, key: InstanceKey, view: View = View.FULL) -> InstanceState:
        """The last committed state. Raises InstanceNotFound."""
        require_key(key)
        now_ms = self._clock.now_ms()
        instance = await self._current(key)
        if instance is None:
            raise InstanceNotFound(key)
        return instance_state(instance, view, max(now_ms, instance.updated_at_ms))

    async def list(
        self,
        namespace: str,
        *,
        machine_id: str = "",
        status: InstanceStatus | None = None,
        state_ids: tuple[str, ...] = (),
        tags: tuple[str, ...] = (),
        labels: Mapping[str, str] = NO_LABELS,
        filter: str = "",  # noqa: A002 - the contract's name
        page_size: int = 0,
        page_token: str = "",
        view: View = View.BASIC,
    ) -> Page[InstanceState]:
        """Instances by machine id, then instance id; arguments as in `Narrowed`.

        A page may hold fewer than asked for, or none, and still have a next one: of what only looking at an
        instance can tell, a call looks at a bounded number.

        Raises:
            InvalidArgument: The expression cannot be asked.
            PageTokenInvalid: The token is not of this list.
        """
        with told_as_unavailable():
            wanted = Narrowed(namespace, machine_id, status, state_ids, tags, labels, filter)
            return await self._lists.page(wanted, page_size, page_token, view)

    async def journal(
        self, key: InstanceKey, *, page_size: int = 0, page_token: str = "", newest_first: bool = False
    ) -> Page[JournalEntry]:
        """One instance's journal by seq, or backwards.

        Raises:
            InstanceNotFound: Nothing was ever attempted on it.
            PageTokenInvalid: The token is not of this list.
        """
        require_key(key)
        limit = page_limit(page_size)
        tokens = PageTokens("journal", *key, "newest" if newest_first else "oldest")
        from_seq = _LAST_SEQ if newest_first else 1
        if page_token:
            (from_seq,) = tokens.read(page_token, int)
        with told_as_unavailable():
            entries, following = await read_page(
                lambda seq, count: self._store.list_journal(
                    key, from_seq=seq, limit=count, newest_first=newest_first
                ),
                from_seq,
                limit,
                position=lambda entry: entry.row.seq + (-1 if newest_first else 1),
                stored_bytes=_row_bytes,
                shown_bytes=_row_bytes,
            )
        if not entries and not page_token:
            raise InstanceNotFound(key)
        token = "" if following is None else tokens.make(following.row.seq)
        return Page(tuple(journal_entry(entry) for entry in entries), token)

    async def preview(self, asked: Asked, caller: Caller) -> Preview:
        """What an event would do, now or at any version the journal still holds; nothing is written.

        Raises:
            InvalidArgument: It could not be sent.
            InstanceNotFound: There is no such instance.
            VersionNotFound: It has not reached that version, or the journal does not hold it any more.
        """
        require_key(asked.key)
        require_event_type(asked.event_type)
        current = await self._current(asked.key)
        with told_as_unavailable():
            before = await at_version(self._store, self._history, current, asked.key, asked.version)
        moment = Moment(self._clock.now_ms(), caller.actor, caller.traceparent)
        return preview(self._judge, before, asked, moment)

    async def _current(self, key: InstanceKey) -> Instance | None:
        """As last committed; None: there is none."""
        if self._store.exclusive and (seat := self._cache.get(key)) is not None and seat.instance is not None:
            return seat.instance
        with told_as_unavailable():
            stored = await self._store.get_instance(key)
        return None if stored is None else await self._instance(stored)

    async def _shown(self, stored: StoredInstance, view: View) -> InstanceState:
        """An instance in a list; one that cannot be run here is shown as far as its row goes."""
        try:
            instance = await self._instance(stored)
        except DurachartError as error:
            if isinstance(error, StoreUnavailable):
                raise
            return bare_state(stored, view)
        return instance_state(instance, view, max(self._clock.now_ms(), instance.updated_at_ms))

    async def _instance(self, stored: StoredInstance) -> Instance:
        definition = await self._registry.load(stored.row.machine_id, stored.row.machine_version)
        try:
            return restored(stored, definition)
        except SnapshotInvalid as error:
            raise InstanceCorrupt(stored.row.key, str(error)) from error


def _row_bytes(entry: LogEntry) -> int:
    """About what a journal row takes, nearly all of which is shown or may be large."""
    row = entry.row
    kept = (row.data, row.details, row.effects, row.context, row.context_patch, row.internals)
    return sum(size_bytes(text) for text in kept if text)
