"""What comes to a connection of the bodies of requests."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections import defaultdict

import pytest

from durachart.fronts.http2 import frames as h2
from durachart.fronts.http2.exchange import Exchange
from durachart.fronts.http2.settings import ConnectionSettings
from tests.rpc.http2 import frame
from tests.unit.fronts.http2_peer import (
    HEAD,
    TAIL,
    Frame,
    Peer,
    Scripted,
    data,
    request,
    reset,
    says,
    waits,
)
from tests.virtual_time import in_virtual_time, settle


async def test_a_body_comes_whole_or_in_pieces_as_the_application_wants() -> None:
    bodies = []

    async def whole(exchange: Exchange) -> None:
        bodies.append(exchange.body())

    async def pieces(exchange: Exchange) -> None:
        bodies.append(b"|")
        while piece := await exchange.chunk():
            bodies.append(piece)

    for application in (Scripted(whole, limit=10), Scripted(pieces)):
        peer = Peer(application)
        peer.send(request(1, ends=False), data(1, b"ab"))
        await settle()
        peer.send(data(1, b"cd", ends=True))
        await settle()
    assert bodies == [b"abcd", b"|", b"ab", b"cd"]


async def test_a_body_over_its_limit_runs_at_once_and_costs_nothing_more() -> None:
    asked = asyncio.Event()

    async def run(exchange: Exchange) -> None:
        assert exchange.overflowed
        assert exchange.body() == b""
        await asked.wait()
        exchange.answer(HEAD, b"", TAIL)

    application = Scripted(run, limit=50)
    peer = Peer(application, ConnectionSettings(stream_window=40_000, connection_window=80_000))
    peer.send(request(1, ends=False), data(1, b"x" * 50))
    await settle()
    assert not application.begun
    given = 0
    for _ in range(20):
        peer.send(data(1, b"x" * 10_000))
        given += sum(int.from_bytes(each.payload, "big") for each in await peer.of(h2.WINDOW_UPDATE, 1))
    assert len(application.begun) == 1
    assert given > 150_000
    asked.set()
    assert [each.code for each in await peer.of(h2.RST_STREAM)] == [h2.NO_ERROR]
    assert not peer.connection.busy


@in_virtual_time
async def test_a_body_that_does_not_come_is_given_up() -> None:
    application = Scripted(says(1), limit=50)
    peer = Peer(application)
    peer.send(request(1, ends=False), data(1, b"x"))
    await asyncio.sleep(59)
    assert peer.connection.busy
    await asyncio.sleep(2)
    assert [each.code for each in await peer.of(h2.RST_STREAM)] == [h2.CANCEL]
    assert not application.begun
    assert not peer.connection.busy


async def test_a_streamed_body_is_let_in_as_its_handler_takes_it() -> None:
    asked: asyncio.Queue[None] = asyncio.Queue()
    taken = 0

    async def run(exchange: Exchange) -> None:
        nonlocal taken
        while True:
            await asked.get()
            taken += len(await exchange.chunk())

    peer = Peer(Scripted(run), ConnectionSettings(stream_window=10_000))
    peer.send(request(1, ends=False), *(data(1, b"x" * 1_000) for _ in range(10)))
    given = 0
    for _ in range(10):
        assert 10_000 + given - 10_000 <= taken
        asked.put_nowait(None)
        given += sum(int.from_bytes(each.payload, "big") for each in await peer.of(h2.WINDOW_UPDATE, 1))
    assert taken == given == 10_000
    peer.send(*(data(1, b"x" * 1_000) for _ in range(11)))
    assert [each.code for each in await peer.of(h2.RST_STREAM)] == [h2.FLOW_CONTROL_ERROR]


@pytest.mark.parametrize("limit", [None, 1_000_000])
async def test_padding_is_given_back(limit: int | None) -> None:
    async def run(exchange: Exchange) -> None:
        while await exchange.chunk():
            pass

    peer = Peer(Scripted(run, limit), ConnectionSettings(stream_window=10_000, connection_window=80_000))
    peer.send(request(1, ends=False))
    await peer.received()
    given: dict[int, int] = defaultdict(int)
    for number in range(400):
        payload = b"x" if number % 2 else b""
        peer.send(frame(h2.DATA, h2.PADDED, 1, b"\xff" + payload + bytes(255)))
        for each in await peer.of(h2.WINDOW_UPDATE):
            given[each.stream] += int.from_bytes(each.payload, "big")
    sent = 200 * 257 + 200 * 256
    assert sent - given[1] < 10_000
    assert sent - given[0] < 80_000 // 2
    assert not await peer.of(h2.RST_STREAM)


async def test_what_is_sent_to_streams_that_are_over_is_given_back() -> None:
    application = Scripted(waits)
    peer = Peer(application, ConnectionSettings(connection_window=80_000, stream_window=20_000))
    given = 0
    for stream in range(1, 401, 4):
        # Reset with bytes that nobody took; cut for too many; more for a stream that was reset here.
        peer.send(request(stream, ends=False), data(stream, b"x" * 10_000))
        await settle()
        peer.send(reset(stream))
        peer.send(request(stream + 2, ends=False), data(stream + 2, b"x" * 10_000))
        peer.send(data(stream + 2, b"x" * 10_001), data(stream + 2, b"x" * 10_000))
        came = await peer.of(h2.WINDOW_UPDATE, 0)
        given += sum(int.from_bytes(each.payload, "big") for each in came)
    assert not peer.wire.closing
    assert 0 <= 100 * 40_001 - (given - (80_000 - h2.DEFAULT_WINDOW)) <= 40_000


async def test_requests_that_are_collected_do_not_take_the_window_from_each_other() -> None:
    application = Scripted(says(1), limit=40_000)
    peer = Peer(application, ConnectionSettings(stream_window=10_000, connection_window=80_000))
    streams = range(1, 41, 2)
    peer.send(*(request(stream, ends=False) for stream in streams))
    left = dict.fromkeys(streams, 40_000)
    windows = dict.fromkeys(streams, 10_000)
    windows[0] = h2.DEFAULT_WINDOW
    resets: list[Frame] = []
    while any(left.values()):
        before = sum(left.values())
        for stream in [stream for stream in streams if left[stream]]:
            size = min(1_000, left[stream], windows[stream], windows[0])
            if size:
                left[stream] -= size
                windows[stream] -= size
                windows[0] -= size
                peer.send(data(stream, b"x" * size, ends=not left[stream]))
        for each in await peer.received():
            if each.kind == h2.WINDOW_UPDATE:
                windows[each.stream] += int.from_bytes(each.payload, "big")
            elif each.kind == h2.RST_STREAM:
                resets.append(each)
                left[each.stream] = 0
        assert sum(left.values()) < before
    # What is held has a bound, so that some are refused, which a client does again; the others come through.
    assert {each.code for each in resets} <= {h2.REFUSED_STREAM}
    assert len(application.ended) == len(streams) - len(resets) >= 8
    assert not peer.connection.busy


async def test_bytes_that_come_one_by_one_are_not_kept_one_by_one() -> None:
    peer = Peer(Scripted(waits))
    peer.send(request(1, ends=False))
    await settle()
    tracemalloc.start()
    try:
        peer.send(*[data(1, b"ab")] * 20_000)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 200_000


async def test_trailers_of_a_request_end_it() -> None:
    application = Scripted(says(1), limit=10)
    peer = Peer(application)
    flags = h2.END_HEADERS | h2.END_STREAM
    peer.send(request(1, ends=False), data(1, b"a"), frame(h2.HEADERS, flags, 1, b"\0\x01a\x01b"))
    await settle()
    assert application.ended[0].complete
    assert not peer.connection.busy


async def test_a_body_that_breaks_its_window_is_not_counted_against_others() -> None:
    application = Scripted(says(1), limit=40_000)
    peer = Peer(application, ConnectionSettings(stream_window=10_000, connection_window=80_000))
    for stream in range(1, 81, 2):
        peer.send(request(stream, ends=False), data(stream, b"x" * 10_001))
    assert len(resets := await peer.of(h2.RST_STREAM)) == 40
    assert {each.code for each in resets} == {h2.FLOW_CONTROL_ERROR}
    # The bound is as it was: what is held may be eight times 10,000.
    streams = range(101, 101 + 40, 2)
    peer.send(*(request(stream, ends=False) + data(stream, b"x" * 10_000) for stream in streams))
    assert len(await peer.of(h2.RST_STREAM)) == 20 - 8
