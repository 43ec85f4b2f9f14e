"""What a peer may send, and what ends its stream or its connection."""

from __future__ import annotations

import asyncio

import pytest

from durachart.fronts.http2 import frames as h2
from durachart.fronts.http2.exchange import Exchange
from tests.rpc.http2 import frame
from tests.unit.fronts.http2_peer import (
    HEAD,
    HELLO,
    Peer,
    Scripted,
    data,
    request,
    reset,
    says,
    setting,
    waits,
    window,
)
from tests.virtual_time import settle

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
