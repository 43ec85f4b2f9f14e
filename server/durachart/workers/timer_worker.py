"""Fires timers when they are due, never early.

The worker sleeps until the earliest instant at which one may be claimed, or until a commit rings because that
may have changed; and never longer than the poll interval, in case the wall clock was set. What is due is
claimed a batch at a time, however much it is: where several nodes share the database each fires what it has
claimed, and what a node that died had claimed is claimed again when its claim ends.

A claim promises nothing. Whether a timer may still fire is decided by the transaction that fires it: one that
was cancelled meanwhile does nothing, and those of its instance that were due before it go first. Instances do
not wait for each other; one whose timers cannot be fired waits until their claims end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from durachart.crash_points import reach
from durachart.runtime.commands import FireTimer
from durachart.runtime.errors import DurachartError, Overloaded, StoreUnavailable
from durachart.runtime.views import DueTimer
from durachart.store.keys import InstanceKey

_log = logging.getLogger(__name__)

# A sleep may end a little before the wall clock gets there; this keeps the rest from being a tight loop.
_SHORTEST_WAIT_S = 0.001


class PendingTimers(Protocol):
    """What the timer worker needs; see `Timers` of the runtime for what each method promises."""

    async def claim(self, limit: int, claim: timedelta) -> list[DueTimer]:
        """Take on timers that are due now, in due order."""

    async def next_due_at(self) -> datetime | None:
        """When the next timer can be claimed; None: none is pending."""

    async def wait(self, max_wait_s: float | None = None) -> bool:
        """Wait until the earliest due instant may have changed; False: ``max_wait_s`` passed first."""

    async def fire(self, command: FireTimer) -> bool:
        """Deliver a timer's event."""


@dataclass(frozen=True, slots=True)
class TimerWorkerSettings:
    """How the worker works.

    Attributes:
        batch: Most timers claimed at a time.
        poll_ms: Longest sleep: a clock set forward is noticed within it.
        pause_ms: Wait after the store failed, or had too much to do.
        claim_ms: How long a claim lasts: how late a timer is whose node died, and how long an instance whose
            timers cannot be fired is left alone.
    """

    batch: int = 256
    poll_ms: int = 5_000
    pause_ms: int = 1_000
    claim_ms: int = 15_000


def _utc_now() -> datetime:
    return datetime.now(UTC)


class TimerWorker:
    """Fires timers in this process."""

    def __init__(
        self,
        timers: PendingTimers,
        settings: TimerWorkerSettings | None = None,
        *,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        """Prepare; nothing fires before `running` is entered.

        Args:
            timers: Where they are claimed and fired.
            settings: None for the defaults.
            now: The wall clock, aware.
        """
        self._timers = timers
        self._settings = settings or TimerWorkerSettings()
        self._now = now

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
                wait_s = await self._fire_what_is_due(stop)
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
        ring = asyncio.create_task(self._timers.wait(wait_s))
        await asyncio.wait({ring, stopping}, return_when=asyncio.FIRST_COMPLETED)
        ring.cancel()
        await asyncio.wait({ring})

    async def _fire_what_is_due(self, stop: asyncio.Event) -> float:
        """Fire one batch; return how long nothing else is due, in seconds, 0 when more may be."""
        settings = self._settings
        due = await self._timers.claim(settings.batch, timedelta(milliseconds=settings.claim_ms))
        if due:
            by_instance: dict[InstanceKey, list[DueTimer]] = {}
            for timer in due:
                by_instance.setdefault(timer.key, []).append(timer)
            await asyncio.gather(*(self._fire_in_order(timers, stop) for timers in by_instance.values()))
            return 0
        longest_s = settings.poll_ms / 1000
        next_at = await self._timers.next_due_at()
        if next_at is None:
            return longest_s
        return min(max((next_at - self._now()).total_seconds(), _SHORTEST_WAIT_S), longest_s)

    async def _fire_in_order(self, timers: Sequence[DueTimer], stop: asyncio.Event) -> None:
        """Fire claimed timers of one instance; behind one that cannot be fired, the rest waits."""
        for timer in timers:
            command = FireTimer(timer.key, timer.uid, timer.timer_key, timer.sequence)
            reach("timer.before")
            try:
                await self._fire(command, stop)
            except DurachartError as error:
                _log.warning(
                    "timer not fired instance=%s timer=%s error=%s", timer.key, timer.timer_key, error
                )
                return
            reach("timer.after")

    async def _fire(self, command: FireTimer, stop: asyncio.Event) -> None:
        """Fire a timer; what stands in the way for a moment only is waited for while the claim lasts."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._settings.claim_ms / 1000
        pause_s = self._settings.pause_ms / 1000
        while True:
            try:
                await self._timers.fire(command)
                return
            except (StoreUnavailable, Overloaded):
                if stop.is_set() or loop.time() + pause_s >= until_s:
                    raise
            await asyncio.sleep(pause_s)
