"""A peer that asks for more and more and reads nothing of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
from hpack import Decoder

from durachart.fronts.address import Address
from durachart.fronts.grpc_app import GrpcApp
from durachart.fronts.http2.server import Http2Settings, serve_http2
from durachart.rpc.assembly import Served, assemble
from durachart.rpc.gen import state_machine_service_pb2 as pb
from durachart.rpc.gen import types_pb2 as types
from durachart.rpc.state_machine_service import STATE_MACHINE_SERVICE, StateMachineHandlers
from durachart.store.sqlite.store import SqliteStore
from tests.rpc.http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    SETTINGS,
    frame,
    header_block,
)
from tests.rpc.scripted import ANY_PORT
from tests.store.runtimes import Service, serving
from tests.unit.runtime.samples import key

METHOD = f"/{STATE_MACHINE_SERVICE.full_name}/GetState"
REQUEST = pb.GetStateRequest(instance=types.InstanceRef(machine_id="job", instance_id=key().instance_id))
WINDOW_UPDATE, INITIAL_WINDOW_SIZE = 8, 4
CONTEXT_BYTES = 100_000


@asynccontextmanager
async def served(path: Path, unread_bytes: int) -> AsyncIterator[tuple[Service, Address]]:
    async with serving(lambda: SqliteStore(path / "store.db")) as running:
        service = assemble([Served(STATE_MACHINE_SERVICE, StateMachineHandlers(running.runtime))])
        application = GrpcApp(service, unread_bytes=unread_bytes)
        async with serve_http2(application, Http2Settings(ANY_PORT), "--listen") as address:
            await running.create()
            await running.send("NOTE", {"who": "x" * CONTEXT_BYTES})
            yield running, address


class Hoarder:
    """A connection whose windows are shut."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = Decoder()
        self._newest = -1
        self.statuses: dict[int, str] = {}
        self.data: Counter[int] = Counter()
        writer.write(PREFACE + frame(SETTINGS, 0, 0, _setting(INITIAL_WINDOW_SIZE, 0)))

    def ask(self, calls: int) -> None:
        """Call GetState so many times."""
        names = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", METHOD.encode())]
        block = header_block([*names, (b"content-type", b"application/grpc"), (b"te", b"trailers")])
        message = REQUEST.SerializeToString()
        for _ in range(calls):
            self._newest += 2
            self._writer.write(frame(HEADERS, END_HEADERS, self._newest, block))
            body = b"\0" + len(message).to_bytes(4, "big") + message
            self._writer.write(frame(DATA, END_STREAM, self._newest, body))

    def open(self) -> None:
        """Take all there is, and whatever comes."""
        self._writer.write(frame(SETTINGS, 0, 0, _setting(INITIAL_WINDOW_SIZE, 2**31 - 1)))
        self._writer.write(frame(WINDOW_UPDATE, 0, 0, (2**31 - 1 - 65_535).to_bytes(4, "big")))

    async def until_ended(self, calls: int) -> None:
        """Read until so many calls have ended."""
        async with asyncio.timeout(30):
            while len(self.statuses) < calls:
                await self._read()

    async def _read(self) -> None:
        head = await self._reader.readexactly(9)
        payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
        if kind == HEADERS:
            fields = dict(self._decoder.decode(payload))
            if flags & END_STREAM:
                self.statuses[stream] = str(fields["grpc-status"])
        elif kind == DATA:
            self.data[stream] += len(payload)

    def close(self) -> None:
        """Go."""
        self._writer.close()


def _setting(name: int, value: int) -> bytes:
    return name.to_bytes(2, "big") + value.to_bytes(4, "big")


async def test_who_reads_nothing_is_refused_more_and_nobody_else_is(tmp_path: Path) -> None:
    async with served(tmp_path, unread_bytes=1_000_000) as (_, address):
        hoarder = Hoarder(*await asyncio.open_connection(address.host, address.port))
        hoarder.ask(500)
        # As many as there is room for wait; the others are refused, though they came in one go with them.
        kept = 1_000_000 // CONTEXT_BYTES
        await hoarder.until_ended(500 - kept)
        assert set(hoarder.statuses.values()) == {str(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])}
        async with grpc.aio.insecure_channel(str(address)) as channel:
            get = channel.unary_unary(METHOD, pb.GetStateRequest.SerializeToString)
            assert len(await get(REQUEST)) > CONTEXT_BYTES
        # Once it reads, it gets what waited, and more.
        hoarder.open()
        await hoarder.until_ended(500)
        hoarder.ask(1)
        await hoarder.until_ended(501)
        answered = [stream for stream, status in hoarder.statuses.items() if status == "0"]
        assert answered == [*range(1, 2 * kept, 2), 1001]
        assert all(hoarder.data[stream] > CONTEXT_BYTES for stream in answered)
        hoarder.close()
