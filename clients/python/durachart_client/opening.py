"""How many streams of one connection open at a time.

A server takes up new calls one after the other; of thousands that arrive in one instant some are refused. So
a connection opens a bounded number at once, and the others wait for their turn, in order. A turn ends with
the first message of its stream, or after a moment: a server may have nothing to say for long, which must not
keep others from opening.
"""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta

AT_ONCE = 100
LONGEST_TURN = timedelta(seconds=5)


class Openings:
    """The turns of one connection.

    Args:
        at_once: How many may be opening at a time, >= 1.
        longest: How long a stream keeps its turn at most.
    """

    def __init__(self, at_once: int = AT_ONCE, longest: timedelta = LONGEST_TURN) -> None:
        self._free = at_once
        self._longest_s = longest.total_seconds()
        self._waiting: deque[Turn] = deque()

    @property
    def waiting(self) -> int:
        """How many streams wait for their turn."""
        return len(self._waiting)

    def turn(self) -> Turn:
        """A turn to wait for; whoever asks for it ends it, whether it came or not."""
        turn = Turn(self)
        if self._free:
            self._grant(turn)
        else:
            self._waiting.append(turn)
        return turn

    def _grant(self, turn: Turn) -> None:
        self._free -= 1
        turn.begin(self._longest_s)

    def leave(self, turn: Turn) -> None:
        """Take back a turn that has not come."""
        self._waiting.remove(turn)

    def give_back(self) -> None:
        """Let the next one open."""
        self._free += 1
        if self._waiting:
            self._grant(self._waiting.popleft())


class Turn:
    """One stream's turn to open."""

    __slots__ = ("_come", "_openings", "_over", "_timer")

    def __init__(self, openings: Openings) -> None:
        self._openings = openings
        self._come: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    async def wait(self) -> None:
        """Wait until it comes; cancelled when it is ended before that."""
        await self._come

    def begin(self, longest_s: float) -> None:
        """It has come, and is over after ``longest_s`` at the latest."""
        if not self._come.done():
            self._come.set_result(None)
        self._timer = asyncio.get_running_loop().call_later(longest_s, self.end)

    def end(self) -> None:
        """Let the next one open; ending again does nothing."""
        if self._over:
            return
        self._over = True
        if self._timer is None:
            self._openings.leave(self)
            self._come.cancel()
        else:
            self._timer.cancel()
            self._openings.give_back()
