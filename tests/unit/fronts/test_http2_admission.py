"""Which requests run while their peer does not read the responses: as many as there is room for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durachart.fronts.http2 import frames as h2
from durachart.fronts.http2.exchange import Exchange
from durachart.fronts.http2.settings import ConnectionSettings
from tests.rpc.http2 import frame
from tests.unit.fronts.http2_peer import (
    HEAD,
    KEPT_BACK,
    TAIL,
    Peer,
    Run,
    Scripted,
    data,
    request,
    reset,
    setting,
    window,
)
from tests.virtual_time import in_virtual_time, settle

ROOM = 64 * 1024
SETTINGS = ConnectionSettings(response_room=ROOM)
EACH = 1024
MOST = ROOM // EACH


class Whole(Scripted):
    """Every response is one message."""

    def begin(self, exchange: Exchange) -> None:
        super().begin(exchange)
        exchange.whole = True

    @property
    def streams(self) -> list[int]:
        """Those that were run, in order."""
        return [exchange.stream for exchange in self.begun]


def answers(size: int = EACH) -> Run:
    async def run(exchange: Exchange) -> None:
        exchange.answer(HEAD, b"x" * size, TAIL)

    return run


async def unread(application: Scripted, count: int, settings: ConnectionSettings = SETTINGS) -> Peer:
    """A peer that has asked for so many, one after the other, and lets nothing of the responses out."""
    peer = Peer(application, settings)
    peer.send(KEPT_BACK)
    for number in range(count):
        peer.send(request(2 * number + 1))
        await settle()
    return peer


async def test_no_more_run_than_there_is_room_for_their_responses() -> None:
    application = Whole(answers())
    peer = await unread(application, 1_000)
    assert len(application.begun) == MOST
    # Of what is let out, the room is used again, in the order in which they came.
    for number in range(10):
        peer.send(window(2 * number + 1, EACH))
    await settle()
    assert application.streams == [2 * number + 1 for number in range(MOST + 10)]
    peer.send(setting((h2.INITIAL_WINDOW_SIZE, 1_000_000)), window(0, 10_000_000))
    await peer.received()
    assert application.streams == [2 * number + 1 for number in range(1_000)]
    assert not peer.connection.busy


async def test_more_may_be_under_way_when_responses_are_small() -> None:
    go = asyncio.Event()

    async def run(exchange: Exchange) -> None:
        await go.wait()
        exchange.answer(HEAD, b"x" * (10 * EACH), TAIL)

    application = Whole(run)
    peer = Peer(application, SETTINGS)
    peer.send(KEPT_BACK, *[request(2 * number + 1) for number in range(2_000)])
    await settle()
    assert len(application.begun) == 1024
    # They turn out to be large: from now on it is that which is expected.
    go.set()
    peer.send(setting((h2.INITIAL_WINDOW_SIZE, 1_000_000)), window(0, 100_000_000))
    while len(application.ended) < 2_000:
        await settle()
    go.clear()
    peer.send(*[request(2 * number + 1) for number in range(2_000, 2_100)])
    await settle()
    assert len(application.begun) == 2_000 + ROOM // (10 * EACH)
    go.set()


async def test_one_response_may_be_larger_than_the_room() -> None:
    application = Whole(answers(2 * ROOM))
    peer = await unread(application, 3)
    assert application.streams == [1]
    peer.send(setting((h2.INITIAL_WINDOW_SIZE, 1_000_000)), window(0, 10_000_000))
    await peer.received()
    assert application.streams == [1, 3, 5]


async def test_responses_that_stream_do_not_wait_for_their_turn() -> None:
    class Mixed(Whole):
        def begin(self, exchange: Exchange) -> None:
            exchange.whole = exchange.head.path == b"/a"

    application = Mixed(answers())
    peer = await unread(application, MOST + 1)
    peer.send(request(999, path=b"/watch"))
    await settle()
    assert application.streams[MOST:] == [999]


@pytest.mark.parametrize("how", ["reset", "lost", "broken"])
async def test_a_request_that_is_given_up_while_it_waits_never_runs(how: str) -> None:
    application = Whole(answers())
    peer = await unread(application, MOST + 10)
    if how == "reset":
        peer.send(*[reset(2 * number + 1) for number in range(MOST, MOST + 9)])
    elif how == "lost":
        peer.connection.abort()
    else:
        peer.send(data(0, b"x"))
    await settle()
    peer.send(setting((h2.INITIAL_WINDOW_SIZE, 1_000_000)), window(0, 10_000_000))
    await settle()
    assert application.streams[MOST:] == ([2 * (MOST + 9) + 1] if how == "reset" else [])
    assert not peer.connection.busy


async def test_what_ends_before_it_began_gives_its_room_back() -> None:
    application = Whole(answers())
    peer = await unread(application, MOST - 1)
    for number in range(1_000, 1_100):
        peer.send(request(2 * number + 1), reset(2 * number + 1))
    peer.send(request(9_999), request(10_001))
    await settle()
    assert application.streams[MOST - 1 :] == [9_999]


@in_virtual_time
async def test_a_response_that_is_given_up_gives_its_room_back() -> None:
    application = Whole(answers())
    peer = await unread(application, MOST + 5)
    await asyncio.sleep(50)
    peer.send(frame(h2.PING, h2.ACK, 0, bytes(8)))  # it is there
    assert len(application.begun) == MOST
    await asyncio.sleep(11)
    assert application.streams[MOST:] == [2 * number + 1 for number in range(MOST, MOST + 5)]


@pytest.mark.parametrize("ends", ["error", "silence"])
async def test_a_request_that_fails_gives_its_room_back(ends: str) -> None:
    async def run(exchange: Exchange) -> None:
        if ends == "error":
            raise ValueError("a bug")

    application = Whole(run)
    peer = Peer(application, ConnectionSettings(response_room=4 * 1024))
    for number in range(5_000):
        peer.send(request(2 * number + 1))
    await settle()
    assert len(application.begun) == 5_000
    assert not peer.connection.busy


async def test_bodies_of_requests_that_wait_are_bounded() -> None:
    """What waits counts as what is collected does."""
    settings = ConnectionSettings(response_room=ROOM, connection_window=100_000)
    application = Whole(answers(), limit=50_000)
    peer = await unread(application, MOST, settings)
    await peer.received()
    for number in range(1_000, 1_010):
        peer.send(request(2 * number + 1, ends=False))
        for _ in range(3):
            peer.send(data(2 * number + 1, b"x" * 10_000))
        peer.send(data(2 * number + 1, b"", ends=True))
        await settle()
    refused: list[Any] = [each.code for each in await peer.of(h2.RST_STREAM)]
    assert refused == [h2.REFUSED_STREAM] * 7
    peer.send(setting((h2.INITIAL_WINDOW_SIZE, 1_000_000)), window(0, 10_000_000))
    await settle()
    assert len(application.begun) == MOST + 3
