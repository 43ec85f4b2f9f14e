"""Waking whoever waits for something to do."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Doorbell:
    """Rings for everyone who waits; a ring that nobody heard is remembered for the next who waits.

    It carries no data: whoever is woken looks for itself, and may find nothing.
    """

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()
        self._rung = False

    def ring(self) -> None:
        """Wake everyone who waits."""
        if not self._waiting:
            self._rung = True
            return
        waiting, self._waiting = self._waiting, set()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def wait_ring(self, max_wait_s: float | None = None) -> bool:
        """Wait for a ring, or take the one that nobody heard.

        Args:
            max_wait_s: Give up after this many seconds; None: never.

        Returns:
            Whether it rang.
        """
        if self._rung:
            self._rung = False
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(max_wait_s):
                    await waiter
                    return True
        finally:
            self._waiting.discard(waiter)
        return False
