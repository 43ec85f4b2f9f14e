"""One connection of the HTTP/2 server, by frames: windows, turns, ends, and what a hostile peer may cost."""

from __future__ import annotations

import asyncio
import gc
import itertools
import tracemalloc
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durachart.fronts.http2 import frames as h2
from durachart.fronts.http2.exchange import HIGH_BYTES, Exchange, PeerGone
from durachart.fronts.http2.settings import ConnectionSettings
from tests.rpc.http2 import frame
from tests.unit.fronts.http2_peer import (
    HEAD,
    HELLO,
    TAIL,
    Frame,
    Peer,
    Scripted,
    body_of,
    data,
    request,
    reset,
    says,
    setting,
    waits,
    window,
)
from tests.virtual_time import in_virtual_time, settle

KEPT_BACK = setting((h2.INITIAL_WINDOW_SIZE, 0))


def sizes(frames: list[Frame]) -> list[tuple[int, int]]:
    """Stream and size of each DATA frame, in order."""
    return [(each.stream, len(each.payload)) for each in frames if each.kind == h2.DATA]


# --- responses ----------------------------------------------------------------------------------------------


async def test_a_request_is_answered_by_headers_data_and_trailers() -> None:
    peer = Peer(Scripted(says(5)))
    await peer.received()
    peer.send(request(1))
    assert await peer.received() == [
        Frame(h2.HEADERS, h2.END_HEADERS, 1, HEAD),
        Frame(h2.DATA, 0, 1, b"xxxxx"),
        Frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, TAIL),
    ]
    assert not peer.connection.busy


async def test_a_response_waits_for_the_window_of_its_stream() -> None:
    peer = Peer(Scripted(says(10)))
    peer.send(setting((h2.INITIAL_WINDOW_SIZE, 4)), request(1))
    assert sizes(await peer.received()) == [(1, 4)]
    peer.send(window(1, 1))
    assert sizes(await peer.received()) == [(1, 1)]
    peer.send(window(1, 100))
    assert [(each.kind, len(each.payload)) for each in await peer.received()] == [
        (h2.DATA, 5),
        (h2.HEADERS, len(TAIL)),
    ]


async def test_a_stream_without_a_window_holds_no_other_up() -> None:
    peer = Peer(Scripted(says(100)))
    peer.send(KEPT_BACK, request(1), request(3), window(3, 100))
    assert body_of(came := await peer.received(), 3) == b"x" * 100
    assert body_of(came, 1) == b""


async def test_streams_take_turns_when_the_window_of_the_connection_opens() -> None:
    peer = Peer(Scripted(says(2 * h2.LEAST_FRAME_BYTES)))
    peer.send(setting((h2.INITIAL_WINDOW_SIZE, h2.LARGEST_WINDOW)))
    peer.send(*(request(stream) for stream in (1, 3, 5)))
    assert sum(size for _, size in sizes(await peer.received())) == h2.DEFAULT_WINDOW
    peer.send(request(7), request(9))
    await settle()
    peer.send(window(0, 1_000_000))
    # Of the second there was one byte left.
    assert [stream for stream, _ in sizes(await peer.received())] == [3, 5, 7, 9, 5, 7, 9]


async def test_settings_change_the_windows_of_open_streams() -> None:
    peer = Peer(Scripted(says(30)))
    peer.send(setting((h2.INITIAL_WINDOW_SIZE, 10)), request(1))
    assert sizes(await peer.received()) == [(1, 10)]
    # Ten were used, so that five are lacking now.
    peer.send(setting((h2.INITIAL_WINDOW_SIZE, 5)), window(1, 5))
    assert sizes(await peer.received()) == []
    peer.send(setting((h2.INITIAL_WINDOW_SIZE, 8)))
    came = await peer.received()
    assert [each.kind for each in came] == [h2.SETTINGS, h2.DATA]
    assert sizes(came) == [(1, 3)]


