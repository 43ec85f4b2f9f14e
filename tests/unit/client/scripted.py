"""A real grpc.aio server with scripted answers, behind a proxy that can cut connections at any moment."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as Packed
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from durachart_client.gen import (
    effect_service_pb2_grpc,
    machine_service_pb2_grpc,
    state_machine_service_pb2_grpc,
    token_service_pb2_grpc,
    types_pb2,
)

_STREAMING = frozenset({"WatchState", "WatchTokens", "Watch", "StreamEvents", "StreamEffects"})

Handler = Callable[[Any, grpc.aio.ServicerContext], Any]


class Server:
    """Answers each RPC with the handler a test put into ``script``, and remembers the requests."""

    def __init__(self) -> None:
        self.script: dict[str, Handler] = {}
        self.requests: dict[str, list[Any]] = {}
        self.metadata: list[dict[str, Any]] = []
        self.open_streams = 0
        self.changed = asyncio.Condition()

    async def unary(self, name: str, request: Any, context: grpc.aio.ServicerContext) -> Any:
        self._note(name, request, context)
        answer = self.script[name](request, context)
        return await answer if isinstance(answer, Awaitable) else answer

    async def stream(self, name: str, request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        if hasattr(request, "__aiter__"):
            request = self._noted(name, request, context)
        else:
            self._note(name, request, context)
        await self._count(+1)
        try:
            async for message in self.script[name](request, context):
                yield message
        finally:
            await self._count(-1)

    async def wait_streams(self, count: int) -> None:
        """Wait until exactly ``count`` streams are open."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.open_streams == count)

    async def _noted(
        self, name: str, requests: AsyncIterator[Any], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[Any]:
        async for request in requests:
            self._note(name, request, context)
            yield request

    def _note(self, name: str, request: Any, context: grpc.aio.ServicerContext) -> None:
        copy = type(request)()
        copy.CopyFrom(request)
        self.requests.setdefault(name, []).append(copy)
        self.metadata.append(dict(context.invocation_metadata() or ()))

    async def _count(self, by: int) -> None:
        async with self.changed:
            self.open_streams += by
            self.changed.notify_all()


def _servicer(base: type[Any], server: Server, streaming: frozenset[str]) -> Any:
    def method(name: str) -> Callable[..., Any]:
        async def stream(self: Any, request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
            async for message in server.stream(name, request, context):
                yield message

        async def unary(self: Any, request: Any, context: grpc.aio.ServicerContext) -> Any:
            return await server.unary(name, request, context)

        return stream if name in streaming else unary

    names = [name for name in vars(base) if name[0].isupper()]
    return type("Scripted", (base,), {name: method(name) for name in names})()


@asynccontextmanager
async def serving(server: Server, port: int = 0) -> AsyncIterator[tuple[grpc.aio.Server, int]]:
    """The server on a port of its own; calls under way are cut at the end."""
    front = grpc.aio.server()
    for add, base in (
        (
            state_machine_service_pb2_grpc.add_StateMachineServiceServicer_to_server,
            state_machine_service_pb2_grpc.StateMachineServiceServicer,
        ),
        (
            machine_service_pb2_grpc.add_MachineServiceServicer_to_server,
            machine_service_pb2_grpc.MachineServiceServicer,
        ),
        (
            token_service_pb2_grpc.add_TokenServiceServicer_to_server,
            token_service_pb2_grpc.TokenServiceServicer,
        ),
        (
            effect_service_pb2_grpc.add_EffectServiceServicer_to_server,
            effect_service_pb2_grpc.EffectServiceServicer,
        ),
        (health_pb2_grpc.add_HealthServicer_to_server, health_pb2_grpc.HealthServicer),
    ):
        add(_servicer(base, server, _STREAMING), front)
    bound = front.add_insecure_port(f"127.0.0.1:{port}")
    await front.start()
    try:
        yield front, bound
    finally:
        await front.stop(grace=None)


class Proxy:
    """Passes bytes between the client and the server until told to cut, or to hold them back."""

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.port = 0
        self.connections = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    def cut(self) -> None:
        """End every connection now, without a word of HTTP/2."""
        for writer in self._writers:
            writer.transport.abort()

    def hold(self) -> None:
        """Keep connections open and pass nothing on those there are, as a dead network does."""
        self._flowing.clear()

    def release(self) -> None:
        """Pass bytes again."""
        self._flowing.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        self._writers |= {writer, up_writer}
        pumps = [self._pump(reader, up_writer), self._pump(up_reader, writer)]
        self._tasks |= {asyncio.ensure_future(pump) for pump in pumps}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)

    async def close(self) -> None:
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def proxied(upstream_port: int) -> AsyncIterator[Proxy]:
    """A proxy before the server."""
    proxy = Proxy(upstream_port)
    listener = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = listener.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listener.close()
        await proxy.close()
        await listener.wait_closed()


async def refuse(
    context: grpc.aio.ServicerContext,
    code: grpc.StatusCode,
    reason: str = "",
    *details: Any,
    message: str = "no",
    domain: str = "durachart.dev",
    metadata: dict[str, str] | None = None,
) -> Any:
    """End a call as the service does: one ErrorInfo, then typed details."""
    status = status_pb2.Status(code=code.value[0], message=message)
    if reason:
        info = error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata or {})
        details = (info, *details)
    for detail in details:
        packed = Packed()
        packed.Pack(detail)
        status.details.append(packed)
    await context.abort_with_status(rpc_status.to_status(status))


def state(
    version: int = 0, *, instance_id: str = "o-1", uid: str = "u1", **fields: Any
) -> types_pb2.InstanceState:
    """A state of the order machine."""
    message = types_pb2.InstanceState(
        instance=types_pb2.InstanceRef(machine_id="order", instance_id=instance_id),
        uid=uid,
        version=version,
        machine_version=1,
        value_json=json.dumps(fields.pop("value", "draft")),
        context_json=json.dumps(fields.pop("context", {"items": []})),
        status=types_pb2.INSTANCE_STATUS_ACTIVE,
        **fields,
    )
    moment = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    message.create_time.FromDatetime(moment)
    message.update_time.FromDatetime(moment)
    message.evaluate_time.FromDatetime(moment)
    return message


SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
