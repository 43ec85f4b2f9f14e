"""What leaves a connection.

What is sent in one turn of the loop leaves in one write. DATA leaves as the windows allow: a stream whose
peer gives it no window keeps what it has to say, and holds nobody up; when the connection's window is used
up, or the transport is full, all wait, and then go on in turns, a frame each.

Source: RFC 9113, sections 5.2 and 6.9.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from durachart.fronts.http2 import frames as h2
from durachart.fronts.http2.exchange import LOW_BYTES, Exchange

TRANSPORT_HIGH_BYTES: Final = 256 * 1024
"""What the transport keeps before it says that it is full."""
# An own frame is not larger, whatever the peer allows: others of its connection have their turn after it.
_FRAME_BYTES: Final = 64 * 1024


class Sender:
    """See the module.

    Args:
        loop: Whose turns count.
        unread_s: How long what is left of a response whose handler has ended may wait without 16 KiB of it,
            or all of it, being let out.
        on_sent: Called with an exchange when all of its response has been sent.
        on_unread: Called with one whose rest waited too long.

    Attributes:
        window: What the peer takes of all streams together.
        stream_window: What it takes of a new stream.
        full: Whether the transport has no room.
        unread_bytes: Of responses whose handler has ended, what has not left.
        measurable: Whether DATA was sent since this was last set to False.
    """

    __slots__ = (
        "_flushing",
        "_frame_bytes",
        "_loop",
        "_on_sent",
        "_on_unread",
        "_out",
        "_out_bytes",
        "_ready",
        "_transport",
        "_unread_s",
        "full",
        "measurable",
        "stream_window",
        "unread_bytes",
        "window",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        unread_s: float,
        on_sent: Callable[[Exchange], None],
        on_unread: Callable[[Exchange], None],
    ) -> None:
        self._loop = loop
        self._unread_s = unread_s
        self._on_sent = on_sent
        self._on_unread = on_unread
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._flushing = False
        self._frame_bytes = h2.LEAST_FRAME_BYTES
        # Streams that have something to say and a window for it, and wait for the connection, in turns.
        self._ready: OrderedDict[int, Exchange] = OrderedDict()
        self.window = h2.DEFAULT_WINDOW
        self.stream_window = h2.DEFAULT_WINDOW
        self.full = False
        self.unread_bytes = 0
        self.measurable = False

    def attach(self, transport: asyncio.Transport) -> None:
        """Send through ``transport`` from now on."""
        transport.set_write_buffer_limits(TRANSPORT_HIGH_BYTES)
        self._transport = transport

    def bound_frames(self, size: int) -> None:
        """Send no DATA frame of more than ``size`` bytes."""
        self._frame_bytes = min(size, _FRAME_BYTES)

    # --- a response -----------------------------------------------------------------------------------------

    def headers(self, exchange: Exchange, block: bytes) -> None:
        """Send the header block of a response."""
        if not exchange.gone:
            self.send(h2.headers(0, exchange.stream, block))

    def data(self, exchange: Exchange, data: bytes) -> None:
        """Send bytes of a response, or keep them until the windows allow it."""
        if exchange.gone or not data:
            return
        size = len(data)
        if (
            not exchange.pending
            and size <= exchange.window
            and size <= self.window
            and size <= self._frame_bytes
            and not self.full
        ):
            exchange.window -= size
            self.window -= size
            self.measurable = True
            self.send(h2.frame(h2.DATA, 0, exchange.stream, data))
            return
        exchange.pending.append(data)
        exchange.pending_bytes += size
        self.queue(exchange)
        self.go_on()

    def trailers(self, exchange: Exchange, block: bytes) -> None:
        """Send the trailers, behind what is kept."""
        if exchange.gone:
            return
        if exchange.pending:
            exchange.trailers = block
            self.unread_bytes += exchange.pending_bytes
            self._bound_unread(exchange)
            return
        self.send(h2.headers(h2.END_STREAM, exchange.stream, block))
        self._on_sent(exchange)

    # --- windows --------------------------------------------------------------------------------------------

    def queue(self, exchange: Exchange) -> None:
        """Have a stream take its turn, if it has something to say and a window for it."""
        if exchange.pending and exchange.window > 0:
            self._ready.setdefault(exchange.stream, exchange)

    def forget(self, exchange: Exchange) -> None:
        """Nothing more of this one is sent."""
        self._ready.pop(exchange.stream, None)
        if exchange.trailers is not None and not exchange.gone:
            self.unread_bytes -= exchange.pending_bytes

    def go_on(self) -> None:
        """Send what the windows and the transport let out: a frame of each stream, in turns."""
        while self._ready and self.window > 0 and not self.full:
            _, exchange = self._ready.popitem(last=False)
            if exchange.pending and exchange.window > 0:
                self._send_frame(exchange)
                self.queue(exchange)

    def _send_frame(self, exchange: Exchange) -> None:
        """Send one frame of what a stream keeps."""
        room = min(exchange.window, self.window, self._frame_bytes)
        pending = exchange.pending
        if len(pending) == 1 and len(pending[0]) <= room:
            data = bytes(pending.popleft())
        else:
            pieces: list[memoryview] = []
            size = 0
            while pending and size < room:
                # A view, because a large message is cut many times.
                piece = memoryview(pending.popleft())
                if size + len(piece) > room:
                    pending.appendleft(piece[room - size :])
                    piece = piece[: room - size]
                pieces.append(piece)
                size += len(piece)
            data = b"".join(pieces)
        exchange.window -= len(data)
        self.window -= len(data)
        exchange.pending_bytes -= len(data)
        self.measurable = True
        self.send(h2.frame(h2.DATA, 0, exchange.stream, data))
        if exchange.trailers is not None:
            self.unread_bytes -= len(data)
            if not pending:
                if exchange.expiry is not None:
                    exchange.expiry.cancel()
                self.trailers(exchange, exchange.trailers)
        if exchange.pending_bytes <= LOW_BYTES:
            exchange.wake_writer()

    def _bound_unread(self, exchange: Exchange) -> None:
        """A response whose handler has ended, which nobody watches any more, has to be taken all the same."""
        exchange.expiry = self._loop.call_later(
            self._unread_s, self._look_at_unread, exchange, exchange.pending_bytes
        )

    def _look_at_unread(self, exchange: Exchange, before: int) -> None:
        # A byte now and then would keep it for ever.
        if before - exchange.pending_bytes >= min(before, LOW_BYTES):
            self._bound_unread(exchange)
        else:
            self._on_unread(exchange)

    # --- bytes ----------------------------------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Send a frame, at the end of this turn."""
        self._out.append(frame)
        self._out_bytes += len(frame)
        if self._out_bytes > TRANSPORT_HIGH_BYTES:
            self.flush()  # before the end of the turn, so that the transport can say that it is full
        elif not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush_at_end)

    def _flush_at_end(self) -> None:
        self._flushing = False
        self.flush()

    def flush(self) -> None:
        """Hand over to the transport what is ready."""
        if self._transport is not None and self._out and not self._transport.is_closing():
            self._transport.write(self._out[0] if len(self._out) == 1 else b"".join(self._out))
        self.clear()

    def clear(self) -> None:
        """Drop what is ready."""
        self._out.clear()
        self._out_bytes = 0