async def test_only_the_last_window_of_one_settings_frame_counts() -> None:
    peer = Peer(Scripted(says(30)))
    peer.send(KEPT_BACK, request(1))
    await peer.received()
    peer.send(setting((h2.INITIAL_WINDOW_SIZE, 30), (h2.INITIAL_WINDOW_SIZE, 2)))
    assert sizes(await peer.received()) == [(1, 2)]


async def test_windows_of_many_streams_cannot_be_changed_all_the_time() -> None:
    peer = Peer(Scripted(waits))
    peer.send(*(request(stream) for stream in range(1, 4_000, 2)))
    peer.send(*(setting((h2.INITIAL_WINDOW_SIZE, size)) for size in range(200)))
    assert [each.code for each in await peer.of(h2.GOAWAY)] == [h2.ENHANCE_YOUR_CALM]


async def test_frames_are_as_large_as_the_peer_takes_and_no_larger_than_a_turn() -> None:
    peer = Peer(Scripted(says(200_000)))
    peer.send(setting((h2.INITIAL_WINDOW_SIZE, 1_000_000), (h2.MAX_FRAME_SIZE, h2.MOST_FRAME_BYTES)))
    peer.send(window(0, 1_000_000), request(1))
    assert [size for _, size in sizes(await peer.received())] == [65_536] * 3 + [200_000 - 3 * 65_536]


async def test_header_blocks_that_no_frame_takes_are_continued() -> None:
    long = b"y" * 50_000

    async def run(exchange: Exchange) -> None:
        exchange.answer(HEAD, b"", long)

    peer = Peer(Scripted(run))
    await peer.received()
    peer.send(request(1))
    _, *trailers = await peer.received()
    assert [(each.kind, each.flags) for each in trailers] == [
        (h2.HEADERS, h2.END_STREAM),
        (h2.CONTINUATION, 0),
        (h2.CONTINUATION, 0),
        (h2.CONTINUATION, h2.END_HEADERS),
    ]
    assert b"".join(each.payload for each in trailers) == long
    assert max(len(each.payload) for each in trailers) <= h2.LEAST_FRAME_BYTES


async def test_a_handler_waits_while_its_reader_does_not_read() -> None:
    said = 0

    async def run(exchange: Exchange) -> None:
        nonlocal said
        exchange.start(HEAD)
        for _ in range(100):
            said += 1
            if not exchange.write(b"x" * 10_000):
                await exchange.drained()
        exchange.end(TAIL)

    peer = Peer(Scripted(run))
    peer.send(KEPT_BACK, request(1))
    await settle()
    assert said * 10_000 < HIGH_BYTES + 20_000
    peer.send(window(1, 2_000_000), window(0, 2_000_000))
    assert len(body_of(await peer.received(), 1)) == 1_000_000
    assert not peer.connection.busy


async def test_a_transport_that_is_full_is_neither_written_to_nor_read_from() -> None:
    application = Scripted(says(100))
    peer = Peer(application)
    peer.send(request(1))
    await peer.received()
    peer.connection.pause_writing()
    assert peer.wire.asked == ["pause"]
    peer.send(request(3))  # was read before
    assert sizes(await peer.received()) == []
    peer.connection.resume_writing()
    assert peer.wire.asked == ["pause", "resume"]
    assert sizes(await peer.received()) == [(3, 100)]


async def test_much_that_is_sent_in_one_turn_reaches_the_transport_in_it() -> None:
    async def run(exchange: Exchange) -> None:
        exchange.start(HEAD)
        for _ in range(20):
            exchange.write(b"x" * 65_536)
        assert len(peer.wire.written) > 1_000_000
        exchange.end(TAIL)

    peer = Peer(Scripted(run))
    peer.send(setting((h2.INITIAL_WINDOW_SIZE, 10_000_000)), window(0, 10_000_000), request(1))
    assert len(body_of(await peer.received(), 1)) == 20 * 65_536


