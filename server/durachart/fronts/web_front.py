"""The HTTP front as an ASGI application: gRPC-Web, Connect, CORS, and a page for people.

One unary call is: read the body, run the call while watching the client, send one response. A stream sends
its headers before the first response exists, then each response as it comes; the next is asked for when the
server has taken the last, so that a client that reads slowly holds its own handler up and nothing piles up
here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from google.protobuf.message import Message

from durachart import __version__
from durachart.fronts.connect import Connect
from durachart.fronts.cors import Cors
from durachart.fronts.grpc_headers import entries
from durachart.fronts.grpc_web import GrpcWeb
from durachart.fronts.http_body import PREFIX_BYTES, ClientGone, Receive, RequestBody, Send, peer_of
from durachart.fronts.http_server import CUT
from durachart.fronts.page import front_page, health, plain_error
from durachart.fronts.wire import Reply, Wire
from durachart.rpc.context import CallContext, Metadata
from durachart.rpc.errors import message_too_large, unknown_method
from durachart.rpc.service import Method, Service
from durachart.rpc.status import RpcError

_WIRES: Mapping[bytes, Wire] = {
    b"application/grpc-web": GrpcWeb(text=False),
    b"application/grpc-web+proto": GrpcWeb(text=False),
    b"application/grpc-web-text": GrpcWeb(text=True),
    b"application/grpc-web-text+proto": GrpcWeb(text=True),
    b"application/json": Connect(json_messages=True, streams=False),
    b"application/proto": Connect(json_messages=False, streams=False),
    b"application/connect+json": Connect(json_messages=True, streams=True),
    b"application/connect+proto": Connect(json_messages=False, streams=True),
}
# A body may take this long to arrive where the caller set no deadline; seconds.
_BODY_SECONDS = 60.0

Headers = dict[bytes, bytes]


class _ReaderStalled(Exception):
    """The client has not read for too long."""


class WebApp:
    """The ASGI application.

    Args:
        service: What is served.
        cors: Which pages may call.
        about: Facts for the page at ``/``, such as the addresses: name to value.
        stalled_s: Seconds that a response of a stream may wait for its reader; then the connection is cut.
    """

    def __init__(
        self, service: Service, cors: Cors, about: Mapping[str, str], stalled_s: float = 60.0
    ) -> None:
        self._service = service
        self._cors = cors
        self._about = about
        self._stalled_s = stalled_s
        self._methods = {method.path: method for method in service.methods.values()}

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await self._answer(scope, receive, send)
        except asyncio.CancelledError:
            # A stopping server cuts what did not end in time. Anything else that cancels is an error to be
            # seen.
            if not self._service.draining:
                raise

    async def _answer(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        headers: Headers = dict(scope["headers"])
        if not self._cors.allows(headers):
            origin = headers[b"origin"].decode("latin-1")
            sentence = f"pages of {origin} may not call this server; allow it with --cors-origin"
            await _send_all(send, plain_error(403, sentence))
        elif scope["method"] == "POST":
            await self._post(scope, headers, receive, send)
        elif scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await _send_all(send, Reply(204, self._cors.preflight(headers), b""))
        else:
            await self._send(send, headers, self._page(scope, headers))

    async def _post(self, scope: Mapping[str, Any], headers: Headers, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        method = self._methods.get(path)
        content_type = headers.get(b"content-type", b"")
        wire = _WIRES.get(content_type) or _WIRES.get(content_type.partition(b";")[0].strip().lower())
        if wire is None or (method is not None and not wire.takes(method.kind)):
            await self._send(send, headers, _wrong_type(path, method))
            return
        if method is None:
            await self._send(send, headers, wire.refusal(unknown_method(path)))
            return
        body = RequestBody(receive)
        try:
            ctx = _context(scope, headers, wire, method)
            request = await _request(wire, method, headers, body, ctx)
        except RpcError as error:
            await self._send(send, headers, wire.refusal(error))
            return
        except ClientGone:
            return
        async with body:
            if method.kind in {"unary", "client_stream"}:
                await self._unary(wire, method, request, ctx, headers, send)
            else:
                try:
                    await self._stream(wire, method, request, ctx, headers, send)
                except _ReaderStalled:
                    scope[CUT]()
                    await asyncio.sleep(0)  # the server hears of it

    async def _unary(
        self,
        wire: Wire,
        method: Method,
        request: Message | AsyncIterator[Message],
        ctx: CallContext,
        headers: Headers,
        send: Send,
    ) -> None:
        try:
            reply = wire.reply(ctx, await self._service.invoke_unary(method, request, ctx))
        except RpcError as error:
            reply = wire.refusal(error, ctx.trailers())
        await self._send(send, headers, reply)

    async def _stream(
        self,
        wire: Wire,
        method: Method,
        request: Message | AsyncIterator[Message],
        ctx: CallContext,
        headers: Headers,
        send: Send,
    ) -> None:
        head = wire.head(ctx)
        head += self._cors.headers(headers, [name for name, _ in head])
        await send({"type": "http.response.start", "status": 200, "headers": head})
        try:
            async with aclosing(self._service.invoke_stream(method, request, ctx)) as responses:
                async for response in responses:
                    frame = wire.frame(ctx, response)
                    await self._write(send, {"type": "http.response.body", "body": frame, "more_body": True})
                    # The server returns at once while it has room, and for ever once the client is gone: let
                    # others run, and let the watcher see it.
                    await asyncio.sleep(0)
            end = wire.end(None, ctx.trailers())
        except RpcError as error:
            end = wire.end(error, ctx.trailers())
        await self._write(send, {"type": "http.response.body", "body": end})

    async def _write(self, send: Send, message: dict[str, Any]) -> None:
        scope = asyncio.timeout(self._stalled_s)
        try:
            async with scope:
                await send(message)
        except TimeoutError:
            if scope.expired():
                raise _ReaderStalled from None
            raise

    async def _send(self, send: Send, headers: Headers, reply: Reply) -> None:
        if b"origin" in headers:
            reply.headers.extend(self._cors.headers(headers, [name for name, _ in reply.headers]))
        await _send_all(send, reply)

    def _page(self, scope: Mapping[str, Any], headers: Headers) -> Reply:
        """What is served beside calls."""
        path = scope["path"]
        if path in self._methods:
            return plain_error(405, f"{path} takes POST", (b"allow", b"POST"))
        if scope["method"] not in {"GET", "HEAD"}:
            return plain_error(405, f"{scope['method']} is not served", (b"allow", b"GET, HEAD, POST"))
        if path == "/healthz":
            return health(serving=not self._service.draining)
        if path != "/":
            return _nothing_at(path)
        host, port = scope.get("server") or ("", None)
        here = {"http": f"{host}:{port}"} if port else {}
        facts = {"server": "durachart", "version": __version__, **self._about, **here}
        services = sorted({name.partition("/")[0] for name in self._service.methods})
        return front_page(facts, services, as_html=b"text/html" in headers.get(b"accept", b""))


def _context(scope: Mapping[str, Any], headers: Headers, wire: Wire, method: Method) -> CallContext:
    wire.check(headers)
    timeout = wire.timeout(headers)
    return CallContext(
        method.full_name,
        metadata=Metadata(entries(scope["headers"])),
        peer=peer_of(scope),
        deadline=None if timeout is None else asyncio.get_running_loop().time() + timeout,
        protocol=wire.name,
    )


async def _request(
    wire: Wire, method: Method, headers: Headers, body: RequestBody, ctx: CallContext
) -> Message | AsyncIterator[Message]:
    limit = wire.limit(method)
    if method.kind in {"client_stream", "bidi"}:
        return _parsed_each(wire, method, wire.messages(body, limit))
    # Base64 makes four characters of three bytes, and may be broken into lines.
    most = (limit + PREFIX_BYTES) * 3 // 2 if wire.text else limit + PREFIX_BYTES
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > most:
        raise message_too_large(int(length), limit)
    until = asyncio.get_running_loop().time() + _BODY_SECONDS
    whole = await body.read_all(most, until if ctx.deadline is None else min(until, ctx.deadline))
    return wire.parse(method, wire.message(whole, limit))


async def _parsed_each(wire: Wire, method: Method, requests: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    async for data in requests:
        yield wire.parse(method, data)


async def _send_all(send: Send, reply: Reply) -> None:
    length = (b"content-length", str(len(reply.body)).encode())
    headers = reply.headers if reply.status == 204 else [*reply.headers, length]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def _wrong_type(path: str, method: Method | None) -> Reply:
    if method is None:
        return _nothing_at(path)
    types = ", ".join(dict.fromkeys(wire.content_type for wire in _WIRES.values() if wire.takes(method.kind)))
    return plain_error(415, f"{path} takes the content types {types}", (b"accept-post", types.encode()))


def _nothing_at(path: str) -> Reply:
    return plain_error(404, f"there is nothing at {path[:200]}; calls are POST /package.Service/Method")
