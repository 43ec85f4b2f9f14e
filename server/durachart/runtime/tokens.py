"""The token relay: the text of running generations, from the worker that makes it to everyone who watches.

The text is not durable, the result is. While an attempt runs, its text grows in memory; a viewer is a cursor
into it and holds nothing else, so that a slow one simply reads a larger piece next time, and one that leaves
changes nothing. How a generation ended is read from the store, where the transaction that ended it wrote it:
the relay is only told *that* something ended, and cannot tell a viewer anything else than what was committed.

What a viewer can rely on:

- Within one attempt, each frame begins where the one before ended: no gap, no duplicate.
- Each change of attempt is opened by a ``started`` frame, and the text begins again at 0.
- The last frame is the end. After ``completed``, the text before it is the whole stored result.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol, Self

from durachart.runtime.effect_views import EffectState
from durachart.runtime.errors import InvalidArgument, NoGeneration
from durachart.runtime.generation_frames import (
    Generation,
    GenerationOutcome,
    TokenAttemptStarted,
    TokenFrame,
)
from durachart.runtime.generation_text import GenerationText
from durachart.store.keys import InstanceKey

# Longest time that text waits for more before viewers are woken. After a pause, text goes out at once.
COALESCE_S = 0.01


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


class _Bell:
    """Wakes all who wait, at most once in ``gap_s`` seconds; after a pause, a ring is heard at once."""

    __slots__ = ("_event", "_gap_s", "_last", "_timer")

    def __init__(self, gap_s: float) -> None:
        self._gap_s = gap_s
        self._event = asyncio.Event()
        self._last = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    @property
    def next_ring(self) -> asyncio.Event:
        """Set at the next ring. Take it before looking at what is rung for, lest one in between be missed."""
        return self._event

    def ring(self) -> None:
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        due = self._last + self._gap_s
        if loop.time() >= due:
            self.ring_now()
        else:
            self._timer = loop.call_at(due, self.ring_now)

    def ring_now(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._last = asyncio.get_running_loop().time()
        self._event.set()
        self._event = asyncio.Event()


@dataclass(slots=True, eq=False)
class _Channel:
    """One generation that somebody here makes or watches."""

    bell: _Bell
    attempt: int = 0
    model: str = ""
    # None while no attempt is being made here.
    text: GenerationText | None = None
    # Whether somebody said that it ended, and how often; the store says whether it is so, and how.
    ended: bool = False
    rings: int = 0
    last: Generation | None = None
    writers: int = 0
    viewers: int = 0
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


class AttemptWriter:
    """The worker's end: the text of one attempt. Close it once the attempt's end is committed."""

    __slots__ = ("_channel", "_relay", "attempt", "effect_id")

    def __init__(self, relay: TokenRelay, channel: _Channel, effect_id: str, attempt: int) -> None:
        self._relay = relay
        self._channel: _Channel | None = channel
        self.effect_id = effect_id
        self.attempt = attempt

    def append(self, text: str) -> None:
        """Add to the attempt's text.

        Raises:
            GenerationTooLarge: It does not fit.
        """
        channel = self._channel
        if channel is not None and channel.attempt == self.attempt and channel.text is not None:
            channel.text.append(text)
            channel.bell.ring()

    def close(self) -> None:
        """Let go of the text. Idempotent."""
        channel, self._channel = self._channel, None
        if channel is not None:
            if channel.attempt == self.attempt:
                channel.text = None
            channel.writers -= 1
            self._relay._release(self.effect_id, channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TokenRelay:
    """Relays the text of the generations that run in this process."""

    def __init__(
        self, source: GenerationSource, *, limit_bytes: int = 192 * 1024, coalesce_s: float = COALESCE_S
    ) -> None:
        """Begin with no generation.

        Args:
            source: Where the truth about generations is.
            limit_bytes: Most bytes of UTF-8 that one attempt's text may have.
            coalesce_s: Longest time that text waits for more, 0 to 0.02.
        """
        self._source = source
        self._limit_bytes = limit_bytes
        self._coalesce_s = coalesce_s
        self._channels: dict[str, _Channel] = {}

    @property
    def generations(self) -> int:
        """How many generations are held in memory: those that run here, and those that are watched."""
        return len(self._channels)

    def open(self, effect_id: str, attempt: int, model: str) -> AttemptWriter:
        """Begin an attempt's text; text of earlier attempts is void from now on.

        Args:
            effect_id: Which generation.
            attempt: From 1, higher than every one before.
            model: Model asked for; empty when the effect named none.
        """
        channel = self._channel(effect_id)
        channel.attempt = attempt
        channel.model = model
        channel.text = GenerationText(self._limit_bytes)
        # A generation that had failed for good was given back: what was read of its end is not true any more.
        channel.last = None
        channel.writers += 1
        channel.bell.ring_now()
        return AttemptWriter(self, channel, effect_id, attempt)

    def effect_ended(self, key: InstanceKey, effect_id: str, state: EffectState) -> None:
        """Hear that an effect's end is committed; viewers read it from the store and end.

        A listener for `Runtime.on_effect_end`, which is why it takes more than it needs.
        """
        channel = self._channels.get(effect_id)
        if channel is not None:
            channel.ended = True
            channel.rings += 1
            channel.bell.ring_now()

    async def watch(
        self, key: InstanceKey, effect_id: str = "", attempt: int = 0, offset: int = 0
    ) -> AsyncGenerator[list[TokenFrame], None]:
        """Yield a generation's text: what there is so far, what comes, and its end.

        While no attempt runs (it waits for its first or next one, or for a server that took it over) nothing
        is yielded.

        Args:
            key: Which instance.
            effect_id: Which generation; empty: the running one, or else the latest.
            attempt: The attempt that ``offset`` counts in; 0: the current one from its beginning.
            offset: Go on from here, in code points. When ``attempt`` is no longer the current one, the
                current one is yielded from 0.

        Yields:
            Frames, at least one, in order.

        Raises:
            InvalidArgument: The offset is past the attempt's text, or is given without an attempt.
            NoGeneration: The instance has no such generation.
        """
        _check_position(attempt, offset)
        if not effect_id:
            found = await self._source.find_generation(key, "")
            if found is None:
                raise NoGeneration(key)
            effect_id = found.effect_id
        channel = self._channel(effect_id)
        channel.viewers += 1
        try:
            # Read after joining: what ends from now on rings the channel's bell.
            known = await self._source.find_generation(key, effect_id)
            if known is None:
                raise NoGeneration(key, effect_id)
            if known.end is not None:
                channel.ended, channel.last = True, known
            cursor = _Cursor(effect_id, attempt, offset)
            while True:
                next_ring = channel.bell.next_ring
                ended = await self._read_end(channel, key, effect_id) if channel.ended else None
                frames = cursor.finish(ended) if ended is not None else cursor.follow(channel)
                if frames:
                    yield frames
                if ended is not None:
                    return
                await next_ring.wait()
        finally:
            channel.viewers -= 1
            self._release(effect_id, channel)

    def _channel(self, effect_id: str) -> _Channel:
        channel = self._channels.get(effect_id)
        if channel is None:
            channel = self._channels[effect_id] = _Channel(_Bell(self._coalesce_s))
        return channel

    def _release(self, effect_id: str, channel: _Channel) -> None:
        if not channel.viewers and not channel.writers and self._channels.get(effect_id) is channel:
            del self._channels[effect_id]

    async def _read_end(self, channel: _Channel, key: InstanceKey, effect_id: str) -> Generation | None:
        """How it ended; read once for all viewers. None when the store does not know of an end after all."""
        async with channel.reading:
            if channel.last is None:
                rings = channel.rings
                found = await self._source.find_generation(key, effect_id)
                if found is None:
                    raise NoGeneration(key, effect_id)
                if found.end is not None:
                    channel.last = found
                elif channel.rings == rings:
                    channel.ended = False
            return channel.last


@dataclass(slots=True)
class _Cursor:
    """Where a viewer is: everything before ``offset`` of ``attempt`` was sent."""

    effect_id: str
    attempt: int
    offset: int

    def follow(self, channel: _Channel) -> list[TokenFrame]:
        """Frames from here to the end of the running attempt's text."""
        if channel.text is None:
            return []
        frames = self._begin(channel.attempt, channel.model)
        self._check(len(channel.text))
        return frames + self._take(channel.text.read(self.offset))

    def finish(self, generation: Generation) -> list[TokenFrame]:
        """Frames from here to the end of a generation that ended."""
        end = generation.end
        assert end is not None
        frames = self._begin(generation.attempt, generation.model) if generation.attempt else []
        if end.outcome is GenerationOutcome.COMPLETED:
            self._check(len(generation.text))
            frames += self._take(generation.text[self.offset :])
        frames.append(TokenFrame(self.effect_id, generation.attempt, self.offset, self.offset, end))
        return frames

    def _begin(self, attempt: int, model: str) -> list[TokenFrame]:
        if attempt == self.attempt:
            return []
        self.attempt, self.offset = attempt, 0
        return [TokenFrame(self.effect_id, attempt, 0, 0, TokenAttemptStarted(model))]

    def _take(self, text: str) -> list[TokenFrame]:
        if not text:
            return []
        begin = self.offset
        self.offset = begin + len(text)
        return [TokenFrame(self.effect_id, self.attempt, begin, self.offset, text)]

    def _check(self, length: int) -> None:
        if self.offset > length:
            raise InvalidArgument(
                "offset",
                f"offset {self.offset} is past the text of attempt {self.attempt}, which has {length} "
                "characters; go on from the last frame's next_offset",
            )


def _check_position(attempt: int, offset: int) -> None:
    if attempt < 0:
        raise InvalidArgument("attempt", "attempt must be 0 or a positive number")
    if offset < 0:
        raise InvalidArgument("offset", "offset must be 0 or a positive number")
    if offset and not attempt:
        raise InvalidArgument("offset", "an offset counts in an attempt; give the attempt too, or offset 0")
