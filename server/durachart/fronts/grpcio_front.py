"""gRPC by gRPC's own server: `grpc.aio` without generated servicers, interceptors or deserialisers.

Requests arrive as bytes, so that a malformed one gets an error with a reason like any other; streams are
written by our own loop, so that the handler is closed here, at once, and not when the garbage collector finds
it. Cancellation is raised on: grpc.aio leaks a little for every stream whose cancellation is swallowed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Any, NoReturn, cast

import grpc
from google.protobuf.message import EncodeError, Message

from durachart.fronts.address import Address, CannotListen, cannot_listen, listen
from durachart.fronts.grpc_settings import GrpcSettings
from durachart.rpc.context import CallContext, Entry, Metadata, normalise_peer
from durachart.rpc.errors import internal, reader_stalled, unknown_method
from durachart.rpc.service import Method, Service
from durachart.rpc.status import RpcError

_Context = grpc.aio.ServicerContext[Any, Any]
_log = logging.getLogger(__name__)
# How soon a listener that ended is noticed, and how long its calls may then go on; seconds.
_CHECK_S = 0.25
_RETIRE_S = 30.0
# Calls that may wait to be taken up before new ones are refused by chance, and before all are; many watches
# opened at once need high numbers.
_MAX_PENDING = 10_000
_MAX_PENDING_HARD = 30_000
# Clients that ping more often are disconnected; milliseconds.
_MIN_PING_INTERVAL_MS = 10_000
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@asynccontextmanager
async def serve_grpcio(service: Service, settings: GrpcSettings) -> AsyncIterator[Address]:
    """Serve ``service`` over gRPC for as long as the context lasts.

    Yields:
        The address that is really listened on.

    Raises:
        CannotListen: The port is in use, or the address cannot be had.
    """
    _probe(settings.address)
    listener = _Listener(service, settings)
    port = await listener.start()
    supervising = asyncio.create_task(listener.supervise())
    try:
        yield Address(settings.address.host, port)
    finally:
        supervising.cancel()
        await listener.stop()


class _Listener:
    """A gRPC server that is started again when a request ends it.

    One request whose path is not UTF-8 ends the accepting loop of grpc.aio 1.85: it stops listening for good,
    while calls under way go on. So it is looked after: another server takes the port, and the old one ends
    with its calls.
    """

    def __init__(self, service: Service, settings: GrpcSettings) -> None:
        self._router = _Router(service, settings.stalled_s)
        self._options = _options(service, settings)
        self._settings = settings
        self._address = settings.address
        self._server: grpc.aio.Server | None = None
        self._retired: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listen; the port stays the same from now on. Raises CannotListen."""
        server = grpc.aio.server(options=self._options)
        server.add_generic_rpc_handlers((self._router,))
        try:
            port = server.add_insecure_port(str(self._address))
        except RuntimeError as error:
            raise cannot_listen(self._address, "--listen", OSError(0, str(error))) from error
        await server.start()
        self._server = server
        self._address = self._address._replace(port=port)
        return port

    async def supervise(self) -> None:
        """Start again whenever the server was ended; runs until cancelled."""
        while True:
            server = self._server
            try:
                if server is None:
                    await asyncio.sleep(_CHECK_S)
                    await self.start()
                else:
                    await server.wait_for_termination(timeout=_CHECK_S)
            except CannotListen as error:
                _log.error("cannot listen again error=%s", error)
            except Exception as error:  # noqa: BLE001 -- whatever ended it, it must listen again
                assert server is not None
                _log.error("a request ended the gRPC listener, which is started again error=%r", error)
                self._server = None
                ending = asyncio.create_task(server.stop(_RETIRE_S))
                self._retired.add(ending)
                ending.add_done_callback(self._retired.discard)

    async def stop(self) -> None:
        """Stop listening; calls under way get the grace period."""
        grace = self._settings.stop_grace_s
        if self._server is not None:
            await self._server.stop(grace)
        if self._retired:
            await asyncio.wait(self._retired, timeout=grace)


def _probe(address: Address) -> None:
    """gRPC says no more than that binding failed; the system says why."""
    if address.port:
        listen(address, "--listen").close()


def _options(service: Service, settings: GrpcSettings) -> list[tuple[str, int]]:
    # Room for the frame around the largest message; the exact bound of each method is checked when it is
    # read.
    most = max((method.max_request_bytes for method in service.methods.values()), default=0) + 64 * 1024
    return [
        ("grpc.max_receive_message_length", most),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _MIN_PING_INTERVAL_MS),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _MIN_PING_INTERVAL_MS),
        ("grpc.keepalive_time_ms", settings.keepalive_ms),
        ("grpc.keepalive_timeout_ms", settings.keepalive_timeout_ms),
        ("grpc.max_concurrent_streams", settings.max_streams),
        ("grpc.server.max_pending_requests", _MAX_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING_HARD),
    ]


