"""Waking those who wait for effects: of their handlers, and no more of them than there are effects.

Whoever waits listens first and then looks for work, so that nothing that arrives in between is missed::

    with arrivals.listening(handlers) as listener:
        while not (found := await look()):
            await listener.wait_ring(seconds)

A ring wakes one listener per effect, the one that has listened longest. A woken listener promises nothing: it
may find that somebody else was faster, and one that goes away without having looked hands its ring on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress


class Listener:
    """One who waits; made by `Arrivals.listening`."""

    def __init__(self, handlers: Sequence[str]) -> None:
        self.handlers = tuple(dict.fromkeys(handlers))
        self.rung_for: str | None = None
        self._awake = asyncio.Event()

    def wake(self) -> None:
        """End the wait under way, or the next one."""
        self._awake.set()

    async def wait_ring(self, max_wait_s: float) -> None:
        """Wait until something arrives or `wake` is called, at most ``max_wait_s`` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max_wait_s):
                await self._awake.wait()
        self._awake.clear()


class Arrivals:
    """See the module."""

    def __init__(self) -> None:
        self._listening: dict[str, dict[Listener, None]] = {}
        self._everyone: set[Listener] = set()

    @contextmanager
    def listening(self, handlers: Sequence[str]) -> Iterator[Listener]:
        """Listen for effects of ``handlers`` while the block runs; at first as one who is ready."""
        listener = Listener(handlers)
        self._everyone.add(listener)
        self.ready(listener)
        try:
            yield listener
        finally:
            self._everyone.discard(listener)
            self._leave(listener)
            self._hand_on(listener)

    def ready(self, listener: Listener) -> None:
        """Let rings reach ``listener``: it is about to look for work, or waits."""
        listener.rung_for = None
        for handler in listener.handlers:
            self._listening.setdefault(handler, {})[listener] = None

    def busy(self, listener: Listener) -> None:
        """Let rings pass ``listener`` by: it cannot take work now. One that it has heard is handed on."""
        self._leave(listener)
        self._hand_on(listener)

    def ring(self, handlers: Iterable[str]) -> None:
        """Something can be leased; name the handler of each effect."""
        for handler in handlers:
            waiting = self._listening.get(handler)
            if not waiting:
                continue
            listener = next(iter(waiting))
            self._leave(listener)
            listener.rung_for = handler
            listener.wake()

    def wake_all(self) -> None:
        """End everybody's wait."""
        for listener in tuple(self._everyone):
            listener.wake()

    def _leave(self, listener: Listener) -> None:
        for handler in listener.handlers:
            waiting = self._listening.get(handler)
            if waiting is not None:
                waiting.pop(listener, None)
                if not waiting:
                    del self._listening[handler]

    def _hand_on(self, listener: Listener) -> None:
        handler, listener.rung_for = listener.rung_for, None
        if handler is not None:
            self.ring((handler,))
