"""The bodies of a connection's requests: what of them is here, and what more may come.

What a handler has not taken counts against the connection's window, so that it stops the peer. Requests that
are collected do not: those that are not complete would take the window from each other until none can be.
They have a bound of their own, and within it the oldest always goes on.

Source: RFC 9113, sections 5.2 and 6.9.
"""

from __future__ import annotations

from collections import OrderedDict

from durachart.fronts.http2 import frames as h2
from durachart.fronts.http2.exchange import Exchange
from durachart.fronts.http2.sender import Sender


class Intake:
    """See the module.

    Args:
        sender: Tells the peer what more may come.
        stream_window: What may come of one request before it is taken.
        connection_window: The same for all together; and the bound of what is collected.
    """

    __slots__ = (
        "_collecting",
        "_collecting_bytes",
        "_connection_window",
        "_credited",
        "_sender",
        "_stream_window",
        "_uncredited",
    )

    def __init__(self, sender: Sender, stream_window: int, connection_window: int) -> None:
        self._sender = sender
        self._stream_window = stream_window
        self._connection_window = connection_window
        # What came and was not given back, and what of it is about to be.
        self._uncredited = 0
        self._credited = 0
        # Requests that are collected and not complete, oldest first, and the bytes of them that are here.
        self._collecting: OrderedDict[int, Exchange] = OrderedDict()
        self._collecting_bytes = 0

    def arrived(self, size: int) -> bool:
        """Bytes have come; False: more than the connection's window."""
        self._uncredited += size
        return self._uncredited <= self._connection_window

    def begin_to_collect(self, exchange: Exchange) -> None:
        """A request is collected from now on."""
        self._collecting[exchange.stream] = exchange

    def take(self, exchange: Exchange, payload: bytes) -> int:
        """Take in bytes of a body that have arrived.

        Returns:
            The error to reset the stream with; `NO_ERROR`: it goes on. When the body is longer than is
            collected, it is dropped and ``exchange.overflowed`` is set.
        """
        size = len(payload)
        if exchange.uncredited_bytes > self._stream_window:
            self.credit(size)
            return h2.FLOW_CONTROL_ERROR
        exchange.body_bytes += size
        limit = exchange.collected_bytes
        if exchange.ended or exchange.overflowed:
            self.credit(size)  # nobody wants it any more
            self.credit_stream(exchange)
        elif limit is None:
            exchange.arrive(payload)
        else:
            return self._collect(exchange, payload, limit)
        return h2.NO_ERROR

    def _collect(self, exchange: Exchange, payload: bytes, limit: int) -> int:
        self.credit(len(payload))
        self._collecting_bytes += len(payload)
        if exchange.body_bytes > limit:
            exchange.overflowed = True
            exchange.drop_body()
        elif self._collecting_bytes <= self._connection_window or self._is_oldest(exchange):
            exchange.arrive(payload)
        else:
            return h2.REFUSED_STREAM
        # So that the bound of a request can be reached, the stream's window follows; when much is held, only
        # that of the oldest, until it is complete.
        if self._collecting_bytes <= self._connection_window // 2 or self._is_oldest(exchange):
            self.credit_stream(exchange)
        return h2.NO_ERROR

    def _is_oldest(self, exchange: Exchange) -> bool:
        return next(iter(self._collecting.values()), None) is exchange

    def collected(self, exchange: Exchange) -> None:
        """A request is not collected any more."""
        if self._collecting.pop(exchange.stream, None) is not None:
            self._collecting_bytes -= exchange.body_bytes
            if self._collecting:
                self.credit_stream(next(iter(self._collecting.values())))

    def taken(self, exchange: Exchange, size: int) -> None:
        """The application took bytes of a body: as many may come."""
        if not exchange.gone:
            self.credit(size)
            self.credit_stream(exchange)

    def drop(self, exchange: Exchange) -> None:
        """Nobody will take what is left of a body."""
        size = exchange.drop_body()
        if exchange.collected_bytes is None:  # else it was given back when it came
            self.credit(size)

    def credit_stream(self, exchange: Exchange) -> None:
        """Let as much come of a stream as was taken, once that is worth a frame."""
        if exchange.complete or exchange.gone:
            return
        free = exchange.uncredited_bytes
        if exchange.collected_bytes is None:
            free -= exchange.waiting_bytes  # for the handler
        if free >= self._stream_window // 2:
            self._sender.send(h2.window_update(exchange.stream, free))
            exchange.uncredited_bytes -= free

    def credit(self, size: int) -> None:
        """Let as much come of the connection, once that is worth a frame."""
        self._credited += size
        if self._credited >= self._connection_window // 4:
            self._sender.send(h2.window_update(0, self._credited))
            self._uncredited -= self._credited
            self._credited = 0