class _Router(grpc.GenericRpcHandler):
    """Finds the handler of a path; a path that is not served gets one that says so."""

    def __init__(self, service: Service, stalled_s: float) -> None:
        self._handlers = {
            method.path: _handler(service, method, stalled_s) for method in service.methods.values()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        path = handler_call_details.method
        return self._handlers.get(path) or _unknown(path)


def _handler(service: Service, method: Method, stalled_s: float) -> grpc.RpcMethodHandler[Any, Any]:
    # Any: the type stubs know handlers of the synchronous server only.
    make: Any = {
        "unary": grpc.unary_unary_rpc_method_handler,
        "client_stream": grpc.stream_unary_rpc_method_handler,
        "server_stream": grpc.unary_stream_rpc_method_handler,
        "bidi": grpc.stream_stream_rpc_method_handler,
    }[method.kind]
    streams = method.kind in {"server_stream", "bidi"}
    serve = _stream(service, method, stalled_s) if streams else _unary(service, method)
    handler: grpc.RpcMethodHandler[Any, Any] = make(serve)
    return handler


def _unknown(path: str) -> grpc.RpcMethodHandler[Any, Any]:
    async def handle(requests: AsyncIterator[bytes], context: _Context) -> None:
        await _abort(context, unknown_method(path), ())

    refuse: Any = handle
    return grpc.stream_stream_rpc_method_handler(refuse)


def _unary(service: Service, method: Method) -> Callable[[Any, _Context], Awaitable[bytes]]:
    """Serves kinds with one response."""
    streams = method.kind == "client_stream"

    async def handle(received: Any, context: _Context) -> bytes:
        ctx = _call(method, context)
        try:
            request = _parsed_each(method, received) if streams else method.parse(received)
            response = await service.invoke_unary(method, request, ctx)
            data = _serialised(response, method)
        except RpcError as error:
            await _abort(context, error, ctx.trailers())
        if headers := ctx.take_headers():
            await context.send_initial_metadata(headers)
        if trailers := ctx.trailers():
            context.set_trailing_metadata(trailers)
        return data

    return handle


def _stream(service: Service, method: Method, stalled_s: float) -> Callable[[Any, _Context], Awaitable[None]]:
    """Serves kinds with any number of responses.

    gRPC takes a response when the one before has left, so a reader that stops holds one of them here and what
    its window takes. Nothing can take back what gRPC has been given: once the handler is unwound, the error
    waits behind it until it is read, or the connection ends.
    """
    streams = method.kind == "bidi"

    async def handle(received: Any, context: _Context) -> None:
        ctx = _call(method, context)
        try:
            request = _parsed_each(method, received) if streams else method.parse(received)
            # At once: a watch may have nothing to say for long, and the client must see that it stands.
            await context.send_initial_metadata(ctx.take_headers())
            async with aclosing(service.invoke_stream(method, request, ctx)) as responses:
                async for response in responses:
                    await _write(context, _serialised(response, method), stalled_s)
        except RpcError as error:
            await _abort(context, error, ctx.trailers())
        if trailers := ctx.trailers():
            context.set_trailing_metadata(trailers)

    return handle


async def _write(context: _Context, data: bytes, stalled_s: float) -> None:
    scope = asyncio.timeout(stalled_s)
    try:
        async with scope:
            await context.write(data)
    except TimeoutError:
        if scope.expired():
            raise reader_stalled() from None
        raise
    except grpc.aio.InternalError as failure:
        # The reader vanished: the call is over, and gRPC would log the failure with its stack.
        raise asyncio.CancelledError from failure


def _call(method: Method, context: _Context) -> CallContext:
    remaining = cast("float | None", context.time_remaining())
    return CallContext(
        method.full_name,
        metadata=Metadata(cast("Iterable[Entry]", context.invocation_metadata() or ())),
        peer=normalise_peer(context.peer()),
        deadline=None if remaining is None else asyncio.get_running_loop().time() + remaining,
        protocol="grpc",
    )


async def _parsed_each(method: Method, received: AsyncIterable[bytes]) -> AsyncIterator[Message]:
    async for data in received:
        yield method.parse(data)


def _serialised(response: Message, method: Method) -> bytes:
    try:
        return response.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise internal(error, method.full_name) from error


async def _abort(context: _Context, error: RpcError, trailers: tuple[Entry, ...]) -> NoReturn:
    details = ("grpc-status-details-bin", error.status().SerializeToString())
    try:
        await context.abort(_CODES[error.code], error.message, (*trailers, details))
    except grpc.aio.InternalError as failure:
        # The call ended meanwhile, as when its deadline passed on both sides at once: nobody is left to be
        # told, and gRPC would log the failure with its stack.
        raise asyncio.CancelledError from failure
