"""Copies the text of a generation from the node that has it, for the viewers at this one.

Whatever the number of viewers here, one stream comes from there. What it brings goes into the same channel
that text made here goes into, so viewers cannot tell the difference: a stream that breaks is opened again
where the copy ends, and an attempt that begins elsewhere, here included, takes the place of the one before.

    look ── nobody has text ────────────► wait a moment, longer each time ──► look
     ▲  └── made here ──────────────────► wait a moment ────────────────────► look
     │  └── another node has it ────────► copy until it breaks, ends or moves ┐
     └────────────────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, Protocol

from durachart.runtime.errors import DurachartError
from durachart.runtime.generation.channel import Channel, GenerationSource
from durachart.runtime.generation.frames import TokenAttemptStarted, TokenEnd, TokenFrame
from durachart.runtime.generation.text import GenerationText, GenerationTooLarge
from durachart.store.errors import StoreFailed
from durachart.store.keys import InstanceKey
from durachart.store.nodes import RelayRow

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 0.5
"""How late text of an attempt may be that began on another node after a long time without one."""
_CHECK_S: Final = 1.0
"""How often it is looked up who has the text while it is copied: a node that was halted says nothing."""


class OtherNodes(Protocol):
    """Where text is that is not here."""

    async def find_relay(self, key: InstanceKey, effect_id: str) -> RelayRow | None:
        """Which other node has the text of the attempt that is being made; None: none. Raises StoreFailed."""

    def watch(
        self, relay: RelayRow, key: InstanceKey, effect_id: str, attempt: int, offset: int
    ) -> AsyncGenerator[Sequence[TokenFrame], None]:
        """What that node has of the text, as `TokenRelay.watch_here` gives it.

        Raises:
            ConnectionError: It cannot be called, or the stream broke.
        """


class Mirror:
    """Copies the text of one generation while somebody here watches it."""

    def __init__(
        self,
        channel: Channel,
        source: GenerationSource,
        others: OtherNodes,
        key: InstanceKey,
        effect_id: str,
        limit_bytes: int,
    ) -> None:
        """Copy into ``channel``; nothing happens before `run`.

        Args:
            channel: The generation.
            source: Says whether it has ended.
            others: The other nodes.
            key: Which instance.
            effect_id: Which generation.
            limit_bytes: Most bytes of UTF-8 that one attempt's text may have.
        """
        self._channel = channel
        self._source = source
        self._others = others
        self._key = key
        self._effect_id = effect_id
        self._limit_bytes = limit_bytes
        self._text: GenerationText | None = None

    async def run(self) -> None:
        """Copy until cancelled."""
        pause_s = _FIRST_PAUSE_S
        while True:
            copied = False
            try:
                if not self._channel.has_own_text:
                    relay = await self._others.find_relay(self._key, self._effect_id)
                    if relay is not None:
                        copied = await self._follow(relay)
                    else:
                        await self._look_for_end()
            except (ConnectionError, GenerationTooLarge, DurachartError, StoreFailed) as error:
                _log.info("text not relayed effect_id=%s error=%s", self._effect_id, error)
            except Exception:  # noqa: BLE001 - logged; viewers would wait for ever
                _log.exception("text not relayed effect_id=%s", self._effect_id)
            pause_s = _FIRST_PAUSE_S if copied else min(pause_s * 2, _LONGEST_PAUSE_S)
            await asyncio.sleep(pause_s)

    async def _look_for_end(self) -> None:
        found = await self._source.find_generation(self._key, self._effect_id)
        if found is None or found.end is not None:
            self._channel.hear_end()

    async def _follow(self, relay: RelayRow) -> bool:
        """Copy as long as that node has the text; returns whether anything came."""
        reading = asyncio.create_task(self._read(relay))
        try:
            while not reading.done():
                await asyncio.wait({reading}, timeout=_CHECK_S)
                if not reading.done():
                    found = await self._others.find_relay(self._key, self._effect_id)
                    if found is None:
                        await self._look_for_end()
                    if found != relay:
                        return True
            return reading.result()
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    async def _read(self, relay: RelayRow) -> bool:
        channel = self._channel
        attempt, offset = 0, 0
        if self._text is not None and channel.text is self._text and channel.attempt == relay.attempt:
            attempt, offset = channel.attempt, len(self._text)
        came = False
        watching = self._others.watch(relay, self._key, self._effect_id, attempt, offset)
        async with aclosing(watching) as batches:
            async for frames in batches:
                came = True
                for frame in frames:
                    if not self._take(frame):
                        return True
        return came

    def _take(self, frame: TokenFrame) -> bool:
        """Copy a frame; False: this stream is not to be followed any longer."""
        channel = self._channel
        if isinstance(frame.body, TokenEnd):
            channel.hear_end()
            return False
        if isinstance(frame.body, TokenAttemptStarted):
            if frame.attempt < channel.attempt or channel.has_own_text:
                return False
            self._text = GenerationText(self._limit_bytes)
            channel.begin(frame.attempt, frame.body.model, self._text, mirrored=True)
            return True
        text = self._text
        if text is None or frame.attempt != channel.attempt:
            return False
        known = len(text)
        if frame.offset > known:
            raise ConnectionError(f"the stream went from {known} to {frame.offset}")
        return channel.append(text, frame.body[known - frame.offset :])
