"""One client's connection: what its frames say, and the streams they are about.

Everything happens in the event loop's thread, between two reads. What leaves goes through `Sender`.

Source: RFC 9113. Errors of the connection end it with GOAWAY, those of a stream reset it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, cast

from durachart.fronts.http2 import frames as h2
from durachart.fronts.http2.exchange import Application, Exchange
from durachart.fronts.http2.floods import FloodGuard
from durachart.fronts.http2.headers import (
    HARD_LIMIT_FACTOR,
    BlockBroken,
    HeaderReader,
    HeadTooLarge,
    RequestMalformed,
)
from durachart.fronts.http2.intake import Intake
from durachart.fronts.http2.sender import Sender

_log = logging.getLogger(__name__)

_BODY_SECONDS: Final = 60.0
_HANDSHAKE_SECONDS: Final = 10.0
_MOST_CONTINUATIONS: Final = 16
# How many streams that are over are remembered, to tell a late frame from a wrong one.
_REMEMBERED_STREAMS: Final = 256
# A change of all windows looks at every stream: it counts as one frame, and one more for this many.
_STREAMS_PER_FRAME: Final = 250


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """What one connection may do.

    Attributes:
        max_streams: Exchanges under way.
        header_list_bytes: Of the fields of one request.
        stream_window: What may come of a streamed request before its handler has taken it.
        connection_window: The same for all requests together; and what is held of requests that are collected
            and not complete, to which the oldest of them may add its rest.
        unread_s: How long what is left of a response whose handler has ended may wait without a byte of it
            being let out.
        keepalive_s: How long the peer may be silent before it is asked whether it is there.
        keepalive_timeout_s: How long its answer may take.
    """

    max_streams: int = 100_000
    header_list_bytes: int = 64 * 1024
    stream_window: int = 256 * 1024
    connection_window: int = 64 * 1024 * 1024
    unread_s: float = 60.0
    keepalive_s: float = 60.0
    keepalive_timeout_s: float = 20.0


class _Broken(Exception):
    """The peer breaks the protocol: the connection ends with this code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Connection(asyncio.Protocol):
    """See the module.

    Args:
        application: What answers.
        settings: Its bounds.
        on_lost: Called once when it is over.

    Attributes:
        peer: ``192.0.2.1:4711``; ``[2001:db8::1]:4711``; empty before it is connected.
        sender: What leaves.
        intake: What comes of requests' bodies.
    """

    def __init__(
        self,
        application: Application,
        settings: ConnectionSettings,
        on_lost: Callable[[Connection], None],
    ) -> None:
        self._application = application
        self._settings = settings
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._headers = HeaderReader(settings.header_list_bytes)
        self._floods = FloodGuard()
        self.peer = ""
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._preface_read = False
        self._settled = False
        self._streams: dict[int, Exchange] = {}
        self._newest_stream = 0
        self._last_served = 0
        # Streams that the peer has opened less those that it has reset: each may be reset once, even when it
        # is over by then, as thousands are whose deadline passes on both sides.
        self._unreset = 0
        # Of streams that are over lately: whether this side has reset them.
        self._over: dict[int, bool] = {}
        # A header block that goes on in CONTINUATION frames: stream, flags of its HEADERS, pieces.
        self._block: tuple[int, int, list[bytes]] | None = None
        self._uncollected: list[Exchange] = []
        self.sender = Sender(self._loop, settings.unread_s, self._close_if_over, self._give_up_unread)
        self.intake = Intake(self.sender, settings.stream_window, settings.connection_window)
        self._going_away = False
        self._closing = False
        # Keepalive.
        self._heard = self._loop.time()
        self._asked = False
        self._timer = self._loop.call_later(_HANDSHAKE_SECONDS, self._look_at_silence)

    @property
    def busy(self) -> bool:
        """Whether exchanges are under way."""
        return bool(self._streams)

    # --- the transport --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)
        self.sender.attach(self._transport)
        name = transport.get_extra_info("peername")
        if isinstance(name, tuple):
            host, port = name[:2]
            self.peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        settings = self._settings
        self.sender.send(
            h2.settings(
                {
                    h2.MAX_CONCURRENT_STREAMS: settings.max_streams,
                    h2.INITIAL_WINDOW_SIZE: settings.stream_window,
                    h2.MAX_HEADER_LIST_SIZE: settings.header_list_bytes,
                }
            )
        )
        self.sender.send(h2.window_update(0, settings.connection_window - h2.DEFAULT_WINDOW))

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._closing = True
        self._timer.cancel()
        for exchange in tuple(self._streams.values()):
            self._abandon(exchange)
        self.sender.clear()
        self._on_lost(self)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`: the transport is full.

        Nothing is read until it has room: what a peer that does not read asks for would pile up here.
        """
        self.sender.full = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`: the transport has room."""
        self.sender.full = False
        # Who takes bytes is there, even when it has nothing to say.
        self._heard = self._loop.time()
        self._asked = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        self.sender.go_on()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._closing:
            return
        self._heard = self._loop.time()
        self._asked = False
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        try:
            at = 0 if self._preface_read else self._read_preface(data)
            at = self._read_frames(data, at)
        except _Broken as error:
            self._break(error.code, str(error))
            return
        if at < len(data):
            self._buffer = data[at:]
        if self._uncollected:
            self._bound_bodies()

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`. gRPC has no use for half a connection: the peer is gone."""
        return False

    def _read_preface(self, data: bytes) -> int:
        preface = h2.PREFACE
        if not preface.startswith(data[: len(preface)]):
            raise _Broken(h2.PROTOCOL_ERROR, "this port speaks gRPC, which is HTTP/2")
        if len(data) < len(preface):
            return 0
        self._preface_read = True
        return len(preface)

    def _read_frames(self, data: bytes, at: int) -> int:
        """Take in every frame that is whole; where the rest begins."""
        if not self._preface_read:
            return at
        end = len(data)
        while end - at >= h2.HEAD_BYTES:
            high, low, kind, flags, stream = h2.read_head(data, at)
            size = high << 8 | low
            if size > h2.LEAST_FRAME_BYTES:
                raise _Broken(h2.FRAME_SIZE_ERROR, "the frame is larger than SETTINGS_MAX_FRAME_SIZE")
            begin = at + h2.HEAD_BYTES
            after = begin + size
            if after > end:
                break
            at = after
            stream &= 0x7FFFFFFF
            if self._block is not None and (kind != h2.CONTINUATION or stream != self._block[0]):
                raise _Broken(h2.PROTOCOL_ERROR, "a header block was not ended")
            if not self._settled and (kind != h2.SETTINGS or flags & h2.ACK):
                raise _Broken(h2.PROTOCOL_ERROR, "the first frame must be SETTINGS")
            if kind == h2.HEADERS:
                self._on_headers(flags, stream, data[begin:after])
            elif kind == h2.DATA:
                self._on_data(flags, stream, data[begin:after])
            elif kind < len(_READERS):
                _READERS[kind](self, flags, stream, data[begin:after])
            else:
                self._count()  # of an extension: ignored, and bounded
        return at

    # --- requests -------------------------------------------------------------------------------------------

    def _on_headers(self, flags: int, stream: int, payload: bytes) -> None:
        if not stream % 2:
            raise _Broken(h2.PROTOCOL_ERROR, "HEADERS on a stream that no client opens")
        if flags & (h2.PADDED | h2.PRIORITISED):
            payload = _block_of(flags, stream, payload)
        if flags & h2.END_HEADERS:
            self._on_block(flags, stream, payload)
        else:
            self._block = (stream, flags, [payload])

    def _on_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if self._block is None:
            raise _Broken(h2.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        _, opening, pieces = self._block
        pieces.append(payload)
        if len(pieces) > _MOST_CONTINUATIONS:
            raise _Broken(h2.ENHANCE_YOUR_CALM, "the header block has too many pieces")
        if sum(map(len, pieces)) > HARD_LIMIT_FACTOR * self._settings.header_list_bytes:
            raise _Broken(h2.ENHANCE_YOUR_CALM, "the header block is too large")
        if flags & h2.END_HEADERS:
            self._block = None
            self._on_block(opening, stream, b"".join(pieces))

    def _on_block(self, flags: int, stream: int, block: bytes) -> None:
        exchange = self._streams.get(stream)
        try:
            if exchange is not None:
                self._on_trailers(exchange, flags, block)
                return
            if stream <= self._newest_stream:
                self._on_late_headers(stream, block)
                return
            self._newest_stream = stream
            self._unreset += 1
            head = self._headers.request(block)
        except BlockBroken as error:
            raise _Broken(h2.COMPRESSION_ERROR, "the header block cannot be decoded") from error
        except HeadTooLarge:
            # Which gRPC's clients show as RESOURCE_EXHAUSTED.
            self._reset(stream, h2.ENHANCE_YOUR_CALM)
            return
        except RequestMalformed:
            self._reset(stream, h2.PROTOCOL_ERROR)
            return
        if self._going_away or len(self._streams) >= self._settings.max_streams:
            self._reset(stream, h2.REFUSED_STREAM)
            return
        self._last_served = stream
        exchange = Exchange(self, stream, head, self.sender.stream_window)
        self._streams[stream] = exchange
        self._application.begin(exchange)
        if flags & h2.END_STREAM:
            self._complete(exchange)
        elif exchange.collected_bytes is None:
            self._run(exchange)
        else:
            self.intake.begin_to_collect(exchange)
            self._uncollected.append(exchange)

    def _on_late_headers(self, stream: int, block: bytes) -> None:
        """HEADERS on a stream that is over: it may have been reset from here while they were on their way."""
        with suppress(RequestMalformed):
            self._headers.trailers(block)
        reset_here = self._over.get(stream)
        if reset_here is None:
            raise _Broken(h2.PROTOCOL_ERROR, "streams are opened in rising order")
        if not reset_here:
            raise _Broken(h2.STREAM_CLOSED, "HEADERS on a stream that is over")
        self._count()

    def _on_trailers(self, exchange: Exchange, flags: int, block: bytes) -> None:
        if exchange.complete and not exchange.gone:
            raise _Broken(h2.STREAM_CLOSED, "HEADERS on a stream whose request is complete")
        self._headers.trailers(block)
        if exchange.gone:
            return
        if not flags & h2.END_STREAM:
            raise RequestMalformed("trailers do not end the stream")
        self._complete(exchange)

    def _on_data(self, flags: int, stream: int, payload: bytes) -> None:
        if not stream or stream > self._newest_stream:
            raise _Broken(h2.PROTOCOL_ERROR, "DATA on a stream that is not open")
        size = len(payload)
        if not self.intake.arrived(size):
            raise _Broken(h2.FLOW_CONTROL_ERROR, "more than the connection's window")
        exchange = self._streams.get(stream)
        if exchange is None or exchange.gone or exchange.complete:
            self.intake.credit(size)
            if exchange is None and not self._over.get(stream, False):
                self._count()
                self.sender.send(h2.reset(stream, h2.STREAM_CLOSED))
            elif exchange is not None and not exchange.gone:
                self._fail(exchange, h2.STREAM_CLOSED)
            elif not size:
                self._count()
            return
        if flags & h2.PADDED:
            payload = _unpadded(payload)
            self.intake.credit(size - len(payload))
        exchange.uncredited_bytes += size
        if payload:
            self._take(exchange, payload)
        elif not flags & h2.END_STREAM:
            self._count()
            self.intake.credit_stream(exchange)
        if flags & h2.END_STREAM and not exchange.gone:
            self._complete(exchange)

    def _take(self, exchange: Exchange, payload: bytes) -> None:
        error = self.intake.take(exchange, payload)
        if error:
            self._fail(exchange, error)
        elif exchange.overflowed and not exchange.begun:
            self._run(exchange)

    def _complete(self, exchange: Exchange) -> None:
        length = exchange.head.content_length
        if length is not None and length != exchange.body_bytes:
            self._fail(exchange, h2.PROTOCOL_ERROR)
            return
        exchange.finish_body()
        if not exchange.begun:
            self._run(exchange)

    def _bound_bodies(self) -> None:
        """A body that is collected has to come within a time."""
        for exchange in self._uncollected:
            if not exchange.begun and not exchange.gone:
                exchange.expiry = self._loop.call_later(_BODY_SECONDS, self._fail, exchange, h2.CANCEL)
        self._uncollected.clear()

    def _run(self, exchange: Exchange) -> None:
        if exchange.expiry is not None:
            exchange.expiry.cancel()
        self.intake.collected(exchange)
        exchange.begun = True
        exchange.task = self._loop.create_task(self._answer(exchange))

    async def _answer(self, exchange: Exchange) -> None:
        """Run the application, and see to it that the stream ends."""
        exchange.running = True
        try:
            await self._application.run(exchange)
        except asyncio.CancelledError:
            if not exchange.gone:
                raise
        except Exception:  # noqa: BLE001 - logged; the stream is reset, and others go on
            _log.exception("a request failed in the front path=%r", exchange.head.path)
        finally:
            exchange.running = False
            exchange.task = None
            if not exchange.ended and not exchange.gone:
                self._fail(exchange, h2.CANCEL if self._going_away else h2.INTERNAL_ERROR)
            self._close_if_over(exchange)

    # --- the other frames -----------------------------------------------------------------------------------

    def _on_priority(self, flags: int, stream: int, payload: bytes) -> None:
        self._count()
        if not stream:
            raise _Broken(h2.PROTOCOL_ERROR, "PRIORITY of no stream")
        if len(payload) != 5:
            self._reset(stream, h2.FRAME_SIZE_ERROR)
        elif int.from_bytes(payload[:4], "big") & 0x7FFFFFFF == stream:
            self._reset(stream, h2.PROTOCOL_ERROR)

    def _on_reset(self, flags: int, stream: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise _Broken(h2.FRAME_SIZE_ERROR, "RST_STREAM has four bytes")
        if not stream or stream > self._newest_stream:
            raise _Broken(h2.PROTOCOL_ERROR, "RST_STREAM of a stream that is not open")
        exchange = self._streams.get(stream)
        if self._unreset:
            self._unreset -= 1
        else:
            self._count()
        if exchange is not None:
            self._let_go(exchange)

    def _on_settings(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise _Broken(h2.PROTOCOL_ERROR, "SETTINGS of a stream")
        if flags & h2.ACK:
            if payload:
                raise _Broken(h2.FRAME_SIZE_ERROR, "an acknowledgement holds nothing")
            self._count()
            return
        if len(payload) % 6:
            raise _Broken(h2.FRAME_SIZE_ERROR, "SETTINGS come in six bytes each")
        self._count()
        self._settled = True
        window = self.sender.stream_window
        for name, value in h2.read_settings(payload):
            if name == h2.INITIAL_WINDOW_SIZE:
                if value > h2.LARGEST_WINDOW:
                    raise _Broken(h2.FLOW_CONTROL_ERROR, "the window is too large")
                window = value  # once for all that one frame says: it can say it thousands of times
            else:
                self._set(name, value)
        if window != self.sender.stream_window:
            self._set_windows(window)
        # Before what the new windows let out: the peer sees that they are known.
        self.sender.send(h2.frame(h2.SETTINGS, h2.ACK, 0))
        self.sender.go_on()

    def _set_windows(self, window: int) -> None:
        self._count(len(self._streams) // _STREAMS_PER_FRAME)
        more = window - self.sender.stream_window
        self.sender.stream_window = window
        for exchange in self._streams.values():
            exchange.window += more
            if exchange.window > h2.LARGEST_WINDOW:
                raise _Broken(h2.FLOW_CONTROL_ERROR, "a stream's window is too large")
            self.sender.queue(exchange)

    def _set(self, name: int, value: int) -> None:
        if name == h2.MAX_FRAME_SIZE:
            if not h2.LEAST_FRAME_BYTES <= value <= h2.MOST_FRAME_BYTES:
                raise _Broken(h2.PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE is out of bounds")
            self.sender.bound_frames(value)
        elif name == h2.ENABLE_PUSH and value > 1:
            raise _Broken(h2.PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH is 0 or 1")

    def _on_push(self, flags: int, stream: int, payload: bytes) -> None:
        raise _Broken(h2.PROTOCOL_ERROR, "a client pushes nothing")

    def _on_ping(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise _Broken(h2.PROTOCOL_ERROR, "PING of a stream")
        if len(payload) != 8:
            raise _Broken(h2.FRAME_SIZE_ERROR, "PING has eight bytes")
        if self.sender.measurable:
            self.sender.measurable = False
        else:
            self._count()
        if not flags & h2.ACK:
            self.sender.send(h2.frame(h2.PING, h2.ACK, 0, payload))

    def _on_goaway(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise _Broken(h2.PROTOCOL_ERROR, "GOAWAY of a stream")
        if len(payload) < 8:
            raise _Broken(h2.FRAME_SIZE_ERROR, "GOAWAY has at least eight bytes")
        self._count()  # what is under way goes on; the client closes the connection when it is done

    def _on_window(self, flags: int, stream: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise _Broken(h2.FRAME_SIZE_ERROR, "WINDOW_UPDATE has four bytes")
        more = int.from_bytes(payload, "big") & 0x7FFFFFFF
        if not stream:
            if not more:
                raise _Broken(h2.PROTOCOL_ERROR, "a window grows by at least 1")
            self.sender.window += more
            if self.sender.window > h2.LARGEST_WINDOW:
                raise _Broken(h2.FLOW_CONTROL_ERROR, "the connection's window is too large")
            self.sender.go_on()
            return
        if stream > self._newest_stream:
            raise _Broken(h2.PROTOCOL_ERROR, "WINDOW_UPDATE of a stream that is not open")
        exchange = self._streams.get(stream)
        if exchange is None:
            return
        exchange.window += more
        if not more:
            self._fail(exchange, h2.PROTOCOL_ERROR)
        elif exchange.window > h2.LARGEST_WINDOW:
            self._fail(exchange, h2.FLOW_CONTROL_ERROR)
        elif exchange.pending:
            self.sender.queue(exchange)
            self.sender.go_on()

    def _count(self, frames: int = 1) -> None:
        """One more frame that carries nothing; or as much work as so many."""
        if self._floods.is_too_much(self._heard, frames):
            raise _Broken(h2.ENHANCE_YOUR_CALM, "too many frames that carry nothing")

    def flush_if_alone(self) -> None:
        """Send at once what is ready, if nobody else here could add to it in this turn."""
        if len(self._streams) == 1:
            self.sender.flush()

    # --- ends -----------------------------------------------------------------------------------------------

    def _reset(self, stream: int, code: int) -> None:
        """End a stream from this side."""
        exchange = self._streams.get(stream)
        if exchange is not None:
            self._fail(exchange, code)
        else:
            self._remember(stream, reset_here=True)
            self.sender.send(h2.reset(stream, code))

    def _fail(self, exchange: Exchange, code: int) -> None:
        if not exchange.gone:
            exchange.reset_here = True
            self.sender.send(h2.reset(exchange.stream, code))
            self._let_go(exchange)

    def _give_up_unread(self, exchange: Exchange) -> None:
        self._fail(exchange, h2.CANCEL)

    def _let_go(self, exchange: Exchange) -> None:
        """The stream is over; its handler unwinds."""
        if exchange.gone:
            return
        self.intake.drop(exchange)
        self._abandon(exchange)

    def _abandon(self, exchange: Exchange) -> None:
        exchange.leave()
        self.intake.collected(exchange)
        self.sender.forget(exchange)
        if not exchange.running:
            # Also when its task was to begin: it is cancelled before its first step, and never will.
            exchange.task = None
            self._forget(exchange)

    def _close_if_over(self, exchange: Exchange) -> None:
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
        if self._streams.pop(exchange.stream, None) is not None:
            self._remember(exchange.stream, reset_here=exchange.reset_here)
        if self._going_away and not self._streams:
            self.close()

    def _remember(self, stream: int, *, reset_here: bool) -> None:
        over = self._over
        over[stream] = reset_here
        if len(over) > _REMEMBERED_STREAMS:
            del over[next(iter(over))]

    def _break(self, code: int, why: str) -> None:
        """The peer broke the protocol."""
        _log.debug("connection ended peer=%s code=%d why=%s", self.peer, code, why)
        self.sender.send(h2.goaway(self._last_served, code, why))
        self.close()

    def go_away(self) -> None:
        """Take no new exchange; the connection closes when those under way have ended."""
        if self._going_away or self._closing:
            return
        self._going_away = True
        self.sender.send(h2.goaway(self._last_served, h2.NO_ERROR, "the server is shutting down"))
        if not self._streams:
            self.close()

    def close(self) -> None:
        """Send what is ready, and close."""
        if self._transport is not None and not self._closing:
            self.sender.flush()
            self._closing = True
            self._transport.close()

    def abort(self) -> None:
        """Close at once, whatever has not been sent."""
        if self._transport is not None:
            self._transport.abort()

    def _look_at_silence(self) -> None:
        """Ask a peer that has been silent whether it is there; give it up when it does not say so."""
        settings = self._settings
        wait = settings.keepalive_s - (self._loop.time() - self._heard)
        if self._asked:
            _log.info("a client vanished peer=%s", self.peer)
            self.abort()
            return
        if not self._settled and not self._closing:
            self._asked = True
            self._break(h2.SETTINGS_TIMEOUT, "nothing that is HTTP/2 came")
            wait = settings.keepalive_timeout_s
        elif wait <= 0:
            self._asked = True
            self.sender.send(h2.frame(h2.PING, 0, 0, b"durachrt"))
            wait = settings.keepalive_timeout_s
        self._timer = self._loop.call_later(wait, self._look_at_silence)


def _block_of(flags: int, stream: int, payload: bytes) -> bytes:
    """A header block without padding and priority."""
    if flags & h2.PADDED:
        payload = _unpadded(payload)
    if flags & h2.PRIORITISED:
        if len(payload) < 5:
            raise _Broken(h2.FRAME_SIZE_ERROR, "HEADERS end in their priority")
        if int.from_bytes(payload[:4], "big") & 0x7FFFFFFF == stream:
            raise _Broken(h2.PROTOCOL_ERROR, "a stream depends on itself")
        payload = payload[5:]
    return payload


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise _Broken(h2.PROTOCOL_ERROR, "there is more padding than frame")
    return payload[1 : len(payload) - payload[0]]


_READERS: Final[tuple[Callable[[Connection, int, int, bytes], None], ...]] = (
    Connection._on_data,
    Connection._on_headers,
    Connection._on_priority,
    Connection._on_reset,
    Connection._on_settings,
    Connection._on_push,
    Connection._on_ping,
    Connection._on_goaway,
    Connection._on_window,
    Connection._on_continuation,
)
"""By the number of their frame."""