@in_virtual_time
async def test_the_rest_of_a_response_that_nobody_takes_is_given_up() -> None:
    peer = Peer(Scripted(says(10)))
    peer.send(KEPT_BACK, request(1))
    await asyncio.sleep(40)
    peer.send(window(1, 1))
    await asyncio.sleep(40)
    assert peer.connection.busy  # something was taken
    peer.send(frame(h2.PING, h2.ACK, 0, bytes(8)))
    await asyncio.sleep(60)
    assert [each.code for each in await peer.of(h2.RST_STREAM)] == [h2.CANCEL]
    assert not peer.connection.busy


# --- requests -----------------------------------------------------------------------------------------------


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


# --- ends ---------------------------------------------------------------------------------------------------


async def test_a_peer_that_cancels_has_its_handler_unwound() -> None:
    application = Scripted(waits)
    peer = Peer(application)
    peer.send(request(1), request(3, ends=False))
    await settle()
    peer.send(reset(1), reset(3))
    await settle()
    assert application.ended == application.begun
    assert len(application.ended) == 2
    assert not peer.connection.busy


@pytest.mark.parametrize("limit", [None, 10])
async def test_streams_that_are_reset_at_once_are_forgotten(limit: int | None) -> None:
    application = Scripted(waits, limit)
    peer = Peer(application, ConnectionSettings(max_streams=10))
    for stream in range(1, 2_000, 4):
        peer.send(request(stream), reset(stream), request(stream + 2, ends=False), reset(stream + 2))
    assert not await peer.of(h2.RST_STREAM)
    assert not application.begun
    assert not peer.connection.busy


async def test_a_stream_counts_until_its_handler_has_ended() -> None:
    ignoring = asyncio.Event()

    async def run(exchange: Exchange) -> None:
        while not ignoring.is_set():
            try:
                await ignoring.wait()
            except asyncio.CancelledError:
                assert exchange.gone
        exchange.answer(HEAD, b"late", TAIL)

    peer = Peer(Scripted(run), ConnectionSettings(max_streams=2))
    peer.send(request(1), request(3))
    await peer.received()
    peer.send(reset(1), reset(3), request(5))
    assert [(each.stream, each.code) for each in await peer.received()] == [(5, h2.REFUSED_STREAM)]
    ignoring.set()
    assert await peer.received() == []
    assert not peer.connection.busy
    peer.send(request(7))
    assert body_of(await peer.received(), 7) == b"late"


async def test_a_handler_that_fails_resets_its_stream_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def run(exchange: Exchange) -> None:
        if exchange.head.path == b"/bad":
            raise RuntimeError("a bug")
        exchange.answer(HEAD, b"fine", TAIL)

    peer = Peer(Scripted(run))
    peer.send(request(1, path=b"/bad"), request(3))
    came = await peer.received()
    assert [(each.stream, each.code) for each in came if each.kind == h2.RST_STREAM] == [
        (1, h2.INTERNAL_ERROR)
    ]
    assert body_of(came, 3) == b"fine"
    assert "a bug" in caplog.text


async def test_a_request_that_ends_after_its_response_does_not_run_again() -> None:
    application = Scripted(says(10))
    peer = Peer(application)
    peer.send(KEPT_BACK, request(1, ends=False))
    await settle()
    peer.send(data(1, b"", ends=True), window(1, 10))
    came = await peer.received()
    assert len(application.begun) == 1
    assert body_of(came, 1) == b"x" * 10
    assert not [each for each in came if each.kind == h2.RST_STREAM]
    assert not peer.connection.busy


async def test_who_does_not_end_a_request_is_told_that_its_rest_is_not_wanted() -> None:
    peer = Peer(Scripted(says(1)))
    peer.send(request(1, ends=False))
    assert [each.code for each in await peer.of(h2.RST_STREAM)] == [h2.NO_ERROR]
    # What is on its way is dropped without a word.
    peer.send(data(1, b"late", ends=True))
    assert await peer.received() == []


