"""Clients of both fronts behind one face, so that one suite can be run over all of them.

gRPC is called with `grpc.aio`; gRPC-Web and Connect from Node with `@connectrpc/connect-web`, as a browser
would.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import grpc
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from durachart.fronts.address import Address
from durachart.rpc.service import Method

PROTOCOLS = ("grpc", "grpcio", "grpc_web", "connect_json", "connect_proto")
"""Ways to call; ``grpcio`` is gRPC to the server that the setting of this name chooses."""
_DRIVER = Path(__file__).parent.parent / "node" / "rpc_driver.mjs"
_CHANNEL_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@dataclass
class Ending:
    """How a call ended.

    Attributes:
        code: Name of the status code.
        message: The sentence for people.
        details: Typed details, in order.
        trailers: Text values by key.
    """

    code: str
    message: str = ""
    details: list[AnyMessage] = field(default_factory=list)
    trailers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def info(self) -> ErrorInfo:
        """The one ErrorInfo there must be."""
        (found,) = [detail for detail in self.details if detail.Is(ErrorInfo.DESCRIPTOR)]
        info = ErrorInfo()
        found.Unpack(info)
        return info

    def detail(self, kind: type[Message]) -> Any:
        """The one detail of a type."""
        (found,) = [detail for detail in self.details if detail.Is(kind.DESCRIPTOR)]
        message = kind()
        found.Unpack(message)
        return message


class Call(Protocol):
    """One call under way."""

    async def headers(self) -> Mapping[str, Any]:
        """The response headers."""

    async def read(self) -> Any:
        """The next response; None at the end."""

    async def ending(self) -> Ending:
        """How it ended; reads what is left."""

    async def cancel(self) -> None:
        """Go away."""


class Caller(Protocol):
    """A client of one front."""

    def start(
        self,
        method: Method,
        request: Message,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Call:
        """Begin a call."""


async def outcome(call: Call) -> tuple[list[Any], Ending]:
    """Every response, and how the call ended."""
    responses = []
    while (response := await call.read()) is not None:
        responses.append(response)
    return responses, await call.ending()


class _GrpcCall:
    def __init__(self, call: Any, streams: bool) -> None:
        self._call = call
        self._streams = streams
        self._over = False

    async def headers(self) -> Mapping[str, Any]:
        return dict(tuple(entry) for entry in await self._call.initial_metadata())

    async def read(self) -> Any:
        if self._over:
            return None
        try:
            if self._streams:
                response = await self._call.read()
                self._over = response is grpc.aio.EOF
                return None if self._over else response
            self._over = True
            return await self._call
        except (grpc.aio.AioRpcError, asyncio.CancelledError):
            self._over = True
            return None

    async def ending(self) -> Ending:
        while await self.read() is not None:
            pass
        code = await self._call.code()
        trailers = dict(tuple(entry) for entry in await self._call.trailing_metadata() or ())
        status = Status.FromString(trailers.pop("grpc-status-details-bin", b""))
        return Ending(code.name, await self._call.details() or "", list(status.details), trailers)

    async def cancel(self) -> None:
        self._call.cancel()


class GrpcCaller:
    """Calls with `grpc.aio`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def start(
        self,
        method: Method,
        request: Message,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> _GrpcCall:
        streams = method.kind == "server_stream"
        make = self._channel.unary_stream if streams else self._channel.unary_unary
        stub = make(
            method.path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=method.response_type.FromString,
        )
        return _GrpcCall(stub(request, timeout=timeout, metadata=tuple((metadata or {}).items())), streams)


@asynccontextmanager
async def grpc_caller(address: Address) -> AsyncIterator[GrpcCaller]:
    """A client of the gRPC front with a connection of its own."""
    async with grpc.aio.insecure_channel(str(address), options=_CHANNEL_OPTIONS) as channel:
        yield GrpcCaller(channel)


class Driver:
    """The Node process that calls with connect-web; serves any number of servers and calls."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._waiting: dict[tuple[int, str], asyncio.Future[Any]] = {}
        self._ids = itertools.count(1)
        self._reading = asyncio.create_task(self._read())

    def next_id(self) -> int:
        return next(self._ids)

    def send(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def ask(self, kind: str, **command: Any) -> dict[str, Any]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[command["id"], kind] = answer
        self.send(do=kind, **command)
        return dict(await answer)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        kinds = {"headers": "headers", "message": "read", "end": "read", "aborted": "abort"}
        while line := await self._process.stdout.readline():
            answer = json.loads(line)
            if "failed" in answer:
                raise AssertionError(answer["failed"])
            (kind,) = [kinds[name] for name in answer if name in kinds]
            self._waiting.pop((answer["id"], kind)).set_result(answer)

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reading


@asynccontextmanager
async def node_driver() -> AsyncIterator[Driver]:
    """The Node process."""
    node = shutil.which("node")
    assert node, "these tests need Node"
    process = await asyncio.create_subprocess_exec(
        node,
        str(_DRIVER),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=64 * 1024 * 1024,
    )
    driver = Driver(process)
    try:
        yield driver
    finally:
        await driver.close()


class _WebCall:
    def __init__(self, driver: Driver, call_id: int, method: Method) -> None:
        self._driver = driver
        self._id = call_id
        self._method = method
        self._ending: Ending | None = None

    async def headers(self) -> Mapping[str, Any]:
        answer = await self._driver.ask("headers", id=self._id)
        return dict(answer["headers"])

    async def read(self) -> Any:
        if self._ending is not None:
            return None
        answer = await self._driver.ask("read", id=self._id)
        if "message" in answer:
            return json_format.ParseDict(answer["message"], self._method.response_type())
        end = answer["end"]
        details = [
            AnyMessage(type_url=f"type.googleapis.com/{each['type']}", value=base64.b64decode(each["value"]))
            for each in end["details"]
        ]
        self._ending = Ending(_code_name(end["code"]), end["message"], details, end["trailers"])
        return None

    async def ending(self) -> Ending:
        while self._ending is None:
            await self.read()
        return self._ending

    async def cancel(self) -> None:
        await self._driver.ask("abort", id=self._id)


class WebCaller:
    """Calls with connect-web in Node."""

    def __init__(self, driver: Driver, url: str, protocol: str) -> None:
        self._driver = driver
        self._url = url
        self._protocol = protocol

    def start(
        self,
        method: Method,
        request: Message,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> _WebCall:
        call_id = self._driver.next_id()
        service, _, name = method.full_name.partition("/")
        self._driver.send(
            id=call_id,
            do="start",
            url=self._url,
            protocol=self._protocol,
            service=service.rpartition(".")[2],
            method=name[0].lower() + name[1:],
            request=json_format.MessageToDict(request),
            timeoutMs=None if timeout is None else round(timeout * 1000),
            headers=dict(metadata or {}),
        )
        return _WebCall(self._driver, call_id, method)


def _code_name(name: str) -> str:
    """connect writes ``NotFound`` and ``Canceled`` where gRPC writes ``NOT_FOUND`` and ``CANCELLED``."""
    snake = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in name).lstrip("_")
    return "OK" if name == "OK" else {"CANCELED": "CANCELLED"}.get(snake, snake)
