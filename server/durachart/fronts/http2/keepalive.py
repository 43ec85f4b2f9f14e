"""Finding out that a peer is gone that says nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

_HANDSHAKE_SECONDS: Final = 10.0


class Keepalive:
    """Asks a peer that has been silent whether it is there, and gives it up when it does not say so.

    Args:
        loop: Its clock counts.
        silent_s: How long the peer may be silent.
        answer_s: How long its answer may take.
        ask: Called when it has been silent, or has not greeted in time.
        give_up: Called when it did not answer; after that nothing more.

    Attributes:
        heard_s: When the peer was heard of last.
        greeted: Whether it has sent its SETTINGS, which it has to within ten seconds.
    """

    __slots__ = (
        "_answer_s",
        "_ask",
        "_asked",
        "_give_up",
        "_loop",
        "_silent_s",
        "_timer",
        "greeted",
        "heard_s",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        silent_s: float,
        answer_s: float,
        ask: Callable[[], None],
        give_up: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._silent_s = silent_s
        self._answer_s = answer_s
        self._ask = ask
        self._give_up = give_up
        self._asked = False
        self.heard_s = loop.time()
        self.greeted = False
        self._timer = loop.call_later(_HANDSHAKE_SECONDS, self._look)

    def hear(self) -> None:
        """The peer is there."""
        self.heard_s = self._loop.time()
        self._asked = False

    def end(self) -> None:
        """The connection is over."""
        self._timer.cancel()

    def _look(self) -> None:
        if self._asked:
            self._give_up()
            return
        wait = self._silent_s - (self._loop.time() - self.heard_s)
        if wait <= 0 or not self.greeted:
            self._asked = True
            wait = self._answer_s
            self._ask()
        self._timer = self._loop.call_later(wait, self._look)
