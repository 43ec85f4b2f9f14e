"""How streams and connections end."""

from __future__ import annotations

import asyncio
import gc

import pytest

from durachart.fronts.http2 import frames as h2
from durachart.fronts.http2.exchange import Exchange, PeerGone
from durachart.fronts.http2.settings import ConnectionSettings
from tests.rpc.http2 import frame
from tests.unit.fronts.http2_peer import (
    HEAD,
    HELLO,
    KEPT_BACK,
    TAIL,
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
