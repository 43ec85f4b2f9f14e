"""Timers, as their worker asks for them: what is due, when the next is, and firing one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from durachart.runtime.clock import Clock, instant
from durachart.runtime.commands import SYSTEM_ACTOR, Caller, FireTimer
from durachart.runtime.doorbell import Doorbell
from durachart.runtime.queue.queue import CommandQueue
from durachart.runtime.store_errors import told_as_unavailable
from durachart.runtime.views import DueTimer
from durachart.store.interface import Store
from durachart.store.rows import TimerRow

_NO_INSTANT: Final = sys.maxsize


class Timers:
    """See the module.

    Args:
        store: Has them.
        queue: Fires them.
        clock: Says what is due.
    """

    def __init__(self, store: Store, queue: CommandQueue, clock: Clock) -> None:
        self._store = store
        self._queue = queue
        self._clock = clock
        self._bell = Doorbell()
        # The instant that whoever fires timers was told of last; what is due later changes nothing for him.
        self._told_due_ms = _NO_INSTANT

    def committed(self, armed: Sequence[TimerRow]) -> None:
        """Hear of timers that were armed here."""
        if armed and min(timer.due_at_ms for timer in armed) < self._told_due_ms:
            self._bell.ring()

    def ring(self) -> None:
        """Have whoever waits look: other nodes may have armed some."""
        self._bell.ring()

    async def due(self, limit: int) -> list[DueTimer]:
        """Timers that are due now, in due order."""
        with told_as_unavailable():
            rows = await self._store.due_timers(self._clock.now_ms(), limit)
        return [_due(row) for row in rows]

    async def claim(self, limit: int, claim: timedelta) -> list[DueTimer]:
        """Take on timers that are due now, in due order, for as long as ``claim`` lasts."""
        now_ms = self._clock.now_ms()
        until_ms = now_ms + int(claim / timedelta(milliseconds=1))
        with told_as_unavailable():
            rows = await self._store.claim_due_timers(now_ms, limit, until_ms)
        return [_due(row) for row in rows]

    async def next_due_at(self) -> datetime | None:
        """When the next timer can be claimed; None: none is pending."""
        # What is committed while this reads may not be in what it reads.
        self._told_due_ms = _NO_INSTANT
        with told_as_unavailable():
            due_ms = await self._store.next_due()
        self._told_due_ms = _NO_INSTANT if due_ms is None else due_ms
        return None if due_ms is None else instant(due_ms)

    async def wait(self, max_wait_s: float | None = None) -> bool:
        """Wait until the earliest due instant may have changed; False: ``max_wait_s`` passed first."""
        return await self._bell.wait_ring(max_wait_s)

    async def fire(self, command: FireTimer) -> bool:
        """Deliver a timer's event; False: that arming is not pending any more, or not due yet."""
        reply = await self._queue.submit(command, Caller(SYSTEM_ACTOR))
        return reply.verdict.done


def _due(row: TimerRow) -> DueTimer:
    return DueTimer(row.key, row.uid, row.timer_key, row.sequence, row.due_at_ms)
