"""All watches of a process: their beginning and end, and what is committed meanwhile."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from typing import Final

from durachart.runtime.clock import Clock
from durachart.runtime.errors import InvalidArgument, ShuttingDown
from durachart.runtime.history import History
from durachart.runtime.log import Change, RecentLog
from durachart.runtime.outlet import Outlet
from durachart.runtime.registry import Registry
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.store_errors import told_as_unavailable
from durachart.runtime.views import WatchFrame, WatchSpec
from durachart.runtime.watch.shared import Shared
from durachart.runtime.watch.watch import Watch
from durachart.store.interface import Store

MAX_WATCHED: Final = 1_000


class Watches:
    """All watches of this process.

    Attributes:
        shared: What they have in common.
    """

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
        self.shared = Shared(store, registry, history, log, clock, settings)
        self._follow = follow
        log.listen(self._committed)

    def drain(self) -> None:
        """Close every watch with a token; new ones are refused."""
        self.shared.closing = True
        for watcher in self.shared.audience.live:
            watcher.wake()

    def fall_behind(self) -> None:
        """Have every watch read on from its own cursor: the log in memory begins anew."""
        for watcher in self.shared.audience.live:
            watcher.fall_behind()

    def _committed(self, changes: list[Change], _newest: int) -> None:
        self.shared.audience.tell(changes)

    async def watch(
        self, spec: WatchSpec, outlet: Outlet[list[WatchFrame]] | None = None
    ) -> AsyncGenerator[list[WatchFrame], None]:
        """Frames in order, in lists of at least one.

        Args:
            spec: What to watch.
            outlet: Takes transitions, while the next frames are asked for, in the turn in which they are
                committed; what is put there is not yielded. None: all is yielded.

        Raises:
            InvalidArgument: The spec cannot be watched.
            ResumeTokenInvalid: The token was not given out by this store.
            WatchCompacted: What lies after the token has been removed.
            ShuttingDown: The server is draining.
            StoreUnavailable: The store failed; watch again from the last token.
        """
        if self.shared.closing:
            raise ShuttingDown
        _require_watchable(spec)
        with told_as_unavailable():
            async with self._follow(), aclosing(Watch(self.shared, spec, outlet).run()) as batches:
                async for frames in batches:
                    yield frames


def _require_watchable(spec: WatchSpec) -> None:
    if bool(spec.instances) == (spec.filter is not None):
        raise InvalidArgument("instances", "give either instances or a filter to watch")
    if len(spec.instances) > MAX_WATCHED:
        raise InvalidArgument("instances", f"at most {MAX_WATCHED} instances can be watched in one stream")
    if spec.end_on_final and not spec.instances:
        raise InvalidArgument("end_on_final", "only a watch of instances can end with them")
    if spec.filter is not None and not spec.filter.machine_id:
        raise InvalidArgument("filter.machine_id", "name the machine whose instances to watch")
