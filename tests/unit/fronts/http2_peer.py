"""A client made of frames, on a transport that is not there, and an application that a test scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from durachart.fronts.http2 import frames as h2
from durachart.fronts.http2.connection import Connection
from durachart.fronts.http2.exchange import Exchange
from durachart.fronts.http2.headers import response_block, trailer_block
from durachart.fronts.http2.settings import ConnectionSettings
from tests.rpc.http2 import PREFACE, frame, header_block
from tests.virtual_time import settle

HEAD = response_block([(b"content-type", b"text/plain")])
TAIL = trailer_block([(b"last", b"word")])
REQUEST = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a")]
HELLO = PREFACE + frame(h2.SETTINGS, 0, 0)

Run = Callable[[Exchange], Awaitable[None]]


class Frame(NamedTuple):
    """One frame that the server sent."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> int:
        """Of RST_STREAM or GOAWAY."""
        return int.from_bytes(self.payload[4:8] if self.kind == h2.GOAWAY else self.payload, "big")


class Wire(asyncio.Transport):
    """Keeps what is written.

    Attributes:
        written: All of it.
        asked: What the protocol has asked of reading, in order.
        closing: Whether it was closed.
    """

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 4711)})
        self.written = b""
        self.asked: list[str] = []
        self.closing = False
        self.connection: Connection | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closing
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self.asked.append("pause")

    def resume_reading(self) -> None:
        self.asked.append("resume")

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing and self.connection is not None:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    abort = close


class Scripted:
    """The application: runs what it is given.

    Attributes:
        limit: Of bodies that are collected; None: they stream.
        begun: Exchanges whose handler has begun, in order.
        ended: Those whose handler has ended.
    """

    def __init__(self, run: Run, limit: int | None = None) -> None:
        self._run = run
        self.limit = limit
        self.begun: list[Exchange] = []
        self.ended: list[Exchange] = []

    def begin(self, exchange: Exchange) -> None:
        if self.limit is not None:
            exchange.collect(self.limit)

    async def run(self, exchange: Exchange) -> None:
        self.begun.append(exchange)
        try:
            await self._run(exchange)
        finally:
            self.ended.append(exchange)


class Peer:
    """The client, connected and greeted.

    Attributes:
        wire: What it is connected by.
        connection: What is tested.
        lost: How often the connection said that it is over.
    """

    def __init__(
        self, application: Scripted, settings: ConnectionSettings | None = None, first: bytes = HELLO
    ) -> None:
        self.lost = 0
        self.wire = Wire()
        self.connection = Connection(application, settings or ConnectionSettings(), self._lose)
        self.wire.connection = self.connection
        self._read = 0
        self.connection.connection_made(self.wire)
        if first:
            self.connection.data_received(first)

    def _lose(self, connection: Connection) -> None:
        assert connection is self.connection
        self.lost += 1

    def send(self, *frames: bytes) -> None:
        """Have the server read these at once."""
        self.connection.data_received(b"".join(frames))

    async def received(self) -> list[Frame]:
        """Frames that came since this was asked last, once everything has happened."""
        await settle()
        found: list[Frame] = []
        written = self.wire.written
        while self._read < len(written):
            at = self._read
            size = int.from_bytes(written[at : at + 3], "big")
            payload = written[at + 9 : at + 9 + size]
            assert len(payload) == size
            stream = int.from_bytes(written[at + 5 : at + 9], "big")
            found.append(Frame(written[at + 3], written[at + 4], stream, payload))
            self._read = at + 9 + size
        return found

    async def of(self, kind: int, stream: int | None = None) -> list[Frame]:
        """Those of one kind, and of one stream."""
        return [each for each in await self.received() if each.kind == kind and stream in {None, each.stream}]


def request(
    stream: int, *, ends: bool = True, more: tuple[tuple[bytes, bytes], ...] = (), path: bytes = b"/a"
) -> bytes:
    """HEADERS that open a stream."""
    fields = [*REQUEST[:2], (b":path", path), *more]
    flags = h2.END_HEADERS | (h2.END_STREAM if ends else 0)
    return frame(h2.HEADERS, flags, stream, header_block(fields))


def data(stream: int, payload: bytes, *, ends: bool = False) -> bytes:
    """DATA."""
    return frame(h2.DATA, h2.END_STREAM if ends else 0, stream, payload)


def reset(stream: int) -> bytes:
    """RST_STREAM, as a client that cancels sends it."""
    return frame(h2.RST_STREAM, 0, stream, h2.CANCEL.to_bytes(4, "big"))


def window(stream: int, more: int) -> bytes:
    """WINDOW_UPDATE."""
    return frame(h2.WINDOW_UPDATE, 0, stream, more.to_bytes(4, "big"))


def setting(*settings: tuple[int, int]) -> bytes:
    """SETTINGS."""
    return frame(
        h2.SETTINGS,
        0,
        0,
        b"".join(name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in settings),
    )


KEPT_BACK = setting((h2.INITIAL_WINDOW_SIZE, 0))
"""No response has a window until it is given one."""


def body_of(frames: list[Frame], stream: int) -> bytes:
    """What came of a response."""
    return b"".join(each.payload for each in frames if each.kind == h2.DATA and each.stream == stream)


def says(size: int) -> Run:
    """A handler that answers with so many bytes at once."""

    async def run(exchange: Exchange) -> None:
        exchange.answer(HEAD, b"x" * size, TAIL)

    return run


async def waits(exchange: Exchange) -> None:
    """A handler that does not end."""
    await asyncio.get_running_loop().create_future()
