"""Fires timers when they are due, never early.

The worker sleeps until the earliest due instant, or until a commit rings because that may have changed; and
never longer than the poll interval, in case the wall clock was set. Which timers are due is for the runtime
to say, and whether one may still fire is decided by the transaction that fires it: a timer cancelled
meanwhile does nothing. Timers of one instance fire in the order in which they are due; instances do not wait
for each other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from durachart.crash_points import reach
from durachart.runtime.commands import FireTimer
from durachart.runtime.errors import DurachartError, Overloaded, StoreUnavailable
from durachart.runtime.views import DueTimer
from durachart.store.keys import InstanceKey

_log = logging.getLogger(__name__)

# A sleep may end a little before the wall clock gets there; this keeps the rest from being a tight loop.
_SHORTEST_WAIT_S = 0.001


class TimerRuntime(Protocol):
    """What the timer worker needs of the runtime; see `Runtime` for what each method promises."""

    async def due_timers(self, limit: int) -> list[DueTimer]:
        """Timers that are due now, in due order."""

    async def next_due_at(self) -> datetime | None:
        """When the next timer comes due; None: none is pending."""

    async def wait_timers(self, max_wait_s: float | None = None) -> bool:
        """Wait until the earliest due instant may have changed; False: ``max_wait_s`` passed first."""

    async def fire_timer(self, command: FireTimer) -> bool:
        """Deliver a timer's event."""


@dataclass(frozen=True, slots=True)
class TimerWorkerSettings:
    """How the worker works.

    Attributes:
        batch: Most timers fired at a time.
        poll_ms: Longest sleep: a clock set forward is noticed within it.
        pause_ms: Wait after the store failed.
        stuck_ms: Wait before an instance whose timer cannot be fired, for another reason, is tried again.
    """

    batch: int = 256
    poll_ms: int = 5_000
    pause_ms: int = 1_000
    stuck_ms: int = 30_000


def _utc_now() -> datetime:
    return datetime.now(UTC)


class TimerWorker:
    """Fires timers in this process."""

    def __init__(
        self,
        runtime: TimerRuntime,
        settings: TimerWorkerSettings | None = None,
        *,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        """Prepare; nothing fires before `running` is entered.

        Args:
            runtime: Where timers are read and fired.
            settings: None for the defaults.
            now: The wall clock, aware.
        """
        self._runtime = runtime
        self._settings = settings or TimerWorkerSettings()
        self._now = now
        # What could not be fired, with the instant on the loop's clock from which it is tried again.
        self._stuck: dict[DueTimer | InstanceKey, float] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Fire timers while the block runs; in the end, finish those under way."""
        stop = asyncio.Event()
        loop = asyncio.create_task(self._work(stop))
        try:
            yield
        finally:
            stop.set()
            await asyncio.wait({loop})

    async def _work(self, stop: asyncio.Event) -> None:
        stopping = asyncio.create_task(stop.wait())
        while not stop.is_set():
            try:
                wait_s = await self._fire_what_is_due()
            except DurachartError as error:
                _log.warning("timers not fired error=%s", error)
                wait_s = self._settings.pause_ms / 1000
            except Exception:  # noqa: BLE001 -- logged; a loop that ends stops all timers
                _log.exception("timers not fired")
                wait_s = self._settings.pause_ms / 1000
            if wait_s > 0:
                await self._sleep(wait_s, stopping)
        await stopping

    async def _sleep(self, wait_s: float, stopping: asyncio.Task[bool]) -> None:
        ring = asyncio.create_task(self._runtime.wait_timers(wait_s))
        await asyncio.wait({ring, stopping}, return_when=asyncio.FIRST_COMPLETED)
        ring.cancel()
        await asyncio.wait({ring})

    async def _fire_what_is_due(self) -> float:
        """Fire one batch; return how long nothing else is due, in seconds, 0 when more may be."""
        found, due = await self._look()
        if due:
            by_instance: dict[InstanceKey, list[DueTimer]] = {}
            for timer in due:
                by_instance.setdefault(timer.key, []).append(timer)
            await asyncio.gather(*map(self._fire_in_order, by_instance.values()))
            return 0
        if found:
            # All of it is stuck and stands first, so what is due next cannot be asked for.
            return self._settings.pause_ms / 1000
        longest_s = self._settings.poll_ms / 1000
        next_at = await self._runtime.next_due_at()
        if next_at is None:
            return longest_s
        return min(max((next_at - self._now()).total_seconds(), _SHORTEST_WAIT_S), longest_s)

    async def _look(self) -> tuple[bool, list[DueTimer]]:
        """Return whether any timer is due, and those due that may be tried, in due order."""
        now_s = asyncio.get_running_loop().time()
        self._stuck = {what: until_s for what, until_s in self._stuck.items() if until_s > now_s}
        limit = self._settings.batch
        while True:
            found = await self._runtime.due_timers(limit)
            due = [timer for timer in found if timer not in self._stuck and timer.key not in self._stuck]
            # Timers that cannot be fired now must not hide those behind them.
            if due or len(found) < limit:
                return bool(found), due[: self._settings.batch]
            limit *= 2

    async def _fire_in_order(self, timers: Sequence[DueTimer]) -> None:
        """Fire the due timers of one instance; behind one that cannot be fired, the rest waits."""
        pause_s = self._settings.pause_ms / 1000
        clock = asyncio.get_running_loop().time
        for timer in timers:
            command = FireTimer(timer.key, timer.uid, timer.timer_key, timer.sequence)
            try:
                reach("timer.before")
                fired = await self._runtime.fire_timer(command)
                reach("timer.after")
            except DurachartError as error:
                _log.warning(
                    "timer not fired instance=%s timer=%s error=%s", timer.key, timer.timer_key, error
                )
                busy = isinstance(error, StoreUnavailable | Overloaded)
                self._stuck[timer.key] = clock() + (pause_s if busy else self._settings.stuck_ms / 1000)
                return
            if not fired:
                # Cancelled meanwhile, and gone; or, should it be listed again, not to be tried in a tight
                # loop.
                self._stuck[timer] = clock() + pause_s
