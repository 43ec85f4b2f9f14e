"""The token relay: the text of running generations, from the worker that makes it to everyone who watches.

The text is not durable, the result is. While an attempt runs, its text grows in memory; a viewer is a cursor
into it and holds nothing else, so that a slow one simply reads a larger piece next time, and one that leaves
changes nothing. Where several nodes share the database, text that is made on another one is copied from
there, once for all viewers here (see `generation_mirror`). How a generation ended is read from the store,
where the transaction that ended it wrote it: the relay is only told *that* something ended, and cannot tell a
viewer anything else than what was committed.

What a viewer can rely on:

- Within one attempt, each frame begins where the one before ended: no gap, no duplicate.
- Each change of attempt is opened by a ``started`` frame, and the text begins again at 0.
- One who is slow skips to all of the text since, in one piece: a text is bounded, and so is what is sent.
- Text that a worker brought and that its result does not begin with is void: before the end, the attempt is
  opened once more, and the result is the text that follows.
- The last frame is the end. After ``completed``, the text before it is the whole stored result.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial
from typing import Final, Self

from durachart.runtime.effect_views import EffectState
from durachart.runtime.errors import InvalidArgument, NoGeneration
from durachart.runtime.generation.channel import Bell, Channel, GenerationSource
from durachart.runtime.generation.cursor import Cursor
from durachart.runtime.generation.frames import Generation, TokenFrame
from durachart.runtime.generation.mirror import Mirror, OtherNodes
from durachart.runtime.generation.text import GenerationText
from durachart.runtime.outlet import Outlet
from durachart.store.keys import InstanceKey

# Longest time that text waits for more before viewers are woken. After a pause, text goes out at once.
COALESCE_S: Final = 0.01
# How long another node waits here for text of an attempt that is just beginning; then it looks again who has
# it.
_PATIENCE_S: Final = 2.0


class AttemptWriter:
    """The worker's end: the text of one attempt. Close it once the attempt's end is committed."""

    __slots__ = ("_channel", "_relay", "_text", "attempt", "effect_id")

    def __init__(
        self, relay: TokenRelay, channel: Channel, effect_id: str, attempt: int, text: GenerationText
    ) -> None:
        self._relay = relay
        self._channel: Channel | None = channel
        self._text = text
        self.effect_id = effect_id
        self.attempt = attempt

    @property
    def length(self) -> int:
        """Of the text so far, in code points."""
        return len(self._text)

    def append(self, text: str) -> None:
        """Add to the attempt's text; nothing happens when a later attempt has begun.

        Raises:
            GenerationTooLarge: It does not fit.
        """
        if self._channel is not None:
            self._channel.append(self._text, text)

    def close(self) -> None:
        """Let go of the text. Idempotent."""
        channel, self._channel = self._channel, None
        if channel is not None:
            if channel.text is self._text:
                channel.text = None
                if channel.relayed:  # other nodes look for who has it now
                    channel.bell.ring_now()
            channel.writers -= 1
            self._relay._release(self.effect_id, channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TokenRelay:
    """Relays the text of generations, from whoever makes it to everyone who watches at this node."""

    def __init__(
        self,
        source: GenerationSource,
        *,
        others: OtherNodes | None = None,
        limit_bytes: int = 192 * 1024,
        coalesce_s: float = COALESCE_S,
    ) -> None:
        """Begin with no generation.

        Args:
            source: Where the truth about generations is.
            others: Where text is that is made on other nodes; None: there are no others.
            limit_bytes: Most bytes of UTF-8 that one attempt's text may have.
            coalesce_s: Longest time that text waits for more, 0 to 0.02.
        """
        self._source = source
        self._others = others
        self._limit_bytes = limit_bytes
        self._coalesce_s = coalesce_s
        self._channels: dict[str, Channel] = {}

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
        text = GenerationText(self._limit_bytes)
        channel.writers += 1
        # A worker that was stalled may come after another node's later attempt.
        if attempt >= channel.attempt:
            channel.begin(attempt, model, text, mirrored=False)
        return AttemptWriter(self, channel, effect_id, attempt, text)

    def effect_ended(self, key: InstanceKey, effect_id: str, state: EffectState) -> None:
        """Hear that an effect's end is committed; viewers read it from the store and end.

        A listener for `Runtime.on_effect_end`, which is why it takes more than it needs.
        """
        channel = self._channels.get(effect_id)
        if channel is not None:
            channel.hear_end()

    async def watch(
        self,
        key: InstanceKey,
        effect_id: str = "",
        attempt: int = 0,
        offset: int = 0,
        outlet: Outlet[list[TokenFrame]] | None = None,
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
            outlet: Takes text, while the next frames are asked for, in the turn of whoever makes it; what is
                put there is not yielded. None: all is yielded.

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
            known = await self._read_whether_ended(channel, key, effect_id)
            if attempt > known.attempt:  # there is none to wait for
                attempt = offset = 0
            if self._others is not None and channel.mirror is None:
                mirror = Mirror(channel, self._source, self._others, key, effect_id, self._limit_bytes)
                channel.mirror = asyncio.create_task(mirror.run())
            cursor = Cursor(effect_id, attempt, offset)
            serve = None if outlet is None else partial(_put, outlet, cursor, channel)
            while True:
                heard = channel.bell.rings
                ended = await self._read_end(channel, key, effect_id) if channel.ended else None
                if ended is not None:
                    yield cursor.finish(ended, anew=channel.diverged)
                    return
                if frames := cursor.follow(channel):
                    yield frames
                await channel.bell.wait(heard, serve)
        finally:
            channel.viewers -= 1
            if not channel.viewers:
                self._end_mirror(channel)
            self._release(effect_id, channel)

    async def watch_here(
        self, key: InstanceKey, effect_id: str, attempt: int, offset: int
    ) -> AsyncGenerator[list[TokenFrame], None]:
        """What `watch` yields, for other nodes: only of text that is made here.

        It ends without an end of the generation once no attempt is made here, which is for the caller to look
        up.

        Args:
            key: Which instance.
            effect_id: Which generation.
            attempt: As in `watch`.
            offset: As in `watch`.

        Yields:
            Frames, at least one, in order.

        Raises:
            InvalidArgument: As in `watch`.
            NoGeneration: The instance has no such generation.
        """
        _check_position(attempt, offset)
        channel = self._channel(effect_id)
        channel.relayed += 1
        try:
            await self._read_whether_ended(channel, key, effect_id)
            cursor = Cursor(effect_id, attempt, offset)
            patience_s: float | None = _PATIENCE_S
            while True:
                heard = channel.bell.rings
                ended = await self._read_end(channel, key, effect_id) if channel.ended else None
                if ended is not None:
                    yield cursor.finish(ended, anew=channel.diverged)
                    return
                if channel.has_own_text:
                    patience_s = None
                    if frames := cursor.follow(channel):
                        yield frames
                elif patience_s is None:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(patience_s):
                        await channel.bell.wait(heard)
                        continue
                return
        finally:
            channel.relayed -= 1
            self._release(effect_id, channel)

    def read_here(self, effect_id: str, attempt: int, offset: int) -> list[TokenFrame]:
        """What `watch_here` would yield now; empty when there is nothing new, or nothing here.

        Raises:
            InvalidArgument: As in `watch`.
        """
        _check_position(attempt, offset)
        channel = self._channels.get(effect_id)
        if channel is None or not channel.has_own_text:
            return []
        return Cursor(effect_id, attempt, offset).follow(channel)

    def _channel(self, effect_id: str) -> Channel:
        channel = self._channels.get(effect_id)
        if channel is None:
            channel = self._channels[effect_id] = Channel(Bell(self._coalesce_s))
        return channel

    def _release(self, effect_id: str, channel: Channel) -> None:
        used = channel.viewers or channel.writers or channel.relayed
        if not used and self._channels.get(effect_id) is channel:
            del self._channels[effect_id]

    @staticmethod
    def _end_mirror(channel: Channel) -> None:
        mirror, channel.mirror = channel.mirror, None
        if mirror is not None:
            mirror.cancel()
            if channel.mirrored:
                channel.text = None

    async def _read_whether_ended(self, channel: Channel, key: InstanceKey, effect_id: str) -> Generation:
        """Read after joining the channel: what ends from now on rings its bell. Raises NoGeneration."""
        known = await self._source.find_generation(key, effect_id)
        if known is None:
            raise NoGeneration(key, effect_id)
        if known.end is not None:
            channel.ended, channel.last = True, known
        return known

    async def _read_end(self, channel: Channel, key: InstanceKey, effect_id: str) -> Generation | None:
        """How it ended; read once for all viewers. None when the store does not know of an end after all."""
        async with channel.reading:
            if channel.last is None:
                rings = channel.rings
                found = await self._source.find_generation(key, effect_id)
                if found is None:
                    raise NoGeneration(key, effect_id)
                if found.end is not None:
                    channel.last = found
                    channel.diverged = channel.differs_from(found)
                elif channel.rings == rings:
                    channel.ended = False
            return channel.last


def _put(outlet: Outlet[list[TokenFrame]], cursor: Cursor, channel: Channel, is_alone: bool) -> bool:
    """Bring a viewer that keeps up to the end of the text; False: it has to look for itself."""
    if channel.ended or not outlet.is_open:
        return False
    try:
        frames = cursor.follow(channel)
    except InvalidArgument:
        return False  # text that is brought anew may reach the offset in this very turn
    if frames:
        outlet.put(frames, at_once=is_alone)
    return True


def _check_position(attempt: int, offset: int) -> None:
    if attempt < 0:
        raise InvalidArgument("attempt", "attempt must be 0 or a positive number")
    if offset < 0:
        raise InvalidArgument("offset", "offset must be 0 or a positive number")
    if offset and not attempt:
        raise InvalidArgument("offset", "an offset counts in an attempt; give the attempt too, or offset 0")
