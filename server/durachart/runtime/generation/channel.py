"""One generation that somebody here makes or watches: its text as far as it is known here, and who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from durachart.runtime.generation.frames import Generation, GenerationOutcome
from durachart.runtime.generation.text import GenerationText
from durachart.store.keys import InstanceKey


class GenerationSource(Protocol):
    """Where the truth about generations is: the store."""

    async def find_generation(self, key: InstanceKey, effect_id: str) -> Generation | None:
        """Read a generation.

        Args:
            key: Which instance.
            effect_id: Which; empty: the running one, or else the latest.

        Returns:
            None when the instance has no such generation.
        """


Serve = Callable[[bool], bool]
"""What is done at a ring; takes whether nobody else waits. False: whoever waits has to see to it itself."""


class Bell:
    """Wakes all who wait, at most once in ``gap_s`` seconds; after a pause, a ring is heard at once.

    Attributes:
        rings: How often it rang. Take it before looking at what is rung for, lest one in between be missed.
    """

    __slots__ = ("_gap_s", "_last", "_listeners", "_timer", "rings")

    def __init__(self, gap_s: float) -> None:
        """Wait ``gap_s`` seconds, >= 0, between two rings."""
        self.rings = 0
        self._gap_s = gap_s
        self._last = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._listeners: dict[asyncio.Future[None], Serve | None] = {}

    async def wait(self, heard: int, serve: Serve | None = None) -> None:
        """Wait for a ring.

        Args:
            heard: Rings that were heard already; returns at once if it rang again since.
            serve: Called at each ring, in the turn of whoever rings, until it returns False or raises; what
                it raises is raised here. None: the first ring ends the wait.
        """
        if self.rings != heard:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listeners[waiter] = serve
        try:
            await waiter
        finally:
            self._listeners.pop(waiter, None)

    def ring(self) -> None:
        """Wake all as soon as the gap allows."""
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        due = self._last + self._gap_s
        if loop.time() >= due:
            self.ring_now()
        else:
            self._timer = loop.call_at(due, self.ring_now)

    def ring_now(self) -> None:
        """Wake all at once."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._last = asyncio.get_running_loop().time()
        self.rings += 1
        is_alone = len(self._listeners) == 1
        for waiter, serve in tuple(self._listeners.items()):
            try:
                served = serve is not None and serve(is_alone)
            except Exception as error:  # noqa: BLE001 - it is for the one who waits, not for whoever rings
                del self._listeners[waiter]
                if not waiter.done():
                    waiter.set_exception(error)
                continue
            if not served:
                del self._listeners[waiter]
                if not waiter.done():
                    waiter.set_result(None)


@dataclass(slots=True, eq=False)
class Channel:
    """One generation that somebody here makes or watches.

    Attributes:
        bell: Rings when something changed.
        attempt: The newest attempt heard of here.
        model: Model asked for.
        text: Of that attempt; None while it is not being made, as far as is known here.
        mirrored: Whether the text is a copy of another node's.
        ended: Whether somebody said that it ended; the store says whether it is so, and how.
        rings: How often that was said.
        last: How it ended, as read from the store.
        diverged: Whether what viewers were shown of the last attempt is not what its result begins with.
        shown: The text of the newest attempt, also after it is not made any more.
        writers: Who make its text here.
        viewers: Who watch it here.
        relayed: Other nodes that watch it from here.
        mirror: Copies its text from the node that has it.
        reading: Held while the end is read, once for all viewers.
    """

    bell: Bell
    attempt: int = 0
    model: str = ""
    text: GenerationText | None = None
    mirrored: bool = False
    ended: bool = False
    rings: int = 0
    last: Generation | None = None
    diverged: bool = False
    shown: GenerationText | None = None
    writers: int = 0
    viewers: int = 0
    relayed: int = 0
    mirror: asyncio.Task[None] | None = None
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def has_own_text(self) -> bool:
        """Whether an attempt is being made here."""
        return self.text is not None and not self.mirrored

    def begin(self, attempt: int, model: str, text: GenerationText, *, mirrored: bool) -> None:
        """An attempt begins; text of earlier ones is void."""
        self.attempt, self.model, self.text, self.mirrored = attempt, model, text, mirrored
        self.shown = text
        # A generation that had failed for good was given back: what was read of its end is not true any more.
        self.last = None
        self.bell.ring_now()

    def append(self, text: GenerationText, piece: str) -> bool:
        """Add to a text, unless another has taken its place; returns whether it was added.

        Raises:
            GenerationTooLarge: It does not fit.
        """
        if self.text is not text:
            return False
        text.append(piece)
        self.bell.ring()
        return True

    def differs_from(self, result: Generation) -> bool:
        """Whether the text shown last is not what a result begins with. Workers may bring what they like."""
        if self.shown is None or self.attempt != result.attempt or result.end is None:
            return False
        completed = result.end.outcome is GenerationOutcome.COMPLETED
        return completed and not result.text.startswith(self.shown.read(0))

    def hear_end(self) -> None:
        """Somebody says that it ended."""
        self.ended = True
        self.rings += 1
        self.bell.ring_now()
