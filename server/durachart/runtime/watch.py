"""Watches: what instances are, and what they become, in commit order.

A watcher is a cursor into the log. A live one is handed the transitions it wants as they are committed, a few
at most; when it does not take them in time they are dropped and it reads on from its cursor, from memory or
from the journal, until it has caught up. So a slow reader costs nothing but reading, and nothing is ever
lost, sent twice or out of order.

Snapshots are read in pages, each from one cut of the database. A transition that a page has seen already is
left out, so of every instance the snapshot and the first transition fit together, however long the pages
took.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import timedelta
from typing import Final, NamedTuple, TypeVar

from durachart.engine.errors import SnapshotInvalid
from durachart.runtime.clock import Clock, instant
from durachart.runtime.deletion import DELETED
from durachart.runtime.errors import (
    DurachartError,
    InstanceCorrupt,
    InvalidArgument,
    ResumeTokenInvalid,
    ShuttingDown,
    StoreUnavailable,
    WatchCompacted,
)
from durachart.runtime.history import History
from durachart.runtime.instance import Instance, restored
from durachart.runtime.log import Change, Deletion, RecentLog
from durachart.runtime.opaque import ResumePoint, ResumeTokens
from durachart.runtime.present import bare_state, instance_state
from durachart.runtime.registry import Registry
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.views import (
    InstanceState,
    View,
    WatchClosing,
    WatchDeleted,
    WatchFrame,
    WatchProgress,
    WatchSnapshot,
    WatchSpec,
    WatchSynced,
    WatchTransition,
)
from durachart.store.errors import StoreFailed
from durachart.store.interface import InstancesPage, LogEntry, LogMatch, Store, StoredInstance
from durachart.store.keys import InstanceKey

_K = TypeVar("_K")

MAX_WATCHED: Final = 1_000
_SNAPSHOTS_PER_PAGE: Final = 200
_NOTHING_AHEAD: Final[Mapping[InstanceKey, int]] = {}
_PENDING: Final = 256
"""Transitions kept for a watcher that is busy."""
_SHORTEST_INTERVAL: Final = timedelta(seconds=1)
_LONGEST_INTERVAL: Final = timedelta(seconds=60)
_RECONNECT_DELAY: Final = timedelta(seconds=1)


class _Watcher:
    """A live watch.

    Attributes:
        pending: What it has not taken yet.
        behind: It did not take what came in time, and must read on from its cursor.
    """

    __slots__ = ("_waiter", "behind", "pending")

    def __init__(self) -> None:
        self.pending: list[Change] = []
        self.behind = False
        self._waiter: asyncio.Future[None] | None = None

    def offer(self, change: Change) -> None:
        if self.behind:
            return
        if len(self.pending) >= _PENDING:
            self.fall_behind()
            return
        self.pending.append(change)
        self.wake()

    def fall_behind(self) -> None:
        self.pending.clear()
        self.behind = True
        self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, max_wait_s: float) -> bool:
        """Wait for something to do; False: nothing came in time."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(max_wait_s):
                await self._waiter
                return True
        except TimeoutError:
            return False
        finally:
            self._waiter = None


class _Seen:
    """Up to which revision the snapshots of a watch have shown each instance."""

    def __init__(self) -> None:
        self._last_keys: list[InstanceKey] = []
        self._revisions: list[int] = []
        self._ahead: dict[InstanceKey, int] = {}
        self._highest = 0

    def add(
        self, last_key: InstanceKey | None, revision: int, ahead: Mapping[InstanceKey, int] = _NOTHING_AHEAD
    ) -> None:
        """Every instance up to ``last_key`` that no page before covers was shown as of ``revision``.

        None: all others were looked for. Those ``ahead`` were shown as of a later revision.
        """
        if last_key is not None:
            self._last_keys.append(last_key)
        self._revisions.append(revision)
        self._ahead.update(ahead)
        self._highest = max(self._highest, revision, *ahead.values())

    def shows(self, key: InstanceKey, revision: int) -> bool:
        """Whether a snapshot showed what this change of an instance led to, or something later."""
        if revision > self._highest:
            return False
        if revision <= self._ahead.get(key, 0):
            return True
        page = bisect_left(self._last_keys, key)
        return page < len(self._revisions) and revision <= self._revisions[page]


class _Instead(NamedTuple):
    """What an instance is by now, shown instead of what cannot be read of its journal.

    Attributes:
        revision: Of the last row that it stands for.
        key: Which instance.
        state: As far as it can be read.
    """

    revision: int
    key: InstanceKey
    state: InstanceState