async def test_streams_that_wait_for_the_connection_are_let_go_of_when_they_are_reset() -> None:
    application = Scripted(says(70_000))
    peer = Peer(application)
    peer.send(setting((h2.INITIAL_WINDOW_SIZE, 100_000)), request(1))
    await settle()
    for stream in range(3, 43, 2):
        peer.send(request(stream, path=b"/left"))
        await settle()
        peer.send(reset(stream))
        await settle()
    application.begun.clear()
    application.ended.clear()
    gc.collect()
    kept = [each for each in gc.get_objects() if isinstance(each, Exchange) and each.head.path == b"/left"]
    assert not kept


async def test_a_connection_that_is_lost_ends_every_handler() -> None:
    async def run(exchange: Exchange) -> None:
        exchange.start(HEAD)
        if exchange.head.path == b"/writes":
            exchange.write(b"x" * 1_000_000)
            await exchange.drained()
        else:
            await exchange.chunk()

    application = Scripted(run)
    peer = Peer(application)
    peer.send(request(1, path=b"/writes"), request(3, ends=False), request(5, ends=False))
    await settle()
    peer.send(request(7))  # its handler has not begun
    peer.connection.connection_lost(None)
    await settle()
    assert len(application.ended) == 3
    assert peer.lost == 1
    assert not peer.connection.busy
    for exchange in application.ended:
        # Who goes on all the same says it to nobody.
        exchange.write(b"more")
        exchange.end(TAIL)
        with pytest.raises(PeerGone):
            await exchange.chunk()


async def test_a_draining_connection_ends_what_is_under_way_and_takes_nothing_new() -> None:
    go_on = asyncio.Event()

    async def run(exchange: Exchange) -> None:
        await go_on.wait()
        exchange.answer(HEAD, b"last", TAIL)

    peer = Peer(Scripted(run))
    peer.send(request(1))
    await peer.received()
    peer.connection.go_away()
    peer.send(request(3))
    came = await peer.received()
    assert [(each.kind, each.code) for each in came] == [
        (h2.GOAWAY, h2.NO_ERROR),
        (h2.RST_STREAM, h2.REFUSED_STREAM),
    ]
    assert came[0].payload[:4] == b"\0\0\0\x01"
    assert not peer.wire.closing
    go_on.set()
    assert body_of(await peer.received(), 1) == b"last"
    assert peer.lost == 1


async def test_an_idle_connection_drains_at_once() -> None:
    peer = Peer(Scripted(says(1)))
    peer.connection.go_away()
    assert [each.code for each in await peer.of(h2.GOAWAY)] == [h2.NO_ERROR]
    assert peer.lost == 1


@in_virtual_time
async def test_a_silent_peer_is_asked_and_given_up_when_it_says_nothing() -> None:
    application = Scripted(waits)
    peer = Peer(application)
    peer.send(request(1))
    await peer.received()
    await asyncio.sleep(61)
    ping = (await peer.of(h2.PING))[0]
    peer.send(frame(h2.PING, h2.ACK, 0, ping.payload))
    await asyncio.sleep(79)
    assert not peer.wire.closing
    await asyncio.sleep(2)
    assert peer.lost == 1
    assert application.ended == application.begun


@in_virtual_time
async def test_who_takes_bytes_is_there_even_if_it_says_nothing() -> None:
    peer = Peer(Scripted(waits))
    peer.send(request(1))
    await asyncio.sleep(61)
    assert await peer.of(h2.PING)
    peer.connection.pause_writing()
    await asyncio.sleep(10)
    peer.connection.resume_writing()
    await asyncio.sleep(40)
    assert not peer.wire.closing


@in_virtual_time
@pytest.mark.parametrize("said", [b"", HELLO[:10], HELLO[:24]])
async def test_who_does_not_greet_is_not_kept(said: bytes) -> None:
    peer = Peer(Scripted(waits), first=said)
    await asyncio.sleep(11)
    assert [each.code for each in await peer.of(h2.GOAWAY)] == [h2.SETTINGS_TIMEOUT]
    assert peer.lost == 1


# --- what breaks the protocol -------------------------------------------------------------------------------

