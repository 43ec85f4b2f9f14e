"""A stream that nobody reads is ended by its front, and what it was about is let go of at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from durachart.fronts.cors import Cors
from durachart.fronts.grpc_front import GrpcSettings, serve_grpc
from durachart.fronts.http_server import HttpSettings, serve_http
from durachart.fronts.web_front import WebApp
from durachart.rpc.assembly import Served, assemble
from durachart.rpc.service import Service
from tests.rpc.http2 import frame, grpc_request
from tests.rpc.scripted import ANY_PORT
from tests.unit.rpc.echo_contract import ECHO_SERVICE, Text

STALLED_S = 0.2
MESSAGE = b"\0\0\0\0\0"
PIECE = "x" * 50_000
WINDOW_UPDATE = 8


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


async def read_to_the_end(reader: asyncio.StreamReader, until: bytes = b"") -> bytes:
    """Everything that comes, up to ``until`` or the end of the connection."""
    received = b""
    try:
        while not (until and until in received) and (some := await reader.read(65_536)):
            received += some
    except ConnectionError:
        pass
    return received


async def test_a_grpc_stream_that_is_not_read_is_ended_and_says_so_when_it_is_read_again() -> None:
    talker, service = talking()
    async with serve_grpc(service, GrpcSettings(ANY_PORT, stalled_s=STALLED_S)) as address:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        # No window is given back: the server may send 65,535 bytes.
        writer.write(grpc_request(f"/{ECHO_SERVICE.full_name}/ListWords".encode(), MESSAGE))
        await talker.unwound.wait()
        assert talker.said < 10
        assert await service.drain(10)
        for stream in (0, 1):
            writer.write(frame(WINDOW_UPDATE, 0, stream, (10_000_000).to_bytes(4, "big")))
        assert b"14" in (await read_to_the_end(reader, b"grpc-message")).partition(b"grpc-status")[2]
        writer.close()


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
