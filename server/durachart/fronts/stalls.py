"""Noticing a reader that has stopped, at no cost to those that read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from durachart.rpc.errors import reader_stalled


class StallWatch:
    """Bounds how long each write of one stream may take.

    What `asyncio.timeout` does around each write, with one timer for many of them: it is set by a write when
    none is pending, and looks when it fires at how long the write of that moment has lasted.

    Args:
        stalled_s: Seconds, > 0.
    """

    __slots__ = ("_began", "_overdue", "_stalled_s", "_task", "_timer")

    def __init__(self, stalled_s: float) -> None:
        self._stalled_s = stalled_s
        self._began: float | None = None
        self._overdue = False
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def watched(self, write: Awaitable[None]) -> None:
        """Await ``write``.

        Raises:
            RpcError: READER_STALLED: it took too long, and was cancelled.
        """
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        if self._timer is None:
            self._task = asyncio.current_task()
            self._timer = loop.call_later(self._stalled_s, self._look)
        try:
            await write
        except asyncio.CancelledError:
            assert self._task is not None
            if self._overdue and self._task.uncancel() == 0:
                raise reader_stalled() from None
            raise
        finally:
            self._began = None

    def end(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if self._began is None:
            return
        loop = asyncio.get_running_loop()
        left = self._began + self._stalled_s - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._look)
            return
        self._overdue = True
        assert self._task is not None
        self._task.cancel()
