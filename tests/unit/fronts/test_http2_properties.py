"""What holds of a connection however bytes are cut and windows are opened."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from durachart.fronts.http2 import frames as h2
from durachart.fronts.http2.exchange import Exchange
from tests.rpc.http2 import frame
from tests.unit.fronts.http2_peer import (
    HEAD,
    HELLO,
    TAIL,
    Peer,
    Scripted,
    body_of,
    data,
    request,
    setting,
    window,
)
from tests.virtual_time import in_virtual_time, settle


async def _echo(exchange: Exchange) -> None:
    exchange.start(HEAD)
    while piece := await exchange.chunk():
        if not exchange.write(piece):
            await exchange.drained()
    exchange.end(TAIL)


BLOCK = request(1)[9:]
END_HEADERS, END_STREAM = h2.END_HEADERS, h2.END_STREAM
CONVERSATION = b"".join(
    [
        HELLO,
        request(1, ends=False),
        data(1, b"one"),
        frame(h2.HEADERS, 0, 3, BLOCK[:5]),
        frame(h2.CONTINUATION, END_HEADERS, 3, BLOCK[5:]),
        frame(h2.PING, 0, 0, b"12345678"),
        frame(h2.DATA, h2.PADDED, 3, b"\x03three\0\0\0"),
        setting((h2.INITIAL_WINDOW_SIZE, 100)),
        data(1, b"x" * 300, ends=True),
        window(1, 1_000),
        data(3, b"", ends=True),
    ]
)


@settings(max_examples=50)
@given(cuts=st.sets(st.integers(1, len(CONVERSATION) - 1), max_size=40))
@in_virtual_time
async def test_how_bytes_are_cut_makes_no_difference(cuts: set[int]) -> None:
    peer = Peer(Scripted(_echo), first=b"")
    places = [0, *sorted(cuts), len(CONVERSATION)]
    for begin, end in itertools.pairwise(places):
        peer.send(CONVERSATION[begin:end])
        if begin % 2:
            await settle()
    came = await peer.received()
    assert body_of(came, 1) == b"one" + b"x" * 300
    assert body_of(came, 3) == b"three"
    assert [each.payload for each in came if each.kind == h2.PING] == [b"12345678"]
    ended = {each.stream for each in came if each.kind == h2.HEADERS and each.flags & END_STREAM}
    assert ended == {1, 3}
    assert not peer.connection.busy


async def test_one_byte_at_a_time_is_enough() -> None:
    peer = Peer(Scripted(_echo), first=b"")
    for at in range(len(CONVERSATION)):
        peer.send(CONVERSATION[at : at + 1])
    assert body_of(await peer.received(), 1) == b"one" + b"x" * 300


@settings(max_examples=60)
@given(
    first=st.integers(0, 40_000),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("window"), st.sampled_from([0, 1, 3, 5]), st.integers(1, 60_000)),
            st.tuples(st.just("initial"), st.just(0), st.integers(0, 60_000)),
            st.tuples(st.just("write"), st.sampled_from([1, 3, 5]), st.integers(1, 50_000)),
            st.tuples(st.just("full"), st.just(0), st.integers(0, 1)),
        ),
        max_size=30,
    ),
)
@in_virtual_time
async def test_a_peer_gets_exactly_what_was_written_within_its_windows(
    first: int, steps: list[tuple[str, int, int]]
) -> None:
    queues: dict[int, asyncio.Queue[bytes]] = {}

    async def run(exchange: Exchange) -> None:
        queue = queues[exchange.stream] = asyncio.Queue()
        exchange.start(HEAD)
        while piece := await queue.get():
            if not exchange.write(piece):
                await exchange.drained()
        exchange.end(TAIL)

    peer = Peer(Scripted(run), first=HELLO + setting((h2.INITIAL_WINDOW_SIZE, first)))
    streams = (1, 3, 5)
    peer.send(*(request(stream) for stream in streams))
    windows = {0: h2.DEFAULT_WINDOW, **dict.fromkeys(streams, first)}
    written = dict.fromkeys(streams, b"")
    got = dict.fromkeys(streams, b"")
    initial = first

    async def take() -> None:
        for each in await peer.received():
            if each.kind == h2.DATA:
                got[each.stream] += each.payload
                windows[0] -= len(each.payload)
                windows[each.stream] -= len(each.payload)
                assert windows[0] >= 0
                assert windows[each.stream] >= 0

    await take()
    for kind, stream, size in steps:
        if kind == "window":
            windows[stream] += size
            peer.send(window(stream, size))
        elif kind == "initial":
            for each in streams:
                windows[each] += size - initial
            initial = size
            peer.send(setting((h2.INITIAL_WINDOW_SIZE, size)))
        elif kind == "write":
            piece = bytes([len(written[stream]) % 251]) * size
            written[stream] += piece
            queues[stream].put_nowait(piece)
        elif size:
            peer.connection.pause_writing()
        else:
            peer.connection.resume_writing()
        await take()
    peer.connection.resume_writing()
    for stream in (0, *streams):
        windows[stream] += 3_000_000
        peer.send(window(stream, 3_000_000))
    await take()
    for stream in streams:
        queues[stream].put_nowait(b"")
    await take()
    assert got == written
    assert not peer.connection.busy
