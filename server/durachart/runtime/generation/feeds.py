"""Text that workers in processes of their own bring, an attempt at a time.

The node that is reached first has the text of the attempt, and says so in the database, where other nodes
look for it; text that reaches another node is passed on. What is taken is fenced by the attempt's lease,
which is looked at before the first piece, every second after, and whenever an effect ends: text of a lease
that was lost is shown to nobody for longer. The text stays, for whoever comes late, until the attempt is
over: what ends the stream of a worker does not end its attempt.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from durachart.runtime.effect_views import EffectState
from durachart.runtime.errors import DurachartError, InvalidArgument, LeaseLost, StoreUnavailable
from durachart.runtime.generation.source import GENERATE
from durachart.runtime.generation.text import GenerationTooLarge
from durachart.runtime.generation.tokens import AttemptWriter, TokenRelay
from durachart.runtime.nodes import Nodes
from durachart.store.errors import StoreFailed
from durachart.store.keys import InstanceKey
from durachart.store.rows import EffectRow

_log = logging.getLogger(__name__)

_CHECK_S: Final = 1.0


class LeaseReader(Protocol):
    """Says what a lease is worth; `Outbox` does."""

    async def running(self, key: InstanceKey, effect_id: str, lease_token: str) -> EffectRow:
        """The row of an effect that runs under this lease, as stored.

        Raises:
            LeaseLost: The effect ended, or is another worker's by now.
        """


class Feed:
    """The text of one attempt. Let go of once the attempt is over.

    Attributes:
        lost: Set when the attempt is over, or its lease another's.
    """

    def __init__(self, writer: AttemptWriter, key: InstanceKey, lease_token: str) -> None:
        """Write with ``writer`` what a worker brings under a lease."""
        self.lost = asyncio.Event()
        self.key = key
        self.writer = writer
        self.lease_token = lease_token
        self.checking: asyncio.Task[None] | None = None

    @property
    def length(self) -> int:
        """Of the text so far, in code points."""
        return self.writer.length

    def append(self, text: str) -> None:
        """Add to the text.

        Raises:
            LeaseLost: The attempt is over.
            InvalidArgument: The text would be too large.
        """
        if self.lost.is_set():
            raise LeaseLost(self.key, self.writer.effect_id)
        try:
            self.writer.append(text)
        except GenerationTooLarge as error:
            raise InvalidArgument("text", f"{error}; it is shown as far as it came") from None


class Feeds:
    """Attempts whose text is brought to this node."""

    def __init__(self, tokens: TokenRelay, leases: LeaseReader, nodes: Nodes) -> None:
        """Relay by ``tokens`` what is brought under ``leases``; other nodes find it by ``nodes``."""
        self._tokens = tokens
        self._leases = leases
        self._nodes = nodes
        self._feeds: dict[str, Feed] = {}
        self._releasing: set[asyncio.Task[None]] = set()

    async def open(self, key: InstanceKey, effect_id: str, lease_token: str, model: str) -> Feed | None:
        """The text of an attempt, to be added to; a second call goes on with it.

        Args:
            key: Which instance.
            effect_id: Which generation.
            lease_token: Of the attempt.
            model: Model that answers; empty when unknown.

        Returns:
            None: another node has the text.

        Raises:
            LeaseLost: The effect ended, or is another worker's by now.
            InvalidArgument: The effect is no generation.
        """
        row = await self._leases.running(key, effect_id, lease_token)
        if row.handler != GENERATE:
            raise InvalidArgument(
                "effect_id", f"the effect runs {row.handler!r}; only {GENERATE!r} has text that is watched"
            )
        try:
            if not await self._nodes.claim_feed(key, effect_id, row.attempt):
                return None
        except StoreFailed as error:
            raise StoreUnavailable(str(error)) from error
        known = self._feeds.get(effect_id)
        if known is not None and known.lease_token == lease_token and not known.lost.is_set():
            return known
        if known is not None:
            self._end(effect_id, known)
        feed = Feed(self._tokens.open(effect_id, row.attempt, model), key, lease_token)
        self._feeds[effect_id] = feed
        feed.checking = asyncio.create_task(self._check(effect_id, feed))
        return feed

    def effect_ended(self, key: InstanceKey, effect_id: str, state: EffectState) -> None:
        """Hear that an effect's end is committed. A listener for `Runtime.on_effect_end`."""
        feed = self._feeds.get(effect_id)
        if feed is not None:
            self._end(effect_id, feed)

    async def close(self) -> None:
        """Let go of everything."""
        for effect_id, feed in tuple(self._feeds.items()):
            self._end(effect_id, feed)
        if self._releasing:
            await asyncio.wait(self._releasing)

    async def _check(self, effect_id: str, feed: Feed) -> None:
        while True:
            await asyncio.sleep(_CHECK_S)
            try:
                await self._leases.running(feed.key, effect_id, feed.lease_token)
            except LeaseLost:
                feed.checking = None
                self._end(effect_id, feed)
                return
            except DurachartError as error:  # the text is shown on, and looked at again
                _log.warning("lease of text not looked at effect_id=%s error=%s", effect_id, error)

    def _end(self, effect_id: str, feed: Feed) -> None:
        feed.lost.set()
        if feed.checking is not None:
            feed.checking.cancel()
        if self._feeds.get(effect_id) is feed:
            del self._feeds[effect_id]
        feed.writer.close()
        releasing = asyncio.create_task(self._release(effect_id, feed))
        self._releasing.add(releasing)
        releasing.add_done_callback(self._releasing.discard)

    async def _release(self, effect_id: str, feed: Feed) -> None:
        try:
            await self._nodes.release_feed(feed.key, effect_id, feed.writer.attempt)
        except StoreFailed as error:  # a later attempt, or node, replaces it
            _log.warning("text not released effect_id=%s error=%s", effect_id, error)