BLOCK = request(1)[9:]
END_HEADERS, END_STREAM = h2.END_HEADERS, h2.END_STREAM
OPEN = request(1, ends=False)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(h2.DATA, 0, 0, b"x"), h2.PROTOCOL_ERROR),
        (frame(h2.DATA, 0, 1, b"x"), h2.PROTOCOL_ERROR),
        (OPEN + frame(h2.DATA, h2.PADDED, 1, b"\x03xx"), h2.PROTOCOL_ERROR),
        (OPEN + frame(h2.DATA, h2.PADDED, 1, b""), h2.PROTOCOL_ERROR),
        (frame(h2.HEADERS, END_HEADERS, 0, BLOCK), h2.PROTOCOL_ERROR),
        (frame(h2.HEADERS, END_HEADERS, 2, BLOCK), h2.PROTOCOL_ERROR),
        (request(3) + request(1), h2.PROTOCOL_ERROR),
        (frame(h2.HEADERS, END_HEADERS | h2.PADDED, 1, b"\x0a" + bytes(9)), h2.PROTOCOL_ERROR),
        (frame(h2.HEADERS, END_HEADERS | h2.PRIORITISED, 1, b"\0\0\0\x01\x10" + BLOCK), h2.PROTOCOL_ERROR),
        (frame(h2.HEADERS, END_HEADERS | h2.PRIORITISED, 1, b"\0\0"), h2.FRAME_SIZE_ERROR),
        (frame(h2.HEADERS, END_HEADERS, 1, b"\xff"), h2.COMPRESSION_ERROR),
        (frame(h2.HEADERS, END_HEADERS, 1, b"\x00\x7f\x80"), h2.COMPRESSION_ERROR),
        (frame(h2.HEADERS, END_HEADERS, 1, b"\x3f\xe2\x1f" + BLOCK), h2.COMPRESSION_ERROR),
        (frame(h2.HEADERS, 0, 1, BLOCK) + frame(h2.PING, 0, 0, bytes(8)), h2.PROTOCOL_ERROR),
        (frame(h2.HEADERS, 0, 1, BLOCK) + frame(h2.CONTINUATION, 0, 3, b""), h2.PROTOCOL_ERROR),
        (frame(h2.CONTINUATION, END_HEADERS, 1, BLOCK), h2.PROTOCOL_ERROR),
        (frame(h2.HEADERS, 0, 1) + frame(h2.CONTINUATION, 0, 1) * 16, h2.ENHANCE_YOUR_CALM),
        (frame(h2.HEADERS, 0, 1) + frame(h2.CONTINUATION, 0, 1, bytes(16_384)) * 17, h2.ENHANCE_YOUR_CALM),
        (request(1) + request(1), h2.STREAM_CLOSED),
        (frame(h2.PRIORITY, 0, 0, bytes(5)), h2.PROTOCOL_ERROR),
        (frame(h2.RST_STREAM, 0, 0, bytes(4)), h2.PROTOCOL_ERROR),
        (frame(h2.RST_STREAM, 0, 1, bytes(4)), h2.PROTOCOL_ERROR),
        (OPEN + frame(h2.RST_STREAM, 0, 1, bytes(3)), h2.FRAME_SIZE_ERROR),
        (frame(h2.SETTINGS, h2.ACK, 0, bytes(6)), h2.FRAME_SIZE_ERROR),
        (frame(h2.SETTINGS, 0, 1), h2.PROTOCOL_ERROR),
        (frame(h2.SETTINGS, 0, 0, bytes(5)), h2.FRAME_SIZE_ERROR),
        (setting((h2.ENABLE_PUSH, 2)), h2.PROTOCOL_ERROR),
        (setting((h2.INITIAL_WINDOW_SIZE, 2**31)), h2.FLOW_CONTROL_ERROR),
        (setting((h2.MAX_FRAME_SIZE, 16_383)), h2.PROTOCOL_ERROR),
        (setting((h2.MAX_FRAME_SIZE, 2**24)), h2.PROTOCOL_ERROR),
        (OPEN + window(1, 1) + setting((h2.INITIAL_WINDOW_SIZE, 2**31 - 1)), h2.FLOW_CONTROL_ERROR),
        (frame(h2.PUSH_PROMISE, END_HEADERS, 1, bytes(4)), h2.PROTOCOL_ERROR),
        (frame(h2.PING, 0, 1, bytes(8)), h2.PROTOCOL_ERROR),
        (frame(h2.PING, 0, 0, bytes(7)), h2.FRAME_SIZE_ERROR),
        (frame(h2.GOAWAY, 0, 1, bytes(8)), h2.PROTOCOL_ERROR),
        (frame(h2.GOAWAY, 0, 0, bytes(7)), h2.FRAME_SIZE_ERROR),
        (window(0, 0), h2.PROTOCOL_ERROR),
        (window(0, 2**31 - 1), h2.FLOW_CONTROL_ERROR),
        (window(1, 1), h2.PROTOCOL_ERROR),
        (OPEN + frame(h2.WINDOW_UPDATE, 0, 1, bytes(3)), h2.FRAME_SIZE_ERROR),
        (frame(h2.DATA, 0, 1, bytes(16_385)), h2.FRAME_SIZE_ERROR),
    ],
)
async def test_what_breaks_the_connection_ends_it_with_its_code(sent: bytes, code: int) -> None:
    application = Scripted(waits)
    peer = Peer(application)
    peer.send(sent)
    assert [each.code for each in await peer.of(h2.GOAWAY)] == [code]
    assert peer.lost == 1
    assert not peer.connection.busy


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (request(1) + data(1, b"x"), h2.STREAM_CLOSED),
        (OPEN + reset(1) + data(1, b"x"), h2.STREAM_CLOSED),
        (OPEN + frame(h2.HEADERS, END_HEADERS, 1, b""), h2.PROTOCOL_ERROR),
        (OPEN + frame(h2.HEADERS, END_HEADERS | END_STREAM, 1, b"\x84"), h2.PROTOCOL_ERROR),
        (OPEN + window(1, 0), h2.PROTOCOL_ERROR),
        (OPEN + window(1, 2**31 - 1), h2.FLOW_CONTROL_ERROR),
        (frame(h2.PRIORITY, 0, 1, bytes(4)), h2.FRAME_SIZE_ERROR),
        (frame(h2.PRIORITY, 0, 1, b"\0\0\0\x01\x10"), h2.PROTOCOL_ERROR),
        (request(1, more=((b"content-length", b"1"),)), h2.PROTOCOL_ERROR),
        (
            request(1, ends=False, more=((b"content-length", b"2"),)) + data(1, b"x", ends=True),
            h2.PROTOCOL_ERROR,
        ),
        (request(1, more=((b"connection", b"close"),)), h2.PROTOCOL_ERROR),
        (request(1, path=b""), h2.PROTOCOL_ERROR),
    ],
)
async def test_what_breaks_a_stream_resets_it_with_its_code(sent: bytes, code: int) -> None:
    peer = Peer(Scripted(waits))
    peer.send(sent)
    assert [(each.stream, each.code) for each in await peer.of(h2.RST_STREAM)] == [(1, code)]
    assert not peer.connection.busy
    assert not peer.wire.closing


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01", HELLO[:24] + frame(h2.PING, 0, 0, bytes(8)), HELLO[:24] + OPEN]
)
async def test_who_does_not_greet_as_http2_does_is_sent_away(sent: bytes) -> None:
    peer = Peer(Scripted(waits), first=sent)
    assert [each.code for each in await peer.of(h2.GOAWAY)] == [h2.PROTOCOL_ERROR]
    assert peer.lost == 1


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"G", b"PO", b"PRI * HTTP/1.1\r\n"])
async def test_who_speaks_an_older_http_is_answered_in_it(sent: bytes) -> None:
    peer = Peer(Scripted(waits), first=b"")
    for byte in sent:
        peer.send(bytes((byte,)))
    await settle()
    head, _, body = peer.wire.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 505 HTTP Version Not Supported\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert b"gRPC" in body
    assert peer.lost == 1


