"""Reading bodies within bounds, and noticing who left."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from durachart.fronts.http_body import ClientGone, Envelopes, RequestBody, only_message
from durachart.rpc.status import RpcError

GONE = {"type": "http.disconnect"}


class Client:
    """What an ASGI server would deliver: chunks, then the end, then silence until it leaves.

    Attributes:
        received: How many events were taken.
    """

    def __init__(self, chunks: Sequence[bytes], *, complete: bool = True) -> None:
        self._events: list[dict[str, Any]] = [
            {"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks
        ]
        if complete:
            self._events.append({"type": "http.request", "body": b"", "more_body": False})
        self.received = 0
        self.left = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        if self._events:
            self.received += 1
            return self._events.pop(0)
        await self.left.wait()
        return GONE


def soon() -> float:
    return asyncio.get_running_loop().time() + 60


def envelope(message: bytes, flags: int = 0) -> bytes:
    return bytes((flags,)) + len(message).to_bytes(4, "big") + message


async def test_a_body_is_put_together_from_its_pieces() -> None:
    assert await RequestBody(Client([b"a", b"", b"bc"]).receive).read_all(10, soon()) == b"abc"
    assert await RequestBody(Client([]).receive).read_all(10, soon()) == b""


async def test_a_body_over_its_bound_is_given_up_at_once() -> None:
    client = Client([b"x" * 6] * 100)
    with pytest.raises(RpcError) as refused:
        await RequestBody(client.receive).read_all(10, soon())
    assert refused.value.reason == "MESSAGE_TOO_LARGE"
    assert client.received == 2


async def test_a_body_that_does_not_come_is_given_up_in_time() -> None:
    client = Client([b"a"], complete=False)
    with pytest.raises(RpcError) as late:
        await RequestBody(client.receive).read_all(10, asyncio.get_running_loop().time())
    assert late.value.reason == "DEADLINE_EXCEEDED"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_who_leaves_before_the_end_is_gone() -> None:
    client = Client([b"a"], complete=False)
    client.left.set()
    with pytest.raises(ClientGone):
        await RequestBody(client.receive).read_all(10, soon())


async def test_who_leaves_during_the_call_cancels_it() -> None:
    client = Client([b"a"])
    body = RequestBody(client.receive)
    await body.read_all(10, soon())
    ended = "not at all"
    async with body:
        client.left.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            ended = "cancelled"
            raise
    assert ended == "cancelled"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancellation_from_elsewhere_is_raised_on() -> None:
    body = RequestBody(Client([]).receive)

    async def call() -> None:
        await body.read_all(10, soon())
        async with body:
            await asyncio.get_running_loop().create_future()

    calling = asyncio.create_task(call())
    await asyncio.sleep(0)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling


async def test_a_streamed_body_is_read_message_by_message() -> None:
    stream = envelope(b"one") + envelope(b"") + envelope(b"two")
    client = Client([stream[index : index + 1] for index in range(len(stream))])
    async with RequestBody(client.receive) as body:
        assert [message async for message in Envelopes(body, 10).each()] == [b"one", b"", b"two"]


async def test_a_streamed_body_that_nobody_reads_is_not_taken_in() -> None:
    client = Client([b"x" * 65536] * 1000, complete=False)
    async with RequestBody(client.receive) as body:
        before = -1
        while client.received != before:
            before = client.received
            await asyncio.sleep(0)
        assert client.received < 10
        taken = 0
        for _ in range(1000):
            taken += len(await body.chunk())
        assert taken == 1000 * 65536


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (envelope(b"one")[:-1], "MESSAGE_MALFORMED"),
        (envelope(b"one")[:3], "MESSAGE_MALFORMED"),
        (envelope(b"one", flags=2), "MESSAGE_MALFORMED"),
        (envelope(b"one", flags=1), "COMPRESSION_UNSUPPORTED"),
        (envelope(b"x" * 11), "MESSAGE_TOO_LARGE"),
    ],
)
async def test_a_message_that_cannot_be_read_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(RpcError) as whole:
        only_message(data, 10)
    assert whole.value.reason == reason
    async with RequestBody(Client([data]).receive) as body:
        with pytest.raises(RpcError) as streamed:
            await anext(Envelopes(body, 10).each())
    assert streamed.value.reason == reason


def test_a_whole_body_holds_one_message() -> None:
    assert only_message(envelope(b"one"), 10) == b"one"
    for body in (b"", envelope(b"one") * 2):
        with pytest.raises(RpcError):
            only_message(body, 10)
