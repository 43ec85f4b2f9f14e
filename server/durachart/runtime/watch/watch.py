"""A watch: what instances are, and what they become, in commit order.

A watcher is a cursor into the log. A live one is handed the transitions it wants as they are committed, a few
at most; when it does not take them in time they are dropped and it reads on from its cursor, from memory or
from the journal, until it has caught up. So a slow reader costs nothing but reading, and nothing is ever
lost, sent twice or out of order. One that asked for it is given the latest state of each instance instead of
all it has missed.

Frames come in the order of the log, whatever instance they are of: one that moves all the time delays what
others do by no more than what it did before them, and not even by that where the reader takes gaps.

Snapshots are read in pages, each from one cut of the database. A transition that a page has seen already is
left out, so of every instance the snapshot and the first transition fit together, however long the pages
took.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import timedelta
from random import uniform
from typing import Final

from durachart.runtime.clock import instant
from durachart.runtime.errors import (
    InstanceCorrupt,
    ResumeTokenInvalid,
    WatchCompacted,
)
from durachart.runtime.instance_filter import InstanceFilter
from durachart.runtime.log import Change
from durachart.runtime.opaque import ResumePoint, ResumeTokens
from durachart.runtime.outlet import Outlet
from durachart.runtime.views import (
    WatchClosing,
    WatchFilter,
    WatchFrame,
    WatchProgress,
    WatchSnapshot,
    WatchSpec,
    WatchSynced,
)
from durachart.runtime.watch.cursor import Seen, Watcher
from durachart.runtime.watch.frames import Frames
from durachart.runtime.watch.gaps import Latest, StoredLatest, latest_of
from durachart.runtime.watch.missed import Missed
from durachart.runtime.watch.shared import Shared
from durachart.runtime.watch.snapshots import Snapshots
from durachart.runtime.watch.texts import Texts
from durachart.store.interface import LogEntry, LogMatch

_SHORTEST_WAIT_S: Final = 0.001
_SHORTEST_INTERVAL: Final = timedelta(seconds=1)
_LONGEST_INTERVAL: Final = timedelta(seconds=60)
_RECONNECT_DELAY: Final = timedelta(seconds=1)
_AGE_JITTER: Final = 0.2


class Watch:
    """One call of `Watches.watch`."""

    def __init__(
        self, shared: Shared, spec: WatchSpec, outlet: Outlet[list[WatchFrame]] | None = None
    ) -> None:
        """Begin nothing yet.

        Args:
            shared: What all of them have in common.
            spec: What to watch.
            outlet: As of `Watches.watch`.
        """
        self._shared = shared
        self._spec = spec
        self._keys = sorted(set(spec.instances))
        watched = spec.filter
        self._match = (
            LogMatch(machine=(watched.namespace, watched.machine_id))
            if watched is not None
            else LogMatch(keys=frozenset(self._keys))
        )
        self._matching = InstanceFilter(watched or WatchFilter("", ""), shared.states, shared.registry)
        self._tokens = ResumeTokens(shared.store.uid)
        self._watcher = Watcher(self._wants, shared.settings.watch_pending)
        self._outlet = outlet
        self._seen = Seen()
        self._snapshots = Snapshots(
            shared.store,
            shared.reads,
            shared.registry,
            shared.clock,
            self._keys,
            watched,
            self._matching,
            spec.view,
        )
        self._stored = StoredLatest(shared.store, shared.history, self._snapshots, self._matching, self._seen)
        self._missed = Missed(shared.history, self._matching, self._snapshots, self._stored, self._seen)
        self._frames = Frames(spec, self._matching, self._seen, self._tokens)
        self._texts = (
            Texts(shared.watch_text, self._watcher.wake)
            if spec.include_tokens and shared.watch_text is not None
            else None
        )
        if outlet is not None and self._texts is None and not spec.end_on_final:
            self._watcher.serve = self._serve
        self._cursor = 0
        # Of the frame that was sent last, and when that was.
        self._last_token = spec.resume_token
        self._now_s = asyncio.get_running_loop().time
        self._last_sent_s = self._now_s()
        age = shared.settings.watch_age.total_seconds()
        self._closes_s = self._last_sent_s + uniform(1 - _AGE_JITTER, 1 + _AGE_JITTER) * age  # noqa: S311

    async def run(self) -> AsyncGenerator[list[WatchFrame], None]:
        """All frames, until the watch ends or is old enough."""
        try:
            start = await self._start()
            async with aclosing(self._phases(start)) as batches:
                async for frames in batches:
                    self._last_token = frames[-1].resume_token
                    yield frames
                    self._last_sent_s = self._now_s()
                    if isinstance(frames[-1], WatchClosing):
                        return
                    if self._last_sent_s >= self._closes_s:
                        yield [self._closing()]
                        return
        finally:
            self._detach()
            # It is called by what this has.
            self._watcher.serve = None
            if self._texts is not None:
                await self._texts.close()

    async def _phases(self, start: ResumePoint | None) -> AsyncGenerator[list[WatchFrame], None]:
        if start is None or start.snapshot_of is not None:
            async for frames in self._begin(start):
                yield await self._woven(frames)
        elif self._spec.end_on_final:
            await self._note_ended()
        async for frames in self._catch_up():
            yield await self._woven(frames)
        yield [WatchSynced(self._token())]
        while not (self._spec.end_on_final and not self._frames.unfinished):
            if self._watcher.behind:
                self._detach()
                async for frames in self._catch_up():
                    yield await self._woven(frames)
                continue
            live = await self._next_live()
            if live:
                yield live

    async def _start(self) -> ResumePoint | None:
        token = self._spec.resume_token
        if not token:
            return None
        point = self._tokens.read(token)
        compacted = await self._shared.store.compacted_revision()
        self._require_not_compacted(point.revision, compacted)
        # A token of another node may be a moment ahead of what this one has heard of.
        if (
            point.revision > self._shared.log.newest
            and point.revision > await self._shared.store.newest_revision()
        ):
            raise ResumeTokenInvalid(
                "the resume token is ahead of this store: was an older copy restored? watch without it"
            )
        self._cursor = point.revision
        return point

    def _require_not_compacted(self, cursor: int, compacted: int) -> None:
        if cursor < compacted:
            raise WatchCompacted(self._tokens.make(ResumePoint(compacted)))

    def _token(self) -> str:
        return self._tokens.make(ResumePoint(self._cursor))

    def _closing(self) -> WatchClosing:
        if self._shared.closing:
            return WatchClosing(self._last_token, "the server is shutting down", _RECONNECT_DELAY)
        message = "the stream has been open for long; go on with a new one"
        return WatchClosing(self._last_token, message, uniform(0, 1) * _RECONNECT_DELAY)  # noqa: S311

    def _progress(self, token: str) -> WatchProgress:
        return WatchProgress(token, instant(self._shared.clock.now_ms()))

    def _is_overdue(self) -> bool:
        """Whether the reader has heard nothing for as long as it asked for."""
        return self._now_s() - self._last_sent_s >= self._interval_s()

    def _interval_s(self) -> float:
        asked = self._spec.progress_interval
        if asked is None:
            return self._shared.settings.progress_interval.total_seconds()
        return min(max(asked, _SHORTEST_INTERVAL), _LONGEST_INTERVAL).total_seconds()

    async def _woven(self, frames: list[WatchFrame]) -> list[WatchFrame]:
        return frames if self._texts is None else await self._texts.weave(frames, self._last_token)

    # --- snapshots ------------------------------------------------------------------------------------------

    async def _begin(self, start: ResumePoint | None) -> AsyncIterator[list[WatchFrame]]:
        """What exists and matches. The cursor is left at the oldest page's revision."""
        first_revision: int | None = None
        after = None
        if start is not None and start.snapshot_of is not None:
            after, first_revision = start.snapshot_of, start.revision
            self._seen.add(after, start.revision)
        while True:
            cut, last_key, wanted = await self._snapshots.page(after)
            if first_revision is None:
                first_revision = cut.revision
            self._frames.note_page(cut)
            self._seen.add(last_key, cut.revision, cut.ahead)
            frames: list[WatchFrame] = []
            for stored in wanted:
                token = self._tokens.make(ResumePoint(first_revision, stored.row.key))
                frames.append(WatchSnapshot(token, await self._snapshots.state(stored)))
                if len(frames) == self._shared.settings.watch_frames:
                    yield frames
                    frames = []
            if frames:
                yield frames
            if last_key is None:
                self._cursor = first_revision
                return
            after = last_key
            if self._is_overdue():
                yield [self._progress(self._tokens.make(ResumePoint(first_revision, last_key)))]

    async def _note_ended(self) -> None:
        """On resume: what finished or was deleted up to the token is not told of again."""
        page = await self._shared.store.get_instances(self._keys)
        active = (stored.row.key for stored in page.instances if stored.row.status == "active")
        for key in self._frames.unfinished.difference(active):
            last = await self._shared.history.last_change(key)
            # What ended it later than that is still to be told of.
            if last is not None and last.row.status != "active" and last.revision <= self._cursor:
                self._frames.unfinished.discard(key)

    # --- changes --------------------------------------------------------------------------------------------

    async def _catch_up(self) -> AsyncIterator[list[WatchFrame]]:
        """Everything after the cursor. When it ends, the watcher is live: nothing lies between."""
        log = self._shared.log
        bound = self._shared.settings.watch_pending
        limit = bound + 1 if self._spec.conflate else self._shared.settings.watch_frames
        changes: Sequence[Change | Latest]
        while True:
            if log.covers(self._cursor):
                found, through = log.read(self._cursor, limit, self._match, self._wants)
                if not found:
                    self._cursor = max(self._cursor, through)
                    self._attach()
                    return
                if self._spec.conflate and len(found) > bound:
                    found, through = log.read(self._cursor, log.max_entries, self._match, self._wants)
                    shows = self._seen.shows
                    missed = (change for change in found if not shows(change.key, change.revision))
                    changes = latest_of(missed, self._matching, self._spec.view)
                else:
                    changes = found
            else:
                page = await self._shared.store.read_log(self._cursor, limit, self._match)
                self._require_not_compacted(self._cursor, page.compacted)
                through = page.through
                if self._spec.conflate and len(page.entries) > bound:
                    changes = await self._stored.of(self._missed.not_shown(page.entries))
                else:
                    changes = await self._from_journal(page.entries)
            async for frames in self._pieces(changes, through):
                yield frames
            if self._is_overdue():
                yield [self._progress(self._token())]

    async def _from_journal(self, entries: Sequence[LogEntry]) -> Sequence[Change | Latest]:
        try:
            return await self._missed.changes(entries)
        except InstanceCorrupt:
            # Retention may have removed since what these rows build on.
            self._require_not_compacted(self._cursor, await self._shared.store.compacted_revision())
            raise

    async def _pieces(
        self, changes: Sequence[Change | Latest], through: int
    ) -> AsyncIterator[list[WatchFrame]]:
        """The frames of a stretch of the log, a message at a time. Leaves the cursor at its end."""
        frames = self._frames.of(changes)
        if self._spec.conflate and any(isinstance(change, Latest) for change in changes) and frames:
            # Each stands for changes all over the stretch, which is told of when the last of them has come.
            before, after = self._token(), self._tokens.make(ResumePoint(through))
            frames = [frame._replace(resume_token=before) for frame in frames]
            frames[-1] = frames[-1]._replace(resume_token=after)
        limit = self._shared.settings.watch_frames
        for first in range(0, len(frames), limit):
            yield frames[first : first + limit]
        self._cursor = max(self._cursor, through)

    @property
    def _wants(self) -> Callable[[Change], bool] | None:
        return None if self._matching.takes_all else self._matching.wants

    async def _next_live(self) -> list[WatchFrame]:
        """The next frames; empty: the watcher fell behind, or had seen what came already."""
        watcher, texts = self._watcher, self._texts
        if texts is not None:
            texts.start()
        if not watcher.pending and not watcher.behind and not (texts is not None and texts.is_ready):
            if self._shared.closing or self._now_s() >= self._closes_s:
                return [self._closing()]
            due_s = min(self._last_sent_s + self._interval_s(), self._closes_s)
            wait_s = max(due_s - self._now_s(), _SHORTEST_WAIT_S)
            if not await watcher.wait(wait_s) and not watcher.pending and not watcher.behind:
                if self._now_s() >= self._closes_s:
                    return [self._closing()]
                if not self._is_overdue():
                    return []  # it was served meanwhile
                # Whatever is in the log by now was not wanted here.
                self._cursor = max(self._cursor, self._shared.log.newest)
                return [self._progress(self._token())]
        limit = self._shared.settings.watch_frames
        taken = watcher.take(limit)
        # A cursor that comes from a cut of the database may be ahead of what is heard.
        frames = self._frames.of([change for change in taken if change.revision > self._cursor])
        if taken:
            self._cursor = max(self._cursor, taken[-1].revision)
            self._seen.forget(self._cursor)
        if texts is not None:
            frames = await texts.weave(frames, self._last_token)
            frames += texts.take(frames[-1].resume_token if frames else self._last_token, limit)
        return frames

    def _serve(self, changes: Sequence[Change]) -> bool:
        """Tell a watcher that keeps up, in the turn in which these were committed."""
        assert self._outlet is not None
        shared = self._shared
        if len(changes) > shared.settings.watch_frames or shared.closing or not self._outlet.is_open:
            return False
        frames = self._frames.of([change for change in changes if change.revision > self._cursor])
        self._cursor = max(self._cursor, changes[-1].revision)
        self._seen.forget(self._cursor)
        if frames:
            self._last_token = frames[-1].resume_token
            self._last_sent_s = self._now_s()
            self._outlet.put(frames, at_once=len(shared.audience.live) == 1)
        return True

    # --- being live -----------------------------------------------------------------------------------------

    def _attach(self) -> None:
        self._watcher.behind = False
        self._seen.forget(self._cursor)
        self._shared.audience.attach(self._watcher, self._keys, self._match.machine)

    def _detach(self) -> None:
        self._watcher.clear()
        self._shared.audience.detach(self._watcher, self._keys, self._match.machine)