class Watches:
    """All watches of this process."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        history: History,
        log: RecentLog,
        clock: Clock,
        settings: RuntimeSettings,
        follow: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    ) -> None:
        """Watch what ``log`` hears of, and what ``store`` holds.

        Args:
            store: Has the snapshots, and the log from its beginning.
            registry: Has the definitions of the instances.
            history: Makes changes of rows of the log.
            log: Has the newest changes.
            clock: The wall clock.
            settings: Bounds.
            follow: Entered by each watch, for as long as it lasts, before it looks at ``log``.
        """
        self.store = store
        self.registry = registry
        self.history = history
        self.log = log
        self.clock = clock
        self.settings = settings
        self.by_key: dict[InstanceKey, set[_Watcher]] = {}
        self.by_machine: dict[tuple[str, str], set[_Watcher]] = {}
        self.live: set[_Watcher] = set()
        self.closing = False
        self._follow = follow
        log.listen(self._committed)

    def drain(self) -> None:
        """Close every watch with a token; new ones are refused."""
        self.closing = True
        for watcher in self.live:
            watcher.wake()

    def fall_behind(self) -> None:
        """Have every watch read on from its own cursor: the log in memory begins anew."""
        for watcher in self.live:
            watcher.fall_behind()

    def _committed(self, changes: list[Change], _newest: int) -> None:
        if not self.live:
            return
        for change in changes:
            key = change.key
            for watcher in self.by_key.get(key, ()):
                watcher.offer(change)
            for watcher in self.by_machine.get((key.namespace, key.machine_id), ()):
                watcher.offer(change)

    async def watch(self, spec: WatchSpec) -> AsyncGenerator[list[WatchFrame], None]:
        """Frames in order, in lists of at least one.

        Raises:
            InvalidArgument: The spec cannot be watched.
            ResumeTokenInvalid: The token was not given out by this store.
            WatchCompacted: What lies after the token has been removed.
            ShuttingDown: The server is draining.
            StoreUnavailable: The store failed; watch again from the last token.
        """
        if self.closing:
            raise ShuttingDown
        try:
            async with self._follow():
                async for frames in _Watch(self, spec).run():
                    yield frames
        except StoreFailed as error:
            raise StoreUnavailable(str(error)) from error


class _Watch:
    """One call of `Watches.watch`."""

    def __init__(self, watches: Watches, spec: WatchSpec) -> None:
        if bool(spec.instances) == (spec.filter is not None):
            raise InvalidArgument("instances", "give either instances or a filter to watch")
        if len(spec.instances) > MAX_WATCHED:
            raise InvalidArgument(
                "instances", f"at most {MAX_WATCHED} instances can be watched in one stream"
            )
        if spec.end_on_final and not spec.instances:
            raise InvalidArgument("end_on_final", "only a watch of instances can end with them")
        if spec.filter is not None and not spec.filter.machine_id:
            raise InvalidArgument("filter.machine_id", "name the machine whose instances to watch")
        self._all = watches
        self._spec = spec
        self._keys = sorted(set(spec.instances))
        self._match = (
            LogMatch(machine=(spec.filter.namespace, spec.filter.machine_id))
            if spec.filter is not None
            else LogMatch(keys=frozenset(self._keys))
        )
        self._tokens = ResumeTokens(watches.store.uid)
        self._watcher = _Watcher()
        self._seen = _Seen()
        # Where a snapshot stands for what could not be read: what it has shown, by revision.
        self._shown: dict[InstanceKey, int] = {}
        self._cursor = 0
        self._unfinished = set(self._keys)
        self._of_many = spec.filter is not None or len(self._keys) > 1

    async def run(self) -> AsyncGenerator[list[WatchFrame], None]:
        start = await self._start()
        try:
            if start is None or start.snapshot_of is not None:
                async for frames in self._snapshots(start):
                    yield frames
            elif self._spec.end_on_final:
                await self._note_ended()
            async for frames in self._catch_up():
                yield frames
            yield [WatchSynced(self._token())]
            while not (self._spec.end_on_final and not self._unfinished):
                if self._watcher.behind:
                    self._detach()
                    async for frames in self._catch_up():
                        yield frames
                    continue
                live = await self._next_live()
                if live:
                    yield live
                    if isinstance(live[-1], WatchClosing):
                        return
        finally:
            self._detach()

    async def _start(self) -> ResumePoint | None:
        token = self._spec.resume_token
        if not token:
            return None
        point = self._tokens.read(token)
        compacted = await self._all.store.compacted_revision()
        if point.revision < compacted:
            raise WatchCompacted(self._tokens.make(ResumePoint(compacted)))
        # A token of another node may be a moment ahead of what this one has heard of.
        if point.revision > self._all.log.newest and point.revision > await self._all.store.newest_revision():
            raise ResumeTokenInvalid(
                "the resume token is ahead of this store: was an older copy restored? watch without it"
            )
        self._cursor = point.revision
        return point

    def _token(self) -> str:
        return self._tokens.make(ResumePoint(self._cursor))

    # --- snapshots ------------------------------------------------------------------------------------------

    async def _snapshots(self, start: ResumePoint | None) -> AsyncIterator[list[WatchFrame]]:
        """What exists. The cursor is left at the oldest page's revision."""
        first_revision: int | None = None
        after = None
        if start is not None and start.snapshot_of is not None:
            after, first_revision = start.snapshot_of, start.revision
            self._seen.add(after, start.revision)
        while True:
            page, last_key = await self._page(after)
            if first_revision is None:
                first_revision = page.revision
            self._note_finished(page)
            self._seen.add(last_key, page.revision, page.ahead)
            frames: list[WatchFrame] = []
            for stored in page.instances:
                token = self._tokens.make(ResumePoint(first_revision, stored.row.key))
                frames.append(WatchSnapshot(token, await self._state(stored)))
                if len(frames) == self._all.settings.watch_frames:
                    yield frames
                    frames = []
            if frames:
                yield frames
            if last_key is None:
                self._cursor = first_revision
                return
            after = last_key

    async def _page(self, after: InstanceKey | None) -> tuple[InstancesPage, InstanceKey | None]:
        """The next page, and the last key it looked at; None: it is the last page."""
        store = self._all.store
        watched = self._spec.filter
        if watched is not None:
            position = ("", "") if after is None else (after.machine_id, after.instance_id)
            page = await store.list_instances(
                watched.namespace, watched.machine_id, "", position, _SNAPSHOTS_PER_PAGE
            )
            more = len(page.instances) == _SNAPSHOTS_PER_PAGE
            return page, page.instances[-1].row.key if more else None
        first = 0 if after is None else bisect_left(self._keys, after)
        if after is not None and first < len(self._keys) and self._keys[first] == after:
            first += 1
        some = self._keys[first : first + _SNAPSHOTS_PER_PAGE]
        more = first + len(some) < len(self._keys)
        return await store.get_instances(some), some[-1] if more else None

    async def _state(self, stored: StoredInstance) -> InstanceState:
        row = stored.row
        try:
            instance = await self._instance(stored)
        except DurachartError as error:
            if not self._of_many or isinstance(error, StoreUnavailable):
                raise
            # As in lists: one that cannot be read or run here must not keep a watcher from all others.
            return bare_state(stored, self._spec.view)
        now_ms = max(self._all.clock.now_ms(), row.updated_at_ms)
        return instance_state(instance, self._spec.view, now_ms)

    async def _instance(self, stored: StoredInstance) -> Instance:
        row = stored.row
        definition = await self._all.registry.load(row.machine_id, row.machine_version)
        try:
            return restored(stored, definition)
        except SnapshotInvalid as error:
            raise InstanceCorrupt(row.key, str(error)) from error

    def _note_finished(self, page: InstancesPage) -> None:
        for stored in page.instances:
            if stored.row.status != "active":
                self._unfinished.discard(stored.row.key)

    async def _note_ended(self) -> None:
        """On resume: what finished or was deleted up to the token is not told of again."""
        page = await self._all.store.get_instances(self._keys)
        active = (stored.row.key for stored in page.instances if stored.row.status == "active")
        for key in self._unfinished.difference(active):
            last = await self._all.history.last_change(key)
            # What ended it later than that is still to be told of.
            if last is not None and last.row.status != "active" and last.revision <= self._cursor:
                self._unfinished.discard(key)

    # --- changes --------------------------------------------------------------------------------------------

    async def _catch_up(self) -> AsyncIterator[list[WatchFrame]]:
        """Everything after the cursor. When it ends, the watcher is live: nothing lies between."""
        log = self._all.log
        limit = self._all.settings.watch_frames
        changes: Sequence[Change | _Instead]
        while True:
            if log.covers(self._cursor):
                changes, through = log.read(self._cursor, limit, self._match)
                if not changes:
                    self._cursor = max(self._cursor, through)
                    self._attach()
                    return
            else:
                page = await self._all.store.read_log(self._cursor, limit, self._match)
                changes = await self._changes(page.entries)
                through = page.through
            frames = self._frames(changes)
            self._cursor = through
            if frames:
                yield frames

    async def _changes(self, entries: Sequence[LogEntry]) -> list[Change | _Instead]:
        """What rows of the journal say happened.

        Of an instance whose rows cannot be read, or not run here, a watch of many shows what it is by now
        instead: one must not keep a watcher from all others.
        """
        entries = [entry for entry in entries if not self._is_shown(entry.row.key, entry.revision)]
        try:
            return [*await self._all.history.changes(entries)]
        except DurachartError as error:
            if not self._of_many or isinstance(error, StoreUnavailable):
                raise
        found: list[Change | _Instead] = []
        for key in dict.fromkeys(entry.row.key for entry in entries):
            own = [entry for entry in entries if entry.row.key == key]
            try:
                found.extend(await self._all.history.changes(own))
            except StoreUnavailable:
                raise
            except DurachartError:
                found.extend(await self._instead(key, own))
        return sorted(found, key=lambda change: change.revision)

    async def _instead(self, key: InstanceKey, entries: Sequence[LogEntry]) -> list[Change | _Instead]:
        """What is shown for rows of an instance that cannot be read."""
        page = await self._all.store.get_instances([key])
        instead: list[Change | _Instead] = [
            Deletion(*entry) for entry in entries if entry.row.status == DELETED
        ]
        for stored in page.instances:
            self._note_finished(page)
            self._shown[key] = max(page.revision, page.ahead.get(key, 0))
            instead.append(_Instead(entries[-1].revision, key, await self._state(stored)))
        return instead

    def _is_shown(self, key: InstanceKey, revision: int) -> bool:
        return self._seen.shows(key, revision) or revision <= self._shown.get(key, 0)

    async def _next_live(self) -> list[WatchFrame]:
        """The next frames; empty: the watcher fell behind, or had seen what came already."""
        watcher = self._watcher
        interval_s = self._interval().total_seconds()
        if not watcher.pending and not watcher.behind:
            if self._all.closing:
                return [WatchClosing(self._token(), "the server is shutting down", _RECONNECT_DELAY)]
            if not await watcher.wait(interval_s) and not watcher.pending and not watcher.behind:
                # Whatever is in the log by now was not wanted here.
                self._cursor = max(self._cursor, self._all.log.newest)
                return [WatchProgress(self._token(), instant(self._all.clock.now_ms()))]
        limit = self._all.settings.watch_frames
        taken, watcher.pending = watcher.pending[:limit], watcher.pending[limit:]
        # A cursor that comes from a cut of the database may be ahead of what is heard.
        frames = self._frames([change for change in taken if change.revision > self._cursor])
        if taken:
            self._cursor = max(self._cursor, taken[-1].revision)
        return frames

    def _interval(self) -> timedelta:
        asked = self._spec.progress_interval
        if asked is None:
            return self._all.settings.progress_interval
        return min(max(asked, _SHORTEST_INTERVAL), _LONGEST_INTERVAL)

    def _frames(self, changes: Sequence[Change | _Instead]) -> list[WatchFrame]:
        view: View = self._spec.view
        frames: list[WatchFrame] = []
        for change in changes:
            token = self._tokens.make(ResumePoint(change.revision))
            if isinstance(change, _Instead):
                frames.append(WatchSnapshot(token, change.state))
                continue
            if self._is_shown(change.key, change.revision):
                continue
            row = change.entry.row
            if isinstance(change, Deletion):
                self._unfinished.discard(change.key)
                frames.append(WatchDeleted(token, change.key, row.uid, change.journal_entry()))
                continue
            if change.finishes:
                self._unfinished.discard(change.key)
            elif row.cause == "create" and self._match.keys is not None:
                self._unfinished.add(change.key)  # anew, after a deletion
            frames.append(WatchTransition(token, change.state(view), change.journal_entry(view), row.changed))
        return frames

    # --- being live -----------------------------------------------------------------------------------------

    def _attach(self) -> None:
        watches, watcher = self._all, self._watcher
        watcher.behind = False
        watches.live.add(watcher)
        if self._match.machine is not None:
            watches.by_machine.setdefault(self._match.machine, set()).add(watcher)
        for key in self._keys:
            watches.by_key.setdefault(key, set()).add(watcher)

    def _detach(self) -> None:
        watches, watcher = self._all, self._watcher
        watcher.pending.clear()
        watches.live.discard(watcher)
        if self._match.machine is not None:
            _remove(watches.by_machine, self._match.machine, watcher)
        for key in self._keys:
            _remove(watches.by_key, key, watcher)


def _remove(index: dict[_K, set[_Watcher]], key: _K, watcher: _Watcher) -> None:
    watchers = index.get(key)
    if watchers is not None:
        watchers.discard(watcher)
        if not watchers:
            del index[key]
