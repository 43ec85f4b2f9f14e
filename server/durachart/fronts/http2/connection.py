"""One client's connection: what its frames say, and the streams they are about.

Everything happens in the event loop's thread, between two reads. What leaves goes through `Sender`.

Source: RFC 9113. Errors of the connection end it with GOAWAY, those of a stream reset it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast

from durachart.fronts.http2 import frames as h2
from durachart.fronts.http2.control import Control
from durachart.fronts.http2.exchange import Application, Exchange
from durachart.fronts.http2.headers import (
    HARD_LIMIT_FACTOR,
    BlockBroken,
    HeaderReader,
    HeadTooLarge,
    RequestMalformed,
)
from durachart.fronts.http2.keepalive import Keepalive
from durachart.fronts.http2.payloads import ConnectionBroken, block_of, unpadded
from durachart.fronts.http2.settings import ConnectionSettings
from durachart.fronts.http2.streams import Streams

_log = logging.getLogger(__name__)

_BODY_SECONDS: Final = 60.0
_MOST_CONTINUATIONS: Final = 16
_SENTENCE: Final = (
    b"This port speaks gRPC, which is HTTP/2: use a gRPC client or the command durachart.\n"
    b"Browsers and HTTP clients are served by the HTTP port of the same server (--http).\n"
)
_TO_HTTP1: Final = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\nconnection: close\r\ncontent-type: text/plain\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_SENTENCE), _SENTENCE)
)


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
        self.peer = ""
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._preface_read = False
        self._settings_sent = False
        self._streams = Streams(self._loop, settings, self._on_empty)
        self.sender = self._streams.sender
        self.intake = self._streams.intake
        self._keepalive = Keepalive(
            self._loop, settings.keepalive_s, settings.keepalive_timeout_s, self._ask, self._give_up
        )
        self._control = Control(self._streams, self._keepalive)
        # A header block that goes on in CONTINUATION frames: stream, flags of its HEADERS, pieces.
        self._block: tuple[int, int, list[bytes]] | None = None
        self._uncollected: list[Exchange] = []
        self._going_away = False
        self._closing = False

    @property
    def busy(self) -> bool:
        """Whether exchanges are under way."""
        return bool(self._streams.open)

    # --- the transport --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)
        self.sender.attach(self._transport)
        name = transport.get_extra_info("peername")
        if isinstance(name, tuple):
            host, port = name[:2]
            self.peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._closing = True
        self._keepalive.end()
        for exchange in tuple(self._streams.open.values()):
            self._streams.abandon(exchange)
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
        self._keepalive.hear()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        self.sender.go_on()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._closing:
            return
        self._keepalive.hear()
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        try:
            at = 0 if self._preface_read else self._read_preface(data)
            at = self._read_frames(data, at)
        except ConnectionBroken as error:
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
            if data[:1].isupper():
                # Our own frames would be nothing to it: browsers, curl and health checks read a sentence.
                self.sender.send(_TO_HTTP1)
                self.close()
                return len(data)
            raise ConnectionBroken(h2.PROTOCOL_ERROR, "this port speaks gRPC, which is HTTP/2")
        if len(data) < len(preface):
            return 0
        self._preface_read = True
        self._greet()
        return len(preface)

    def _greet(self) -> None:
        """Say what may be sent: the first frames from here, which a client does not wait for."""
        self._settings_sent = True
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

    def _read_frames(self, data: bytes, at: int) -> int:
        """Take in every frame that is whole; where the rest begins."""
        if not self._preface_read:
            return at
        end = len(data)
        while end - at >= h2.HEAD_BYTES:
            high, low, kind, flags, stream = h2.read_head(data, at)
            size = high << 8 | low
            if size > h2.LEAST_FRAME_BYTES:
                raise ConnectionBroken(
                    h2.FRAME_SIZE_ERROR, "the frame is larger than SETTINGS_MAX_FRAME_SIZE"
                )
            begin = at + h2.HEAD_BYTES
            after = begin + size
            if after > end:
                break
            at = after
            stream &= 0x7FFFFFFF
            if self._block is not None and (kind != h2.CONTINUATION or stream != self._block[0]):
                raise ConnectionBroken(h2.PROTOCOL_ERROR, "a header block was not ended")
            if not self._keepalive.greeted and (kind != h2.SETTINGS or flags & h2.ACK):
                raise ConnectionBroken(h2.PROTOCOL_ERROR, "the first frame must be SETTINGS")
            if kind == h2.HEADERS:
                self._on_headers(flags, stream, data[begin:after])
            elif kind == h2.DATA:
                self._on_data(flags, stream, data[begin:after])
            elif kind == h2.CONTINUATION:
                self._on_continuation(flags, stream, data[begin:after])
            else:
                self._control.read(kind, flags, stream, data[begin:after])
        return at

    # --- requests -------------------------------------------------------------------------------------------

    def _on_headers(self, flags: int, stream: int, payload: bytes) -> None:
        if not stream % 2:
            raise ConnectionBroken(h2.PROTOCOL_ERROR, "HEADERS on a stream that no client opens")
        if flags & (h2.PADDED | h2.PRIORITISED):
            payload = block_of(flags, stream, payload)
        if flags & h2.END_HEADERS:
            self._on_block(flags, stream, payload)
        else:
            self._block = (stream, flags, [payload])

    def _on_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionBroken(h2.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        _, opening, pieces = self._block
        pieces.append(payload)
        if len(pieces) > _MOST_CONTINUATIONS:
            raise ConnectionBroken(h2.ENHANCE_YOUR_CALM, "the header block has too many pieces")
        if sum(map(len, pieces)) > HARD_LIMIT_FACTOR * self._settings.header_list_bytes:
            raise ConnectionBroken(h2.ENHANCE_YOUR_CALM, "the header block is too large")
        if flags & h2.END_HEADERS:
            self._block = None
            self._on_block(opening, stream, b"".join(pieces))

    def _on_block(self, flags: int, stream: int, block: bytes) -> None:
        exchange = self._streams.open.get(stream)
        try:
            if exchange is not None:
                self._on_trailers(exchange, flags, block)
                return
            if stream <= self._streams.newest:
                self._on_late_headers(stream, block)
                return
            self._streams.note_opened(stream)
            head = self._headers.request(block)
        except BlockBroken as error:
            raise ConnectionBroken(h2.COMPRESSION_ERROR, "the header block cannot be decoded") from error
        except HeadTooLarge:
            # Which gRPC's clients show as RESOURCE_EXHAUSTED.
            self._streams.reset(stream, h2.ENHANCE_YOUR_CALM)
            return
        except RequestMalformed:
            self._streams.reset(stream, h2.PROTOCOL_ERROR)
            return
        if self._going_away or len(self._streams.open) >= self._settings.max_streams:
            self._streams.reset(stream, h2.REFUSED_STREAM)
            return
        self._streams.served = stream
        exchange = Exchange(self, stream, head, self.sender.stream_window)
        self._streams.open[stream] = exchange
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
        reset_here = self._streams.was_reset_here(stream)
        if reset_here is None:
            raise ConnectionBroken(h2.PROTOCOL_ERROR, "streams are opened in rising order")
        if not reset_here:
            raise ConnectionBroken(h2.STREAM_CLOSED, "HEADERS on a stream that is over")
        self._control.count()

    def _on_trailers(self, exchange: Exchange, flags: int, block: bytes) -> None:
        if exchange.complete and not exchange.gone:
            raise ConnectionBroken(h2.STREAM_CLOSED, "HEADERS on a stream whose request is complete")
        self._headers.trailers(block)
        if exchange.gone:
            return
        if not flags & h2.END_STREAM:
            raise RequestMalformed("trailers do not end the stream")
        self._complete(exchange)

    def _on_data(self, flags: int, stream: int, payload: bytes) -> None:
        if not stream or stream > self._streams.newest:
            raise ConnectionBroken(h2.PROTOCOL_ERROR, "DATA on a stream that is not open")
        size = len(payload)
        if not self.intake.arrived(size):
            raise ConnectionBroken(h2.FLOW_CONTROL_ERROR, "more than the connection's window")
        exchange = self._streams.open.get(stream)
        if exchange is None or exchange.gone or exchange.complete:
            self.intake.credit(size)
            if exchange is None and not self._streams.was_reset_here(stream):
                self._control.count()
                self.sender.send(h2.reset(stream, h2.STREAM_CLOSED))
            elif exchange is not None and not exchange.gone:
                self._streams.fail(exchange, h2.STREAM_CLOSED)
            elif not size:
                self._control.count()
            return
        if flags & h2.PADDED:
            payload = unpadded(payload)
            self.intake.credit(size - len(payload))
        exchange.uncredited_bytes += size
        if payload:
            self._take(exchange, payload)
        elif not flags & h2.END_STREAM:
            self._control.count()
            self.intake.credit_stream(exchange)
        if flags & h2.END_STREAM and not exchange.gone:
            self._complete(exchange)

    def _take(self, exchange: Exchange, payload: bytes) -> None:
        error = self.intake.take(exchange, payload)
        if error:
            self._streams.fail(exchange, error)
        elif exchange.overflowed and not exchange.begun:
            self._run(exchange)

    def _complete(self, exchange: Exchange) -> None:
        length = exchange.head.content_length
        if length is not None and length != exchange.body_bytes:
            self._streams.fail(exchange, h2.PROTOCOL_ERROR)
            return
        exchange.finish_body()
        if not exchange.begun:
            self._run(exchange)

    def _bound_bodies(self) -> None:
        """A body that is collected has to come within a time."""
        for exchange in self._uncollected:
            if not exchange.begun and not exchange.gone:
                exchange.expiry = self._loop.call_later(
                    _BODY_SECONDS, self._streams.fail, exchange, h2.CANCEL
                )
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
                self._streams.fail(exchange, h2.CANCEL if self._going_away else h2.INTERNAL_ERROR)
            self._streams.close_if_over(exchange)

    def flush_if_alone(self) -> None:
        """Send at once what is ready, if nobody else here could add to it in this turn."""
        if len(self._streams.open) == 1:
            self.sender.flush()

    # --- ends -----------------------------------------------------------------------------------------------

    def _on_empty(self) -> None:
        if self._going_away:
            self.close()

    def _break(self, code: int, why: str) -> None:
        """The peer broke the protocol."""
        _log.debug("connection ended peer=%s code=%d why=%s", self.peer, code, why)
        if not self._settings_sent:
            self._greet()
        self.sender.send(h2.goaway(self._streams.served, code, why))
        self.close()

    def go_away(self) -> None:
        """Take no new exchange; the connection closes when those under way have ended."""
        if self._going_away or self._closing:
            return
        self._going_away = True
        self.sender.send(h2.goaway(self._streams.served, h2.NO_ERROR, "the server is shutting down"))
        if not self._streams.open:
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

    def _ask(self) -> None:
        """The peer has been silent."""
        if self._closing:
            return
        if not self._keepalive.greeted:
            self._break(h2.SETTINGS_TIMEOUT, "nothing that is HTTP/2 came")
        else:
            self.sender.send(h2.frame(h2.PING, 0, 0, b"durachrt"))

    def _give_up(self) -> None:
        """The peer did not say that it is there."""
        _log.info("a client vanished peer=%s", self.peer)
        self.abort()
