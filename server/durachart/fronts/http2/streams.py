"""The streams of a connection: those that are open, how they end, and which were over lately."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from durachart.fronts.http2 import frames as h2
from durachart.fronts.http2.exchange import Exchange
from durachart.fronts.http2.intake import Intake
from durachart.fronts.http2.sender import Sender
from durachart.fronts.http2.settings import ConnectionSettings

# How many streams that are over are remembered, to tell a late frame from a wrong one.
_REMEMBERED_STREAMS: Final = 256


class Streams:
    """See the module.

    Args:
        loop: Whose turns count.
        settings: Bounds.
        on_empty: Called when the last one that was open is over.

    Attributes:
        open: Exchanges by the number of their stream, until their handler has ended and their response is
            out.
        newest: The highest number that the peer has opened.
        served: The highest number that an exchange was made of.
        sender: What leaves.
        intake: What comes of requests' bodies.
    """

    __slots__ = ("_on_empty", "_over", "_unreset", "intake", "newest", "open", "sender", "served")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, settings: ConnectionSettings, on_empty: Callable[[], None]
    ) -> None:
        self.open: dict[int, Exchange] = {}
        self.newest = 0
        self.served = 0
        self.sender = Sender(loop, settings.unread_s, self.close_if_over, self._give_up_unread)
        self.intake = Intake(self.sender, settings.stream_window, settings.connection_window)
        self._on_empty = on_empty
        # Streams that the peer has opened less those that it has reset: each may be reset once, even when it
        # is over by then, as thousands are whose deadline passes on both sides.
        self._unreset = 0
        # Of streams that are over lately: whether this side has reset them.
        self._over: dict[int, bool] = {}

    def note_opened(self, stream: int) -> None:
        """The peer has opened a stream with a number higher than all before."""
        self.newest = stream
        self._unreset += 1

    def note_reset(self) -> bool:
        """The peer resets a stream; False: it has reset as many as it has opened."""
        if not self._unreset:
            return False
        self._unreset -= 1
        return True

    def was_reset_here(self, stream: int) -> bool | None:
        """Of a stream that is over: whether this side reset it; None: it is not remembered."""
        return self._over.get(stream)

    def reset(self, stream: int, code: int) -> None:
        """End a stream from this side, whether or not there is an exchange of it."""
        exchange = self.open.get(stream)
        if exchange is not None:
            self.fail(exchange, code)
        else:
            self._remember(stream, reset_here=True)
            self.sender.send(h2.reset(stream, code))

    def fail(self, exchange: Exchange, code: int) -> None:
        """End an exchange from this side, with an error; once."""
        if not exchange.gone:
            exchange.reset_here = True
            self.sender.send(h2.reset(exchange.stream, code))
            self.let_go(exchange)

    def _give_up_unread(self, exchange: Exchange) -> None:
        self.fail(exchange, h2.CANCEL)

    def let_go(self, exchange: Exchange) -> None:
        """The peer has no use for the stream any more."""
        if exchange.gone:
            return
        self.intake.drop(exchange)
        self.abandon(exchange)

    def abandon(self, exchange: Exchange) -> None:
        """Nothing can be sent of it any more; its handler unwinds."""
        self.sender.forget(exchange)
        exchange.leave()
        self.intake.collected(exchange)
        if not exchange.running:
            # Also when its task was to begin: it is cancelled before its first step, and never will.
            exchange.task = None
            self._forget(exchange)

    def close_if_over(self, exchange: Exchange) -> None:
        """Forget a stream whose handler has ended and whose response is out."""
        if exchange.running or (exchange.pending and not exchange.gone):
            return
        if exchange.ended and not exchange.gone:
            if not exchange.complete:
                # The response is complete, and the rest of the request would be for nobody.
                exchange.reset_here = True
                self.sender.send(h2.reset(exchange.stream, h2.NO_ERROR))
            self.intake.drop(exchange)
        self._forget(exchange)

    def _forget(self, exchange: Exchange) -> None:
        if self.open.pop(exchange.stream, None) is not None:
            self._remember(exchange.stream, reset_here=exchange.reset_here)
        if not self.open:
            self._on_empty()

    def _remember(self, stream: int, *, reset_here: bool) -> None:
        over = self._over
        over[stream] = reset_here
        if len(over) > _REMEMBERED_STREAMS:
            del over[next(iter(over))]
