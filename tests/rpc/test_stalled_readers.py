"""A stream that nobody reads is ended by its front, and what it was about is let go of at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import grpc
import pytest

from durachart.fronts.cors import Cors
from durachart.fronts.grpc_front import serve_grpc
from durachart.fronts.grpc_settings import GrpcServer, GrpcSettings
from durachart.fronts.http_server import HttpSettings, serve_http
from durachart.fronts.web_front import WebApp
from durachart.rpc.assembly import Served, assemble
from durachart.rpc.service import Service
from tests.rpc.http2 import grpc_request
from tests.rpc.scripted import ANY_PORT
from tests.unit.rpc.echo_contract import ECHO_SERVICE, Text

STALLED_S = 0.2
MESSAGE = b"\0\0\0\0\0"
PIECE = "x" * 50_000
# What a reader that has stopped may cost: the window of the stream, and what the server keeps before it makes
# the handler wait.
HELD_BYTES = {"own": 300_000, "grpcio": 500_000}


class Talker:
    """Streams for as long as somebody reads.

    Attributes:
        said: How many responses were asked for.
        unwound: Set when the handler was closed.
    """

    def __init__(self) -> None:
        self.said = 0
        self.unwound = asyncio.Event()

    async def list_words(self, request: Any, ctx: Any) -> AsyncGenerator[Any, None]:
        try:
            while True:
                self.said += 1
                yield Text(text=PIECE)
        finally:
            self.unwound.set()

    async def _unused(self, request: Any, ctx: Any) -> Any:
        raise NotImplementedError

    echo_one = join_words = echo_each = _unused


def talking() -> tuple[Talker, Service]:
    talker = Talker()
    return talker, assemble([Served(ECHO_SERVICE, talker)])


async def read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    """Everything that comes until the connection ends."""
    received = b""
    try:
        while some := await reader.read(65_536):
            received += some
    except ConnectionError:
        pass
    return received


async def all_of(stream: grpc.aio.UnaryStreamCall[bytes, bytes]) -> None:
    while await stream.read() is not grpc.aio.EOF:
        pass


@pytest.mark.parametrize("http2", ["own", "grpcio"])
async def test_a_grpc_stream_that_is_not_read_is_let_go_of(http2: GrpcServer) -> None:
    talker, service = talking()
    async with serve_grpc(service, GrpcSettings(ANY_PORT, http2, stalled_s=STALLED_S)) as address:
        _, writer = await asyncio.open_connection(address.host, address.port)
        # No window is given back: the server may send 65,535 bytes.
        writer.write(grpc_request(f"/{ECHO_SERVICE.full_name}/ListWords".encode(), MESSAGE))
        await talker.unwound.wait()
        assert talker.said * len(PIECE) < HELD_BYTES[http2]
        assert await service.drain(10)
        writer.close()


@pytest.mark.parametrize("http2", ["own", "grpcio"])
async def test_a_grpc_reader_that_goes_on_after_it_stalled_is_told(http2: GrpcServer) -> None:
    talker, service = talking()
    async with (
        serve_grpc(service, GrpcSettings(ANY_PORT, http2, stalled_s=STALLED_S)) as address,
        grpc.aio.insecure_channel(str(address)) as channel,
    ):
        stream = channel.unary_stream(f"/{ECHO_SERVICE.full_name}/ListWords")(b"")
        await talker.unwound.wait()
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await all_of(stream)
        assert told.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "read faster" in (told.value.details() or "")


async def test_an_http_stream_that_is_not_read_is_cut() -> None:
    talker, service = talking()
    app = WebApp(service, Cors(()), {}, STALLED_S)
    async with serve_http(app, HttpSettings(ANY_PORT)) as address:
        reader, writer = await asyncio.open_connection(address.host, address.port, limit=1_000)
        head = (
            f"POST /{ECHO_SERVICE.full_name}/ListWords HTTP/1.1\r\nhost: test\r\n"
            "content-type: application/grpc-web+proto\r\ncontent-length: 5\r\n\r\n"
        )
        writer.write(head.encode() + MESSAGE)
        await talker.unwound.wait()
        assert await service.drain(10)
        assert b"grpc-status" not in await read_to_the_end(reader)
        writer.close()
