"""gRPC over our HTTP/2: an exchange becomes a call, and what comes back becomes headers, messages, trailers.

A call whose request is one message runs once that is there; one whose requests stream runs at once. A stream
of responses sends its headers before the first response exists. When what a slow reader has not taken passes
a bound, its handler waits. A call that is answered once runs to its end whether or not anybody reads; so one
that comes when much of such answers waits on its connection is refused, before anything was done.

Source: PROTOCOL-HTTP2 of gRPC.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import NamedTuple

from google.protobuf.message import Message

from durachart.fronts.compression import ACCEPTED, Inflate, inflate_of
from durachart.fronts.grpc_headers import entries, status_lines, timeout_s
from durachart.fronts.http2.exchange import Exchange, PeerGone
from durachart.fronts.http2.headers import Head, Header, response_block, status_block, trailer_block
from durachart.fronts.http_body import PREFIX_BYTES, Envelopes, only_message
from durachart.fronts.stalls import StallWatch
from durachart.fronts.wire import envelope, http_headers, serialised
from durachart.rpc.context import CallContext, Entry, Metadata
from durachart.rpc.errors import answers_unread, message_too_large, unknown_method
from durachart.rpc.service import Method, Service
from durachart.rpc.status import RpcError

_CONTENT_TYPE = b"application/grpc"
_HEAD: list[Header] = [(b"content-type", _CONTENT_TYPE), (b"grpc-accept-encoding", ACCEPTED)]
_HEADERS = response_block(_HEAD)
_OK = trailer_block([(b"grpc-status", b"0")])
_SENT_BEFORE_OTHERS_RUN = 16


class _Reading(NamedTuple):
    """What a request's head says to gRPC.

    Attributes:
        status: HTTP status of what is no gRPC; 0: it is.
        method: None: there is none of this name.
        metadata: None: the headers are not well-formed, as ``error`` says.
        timeout_s: None: for ever.
        inflate: None: messages are not compressed.
        error: What is wrong with it; None: nothing.
    """

    status: int = 0
    method: Method | None = None
    metadata: Metadata | None = None
    timeout_s: float | None = None
    inflate: Inflate | None = None
    error: RpcError | None = None


class GrpcApp:
    """The application.

    Args:
        service: What is served.
        stalled_s: Seconds that a response of a stream may wait for its reader; then the stream is ended.
        unread_bytes: What answers that are complete and not read may come to on a connection, before further
            calls are refused. An answer more may be there for each call that was under way by then.
    """

    def __init__(
        self, service: Service, stalled_s: float = 60.0, unread_bytes: int = 64 * 1024 * 1024
    ) -> None:
        self._unread_bytes = unread_bytes
        self._service = service
        self._stalled_s = stalled_s
        self._last = _Last()
        self._methods = {method.path.encode(): method for method in service.methods.values()}

    def begin(self, exchange: Exchange) -> None:
        """See `Application`."""
        reading: _Reading = exchange.head.reading or self._read(exchange.head)
        method = reading.method
        if method is not None and reading.error is None and method.kind in {"unary", "server_stream"}:
            exchange.collect(method.max_request_bytes + PREFIX_BYTES)

    async def run(self, exchange: Exchange) -> None:
        """See `Application`."""
        reading: _Reading = exchange.head.reading
        if reading.status:
            exchange.start(status_block(reading.status))
            exchange.end(b"")
            return
        try:
            await self._call(exchange, reading)
        except PeerGone:
            return
        except asyncio.CancelledError:
            # A stopping server cuts what did not end in time. Anything else that cancels is an error to be
            # seen.
            if not exchange.gone and not self._service.draining:
                raise

    def _read(self, head: Head) -> _Reading:
        reading = head.reading = self._reading(head)
        return reading

    def _reading(self, head: Head) -> _Reading:
        kind = head.content_type[: len(_CONTENT_TYPE)].lower()
        if kind != _CONTENT_TYPE or head.content_type[len(_CONTENT_TYPE) :][:1] not in (b"", b"+", b";"):
            return _Reading(415)
        if head.method != b"POST":
            return _Reading(405)
        method = self._methods.get(head.path)
        if method is None:
            return _Reading(error=unknown_method(head.path.decode("utf-8", "replace")))
        try:
            metadata = Metadata(entries(head.fields))
            return _Reading(0, method, metadata, timeout_s(head.timeout), inflate_of(head.encoding))
        except RpcError as error:
            return _Reading(method=method, error=error)

    async def _call(self, exchange: Exchange, reading: _Reading) -> None:
        method, metadata = reading.method, reading.metadata
        if method is None or metadata is None:
            assert reading.error is not None
            exchange.answer(_HEADERS, b"", _trailers(reading.error, ()))
            return
        seconds = reading.timeout_s
        ctx = CallContext(
            method.full_name,
            metadata=metadata,
            peer=exchange.peer,
            deadline=None if seconds is None else asyncio.get_running_loop().time() + seconds,
            protocol="grpc",
        )
        try:
            request = _request(method, exchange, reading.inflate)
        except RpcError as error:
            exchange.answer(_HEADERS, b"", _trailers(error, ()))
            return
        if method.kind in {"unary", "client_stream"}:
            await self._unary(method, request, ctx, exchange)
        else:
            await self._stream(method, request, ctx, exchange)

    async def _unary(
        self, method: Method, request: Message | AsyncIterator[Message], ctx: CallContext, exchange: Exchange
    ) -> None:
        data = b""
        try:
            if exchange.unread_bytes > self._unread_bytes:
                raise answers_unread()
            response = await self._service.invoke_unary(method, request, ctx)
            data = envelope(0, serialised(response, ctx))
            trailers = _trailers(None, ctx.trailers())
        except RpcError as error:
            # Not kept in a variable: by its traceback it would keep this frame, with request and response,
            # until the collector comes.
            trailers = _trailers(error, ctx.trailers())
        exchange.answer(_start(ctx.take_headers()), data, trailers)

    async def _stream(
        self, method: Method, request: Message | AsyncIterator[Message], ctx: CallContext, exchange: Exchange
    ) -> None:
        # At once: a watch may have nothing to say for long, and the client must see that it stands.
        exchange.start(_start(ctx.take_headers()))
        ctx.outlet = _Outlet(exchange, ctx, self._last)
        stalls = StallWatch(self._stalled_s)
        sent = 0
        try:
            async with aclosing(self._service.invoke_stream(method, request, ctx)) as responses:
                async for response in responses:
                    if not exchange.write(envelope(0, serialised(response, ctx))):
                        await stalls.watched(exchange.drained())
                    sent += 1
                    if sent % _SENT_BEFORE_OTHERS_RUN == 0:
                        await asyncio.sleep(0)
            trailers = _trailers(None, ctx.trailers())
        except RpcError as error:
            trailers = _trailers(error, ctx.trailers())
        finally:
            stalls.end()
        exchange.end(trailers)


class _Last:
    """The response that was put last, which the next stream is often told as well, and its bytes."""

    __slots__ = ("data", "response")

    def __init__(self) -> None:
        self.response: Message | None = None
        self.data = b""


class _Outlet:
    """Writes what a handler that waits did not have to be woken for."""

    __slots__ = ("_ctx", "_exchange", "_last")

    def __init__(self, exchange: Exchange, ctx: CallContext, last: _Last) -> None:
        self._exchange = exchange
        self._ctx = ctx
        self._last = last

    @property
    def is_open(self) -> bool:
        return not self._exchange.pending and not self._exchange.gone

    def put(self, response: Message, *, at_once: bool) -> None:
        last = self._last
        if response is not last.response:
            last.response, last.data = response, envelope(0, serialised(response, self._ctx))
        self._exchange.write(last.data)
        if at_once:
            self._exchange.flush()


def _request(method: Method, exchange: Exchange, inflate: Inflate | None) -> Message | AsyncIterator[Message]:
    limit = method.max_request_bytes
    if exchange.collected_bytes is None:
        return _parsed_each(method, Envelopes(exchange, limit, inflate=inflate).each())
    if exchange.overflowed:
        raise message_too_large(exchange.body_bytes, limit)
    return method.parse(only_message(exchange.body(), limit, inflate))


async def _parsed_each(method: Method, requests: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    async for data in requests:
        yield method.parse(data)


def _start(headers: Sequence[Entry]) -> bytes:
    return response_block(_HEAD + http_headers(headers)) if headers else _HEADERS


def _trailers(error: RpcError | None, trailers: Sequence[Entry]) -> bytes:
    if error is None and not trailers:
        return _OK
    lines = status_lines(error, trailers)
    return trailer_block([(key.encode("ascii"), value.encode("ascii")) for key, value in lines])
