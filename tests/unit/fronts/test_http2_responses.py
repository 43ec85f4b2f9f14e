"""What leaves a connection: windows, turns, frames."""

from __future__ import annotations

import asyncio

from durachart.fronts.http2 import frames as h2
from durachart.fronts.http2.exchange import HIGH_BYTES, Exchange
from tests.rpc.http2 import frame
from tests.unit.fronts.http2_peer import (
    HEAD,
    KEPT_BACK,
    TAIL,
    Frame,
    Peer,
    Scripted,
    body_of,
    request,
    reset,
    says,
    setting,
    waits,
    window,
)
from tests.virtual_time import in_virtual_time, settle


def sizes(frames: list[Frame]) -> list[tuple[int, int]]:
    """Stream and size of each DATA frame, in order."""
    return [(each.stream, len(each.payload)) for each in frames if each.kind == h2.DATA]


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
    peer = Peer(Scripted(says(50_000)))
    peer.send(KEPT_BACK, request(1))
    await asyncio.sleep(40)
    peer.send(window(1, 16 * 1024))
    await asyncio.sleep(40)
    assert peer.connection.busy  # something was taken
    peer.send(frame(h2.PING, h2.ACK, 0, bytes(8)))
    await asyncio.sleep(20)
    peer.send(window(1, 1))  # which is not worth while
    await asyncio.sleep(40)
    assert [each.code for each in await peer.of(h2.RST_STREAM)] == [h2.CANCEL]
    assert not peer.connection.busy


@in_virtual_time
async def test_what_is_left_of_complete_responses_is_counted_until_it_is_taken_or_given_up() -> None:
    peer = Peer(application := Scripted(says(1_000)))
    peer.send(KEPT_BACK, *[request(stream) for stream in (1, 3, 5, 7)])
    await settle()
    first = application.begun[0]
    assert first.unread_bytes == 4_000
    peer.send(window(1, 600))
    await settle()
    assert first.unread_bytes == 3_400
    peer.send(window(1, 400), reset(3))
    await settle()
    assert first.unread_bytes == 2_000
    peer.send(reset(3), window(1, 1))  # which are over
    await asyncio.sleep(59)
    peer.send(frame(h2.PING, h2.ACK, 0, bytes(8)))
    assert first.unread_bytes == 2_000
    await asyncio.sleep(2)
    assert first.unread_bytes == 0
    peer.send(request(9))
    await settle()
    assert first.unread_bytes == 1_000
    peer.connection.abort()
    await settle()
    assert first.unread_bytes == 0


async def test_what_waits_of_a_response_under_way_is_no_complete_response() -> None:
    ends = asyncio.Event()

    async def run(exchange: Exchange) -> None:
        exchange.start(HEAD)
        exchange.write(b"x" * 1_000)
        await ends.wait()
        exchange.end(TAIL)

    peer = Peer(application := Scripted(run))
    peer.send(KEPT_BACK, request(1))
    await settle()
    assert application.begun[0].unread_bytes == 0
    ends.set()
    await settle()
    assert application.begun[0].unread_bytes == 1_000