@pytest.mark.parametrize(
    "sent",
    [
        frame(0x20, 0xFF, 5, b"unknown"),
        setting((0xFF, 7)),
        frame(h2.PING, 0xFE, 0, bytes(8)),
        frame(h2.HEADERS, 0, 1, BLOCK[:7]) + frame(h2.CONTINUATION, END_HEADERS, 1, BLOCK[7:]) + reset(1),
        frame(h2.HEADERS, END_HEADERS | h2.PADDED | h2.PRIORITISED, 1, b"\x02" + bytes(5) + BLOCK + bytes(2)),
        request(1, ends=False) + reset(1) + window(1, 5) + frame(h2.PRIORITY, 0, 1, bytes(5)),
    ],
)
async def test_what_may_be_sent_is_taken(sent: bytes) -> None:
    peer = Peer(Scripted(waits))
    peer.send(sent)
    came = await peer.received()
    assert not [each for each in came if each.kind in {h2.GOAWAY, h2.RST_STREAM}]


@pytest.mark.parametrize(
    "sent",
    [
        frame(h2.PING, 0, 0, bytes(8)),
        frame(h2.PING, h2.ACK, 0, bytes(8)),
        frame(h2.SETTINGS, 0, 0),
        frame(h2.SETTINGS, h2.ACK, 0),
        frame(h2.PRIORITY, 0, 9, bytes(5)),
        frame(h2.GOAWAY, 0, 0, bytes(8)),
        frame(0x20, 0, 0),
        data(1, b""),
        frame(h2.DATA, h2.PADDED, 1, b"\x02\0\0"),
        data(3, b"x"),
        reset(3),
        reset(5),
        data(5, b""),
    ],
)
async def test_a_flood_of_frames_that_carry_nothing_ends_the_connection(sent: bytes) -> None:
    async def run(exchange: Exchange) -> None:
        while exchange.head.path == b"/for-ever":
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                if over:
                    raise
        await waits(exchange)

    over = False
    application = Scripted(run)
    peer = Peer(application)
    peer.send(OPEN, request(3, ends=False), request(5, ends=False, path=b"/for-ever"))
    await settle()
    # The first is open, the second over; the third is over for the peer, but not for its handler.
    peer.send(reset(3), reset(5))
    await settle()
    peer.send(sent * 900)
    assert not await peer.of(h2.GOAWAY)
    peer.send(sent * 200)
    assert [each.code for each in await peer.of(h2.GOAWAY)] == [h2.ENHANCE_YOUR_CALM]
    assert peer.lost == 1
    over = True
    for exchange in application.begun:
        if exchange.task is not None:
            exchange.task.cancel()
    await settle()


