"""A live watch: what was committed and is not taken yet, a few changes at most."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from durachart.runtime.log import Change
from durachart.store.keys import InstanceKey

_MOST_PENDING_BYTES: Final = 4 * 1024 * 1024
# What is larger would leave in several responses, which nothing would hold back and which are made bytes anew
# for each stream, all in the turn of the commit.
_MOST_SERVED_BYTES: Final = 256 * 1024
_NOTHING_AHEAD: Final[Mapping[InstanceKey, int]] = {}


class Watcher:
    """A live watch.

    Attributes:
        pending: What it has not taken yet.
        behind: It did not take what came in time, and must read on from its cursor.
        serve: Called, while it waits, with what comes unless it is large, in the turn of whoever brings it;
            False: it was not told, and is to be woken. What it raises is raised where it waits. None: it is
            always woken.
    """

    __slots__ = ("_bytes", "_most", "_waiter", "_wants", "behind", "pending", "serve")

    def __init__(self, wants: Callable[[Change], bool] | None, most_pending: int) -> None:
        """Keep up to ``most_pending`` changes that ``wants`` takes; None: every change."""
        self._most = most_pending
        self.pending: list[Change] = []
        self.behind = False
        self._bytes = 0
        self._wants = wants
        self._waiter: asyncio.Future[None] | None = None
        self.serve: Callable[[Sequence[Change]], bool] | None = None

    def offer(self, changes: Sequence[Change], size_bytes: int) -> None:
        """Keep changes that came together, unless there are too many or nobody wants them.

        Args:
            changes: At least one, in the order of the log.
            size_bytes: Of all of them.
        """
        if self.behind:
            return
        if self._wants is not None:
            changes = [change for change in changes if self._wants(change)]
            if not changes:
                return
            size_bytes = sum(change.size_bytes for change in changes)
        if size_bytes <= _MOST_SERVED_BYTES and self._is_served(changes):
            return
        self._bytes += size_bytes
        too_large = self._bytes > _MOST_PENDING_BYTES and self.pending
        if too_large or len(self.pending) + len(changes) > self._most:
            self.fall_behind()
            return
        self.pending.extend(changes)
        self.wake()

    def _is_served(self, changes: Sequence[Change]) -> bool:
        waiter = self._waiter
        if self.serve is None or waiter is None or waiter.done() or self.pending:
            return False
        try:
            return self.serve(changes)
        except Exception as error:  # noqa: BLE001 - it is for the one who waits, not for whoever commits
            waiter.set_exception(error)
            return True

    def take(self, limit: int) -> list[Change]:
        """The oldest that are kept."""
        if len(self.pending) <= limit:
            taken = self.pending
            self.clear()
            return taken
        taken, self.pending = self.pending[:limit], self.pending[limit:]
        self._bytes -= sum(change.size_bytes for change in taken)
        return taken

    def fall_behind(self) -> None:
        """Keep nothing until it has caught up."""
        self.clear()
        self.behind = True
        self.wake()

    def clear(self) -> None:
        """Forget what was kept."""
        self.pending = []
        self._bytes = 0

    def wake(self) -> None:
        """There is something to do."""
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


class Seen:
    """Up to which revision a watch has shown each instance by other means than its changes."""

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

    def add_one(self, key: InstanceKey, revision: int) -> None:
        """One instance was shown as of ``revision``."""
        self._ahead[key] = max(revision, self._ahead.get(key, 0))
        self._highest = max(self._highest, revision)

    def shows(self, key: InstanceKey, revision: int) -> bool:
        """Whether what a change of an instance led to, or something later, was shown."""
        if revision > self._highest:
            return False
        if revision <= self._ahead.get(key, 0):
            return True
        page = bisect_left(self._last_keys, key)
        return page < len(self._revisions) and revision <= self._revisions[page]

    def forget(self, cursor: int) -> None:
        """Everything up to ``cursor`` has been told of: what was shown before it does not matter any more."""
        if self._highest and cursor >= self._highest:
            self._last_keys, self._revisions, self._ahead, self._highest = [], [], {}, 0
