"""What other nodes on the same database do, and who here has to hear of it.

A node tells the others by a doorbell what kind of thing it changed. Whoever is woken looks at the database;
the bell carries nothing. Rings may be lost, so everybody is woken every now and then as well: a ring that is
lost costs that interval and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from durachart.runtime.effects.outbox import Outbox
from durachart.runtime.errors import DurachartError
from durachart.runtime.log_tail import LogTail
from durachart.store.interface import Hint, Store

_log = logging.getLogger(__name__)

_SHORTEST_PAUSE_S: Final = 0.01
"""Between two looks at what has ended: others may end thousands of effects a second."""


class Neighbours:
    """Wakes what has to look when other nodes may have changed something."""

    def __init__(
        self,
        store: Store,
        tail: LogTail,
        outbox: Outbox,
        wake_timers: Callable[[], None],
        forget_latest: Callable[[], None],
        *,
        poll_s: float = 0.8,
    ) -> None:
        """Prepare; nothing is heard before `start`.

        Args:
            store: Rings.
            tail: Reads the log.
            outbox: Has effects leased by workers of this node.
            wake_timers: Called when others may have armed timers, or left some behind.
            forget_latest: Called when others may have published machines.
            poll_s: How often everybody is woken although nobody rang, in seconds.
        """
        self._store = store
        self._tail = tail
        self._outbox = outbox
        self._wake_timers = wake_timers
        self._forget_latest = forget_latest
        self._poll_s = poll_s
        self._ends = asyncio.Event()
        self._tasks: Sequence[asyncio.Task[None]] = ()

    def start(self) -> None:
        """Begin."""
        self._store.listen(self._heard)
        self._tasks = (
            asyncio.create_task(self._poll(), name="durachart-neighbours"),
            asyncio.create_task(self._watch_ends(), name="durachart-ends"),
        )

    async def close(self) -> None:
        """End."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
            self._tasks = ()

    def _heard(self, hints: Hint) -> None:
        if Hint.LOG in hints:
            self._tail.ring()
        if Hint.EFFECTS in hints:
            self._outbox.wake_workers()
        if Hint.ENDS in hints:
            self._ends.set()
        if Hint.TIMERS in hints:
            self._wake_timers()
        if Hint.MACHINES in hints:
            self._forget_latest()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            # The log's tail has its own interval.
            self._heard(Hint.EFFECTS | Hint.ENDS | Hint.TIMERS | Hint.MACHINES)

    async def _watch_ends(self) -> None:
        while True:
            await self._ends.wait()
            self._ends.clear()
            try:
                await self._outbox.look_for_ends()
            except DurachartError as error:
                _log.warning("ends of effects not looked for error=%s", error)
            except Exception:  # noqa: BLE001 - logged; handlers of effects that ended would go on for ever
                _log.exception("ends of effects not looked for")
            await asyncio.sleep(_SHORTEST_PAUSE_S)