async def test_calls_that_end_on_both_sides_at_once_are_no_flood() -> None:
    peer = Peer(Scripted(says(1)))
    peer.send(window(0, 10_000))
    for first in (1, 10_001):
        streams = range(first, first + 4_000, 2)
        peer.send(*(request(stream) for stream in streams))
        await settle()
        peer.send(*(reset(stream) for stream in streams))
    assert not await peer.of(h2.GOAWAY)
    assert not peer.connection.busy


async def test_a_ping_for_each_round_trip_of_data_is_no_flood() -> None:
    async def run(exchange: Exchange) -> None:
        exchange.start(HEAD)
        while await exchange.chunk():
            exchange.write(b"x")

    peer = Peer(Scripted(run))
    peer.send(request(1, ends=False))
    for _ in range(1_500):
        peer.send(data(1, b"x"))
        for _ in range(5):
            await asyncio.sleep(0)
        peer.send(frame(h2.PING, 0, 0, bytes(8)))
    came = await peer.received()
    assert len([each for each in came if each.kind == h2.PING]) == 1_500
    assert not [each for each in came if each.kind == h2.GOAWAY]


# --- properties ---------------------------------------------------------------------------------------------


async def _echo(exchange: Exchange) -> None:
    exchange.start(HEAD)
    while piece := await exchange.chunk():
        if not exchange.write(piece):
            await exchange.drained()
    exchange.end(TAIL)


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
