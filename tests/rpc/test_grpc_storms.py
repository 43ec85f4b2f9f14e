"""Real gRPC clients that ask for much at once, over each gRPC server: nothing is lost and nothing stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc
import pytest

from durachart.fronts.grpc_front import serve_grpc
from durachart.fronts.grpc_settings import GrpcServer, GrpcSettings
from durachart.rpc.assembly import Served, assemble
from durachart.rpc.service import DEFAULT_MAX_REQUEST_BYTES
from tests.rpc.scripted import ANY_PORT
from tests.unit.rpc.echo_contract import ECHO_SERVICE, Text

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Echo:
    """Answers, or does not.

    Attributes:
        begun: How many handlers have begun.
        running: How many have not ended.
    """

    def __init__(self) -> None:
        self.begun = 0
        self.running = 0
        self._changed = asyncio.Condition()

    async def _count(self, more: int) -> None:
        self.begun += max(more, 0)
        self.running += more
        async with self._changed:
            self._changed.notify_all()

    async def until(self, begun: int, running: int) -> None:
        """Wait until so many have begun, and so many of them run."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.begun >= begun and self.running == running)

    async def echo_one(self, request: Any, ctx: Any) -> Any:
        await self._count(1)
        try:
            if request.text == "hang":
                await asyncio.get_running_loop().create_future()
            return request
        finally:
            await self._count(-1)

    async def list_words(self, request: Any, ctx: Any) -> AsyncGenerator[Any, None]:
        count, size = map(int, request.text.split())
        for _ in range(count):
            yield Text(text="x" * size)

    async def join_words(self, requests: AsyncIterator[Any], ctx: Any) -> Any:
        size = 0
        async for request in requests:
            size += len(request.text)
        return Text(text=str(size))

    async def echo_each(self, requests: AsyncIterator[Any], ctx: Any) -> AsyncGenerator[Any, None]:
        await self._count(1)
        try:
            async for request in requests:
                yield request
        finally:
            await self._count(-1)


class Stub:
    """The service as a client has it."""

    def __init__(self, channel: grpc.aio.Channel, echo: Echo) -> None:
        self.echo = echo
        path = f"/{ECHO_SERVICE.full_name}/"
        kinds: dict[str, Any] = {
            "request_serializer": Text.SerializeToString,
            "response_deserializer": Text.FromString,
        }
        self.one: Any = channel.unary_unary(path + "EchoOne", **kinds)
        self.words: Any = channel.unary_stream(path + "ListWords", **kinds)
        self.join: Any = channel.stream_unary(path + "JoinWords", **kinds)
        self.each: Any = channel.stream_stream(path + "EchoEach", **kinds)


@pytest.fixture(params=["own", "grpcio"])
async def stub(request: pytest.FixtureRequest) -> AsyncIterator[Stub]:
    """A client on a connection of its own, to each gRPC server in turn."""
    echo = Echo()
    kind: GrpcServer = request.param
    service = assemble([Served(ECHO_SERVICE, echo)])
    async with (
        serve_grpc(service, GrpcSettings(ANY_PORT, kind)) as address,
        grpc.aio.insecure_channel(str(address), OPTIONS) as channel,
    ):
        yield Stub(channel, echo)


async def test_calls_that_are_cancelled_all_at_once_leave_nothing_behind(stub: Stub) -> None:
    stays = stub.each()
    await stays.write(Text(text="before"))
    assert (await stays.read()).text == "before"
    for seen in (False, True):
        begun = stub.echo.begun
        calls = [stub.one(Text(text="hang")) for _ in range(1_000)] + [stub.each() for _ in range(200)]
        if seen:
            await stub.echo.until(begun + len(calls), 1 + len(calls))
        for call in calls:
            call.cancel()
        assert {await call.code() for call in calls} == {grpc.StatusCode.CANCELLED}
        # What was sent before this has come before it.
        await stub.one(Text(text="sent last"))
        await stub.echo.until(begun, 1)
    await stays.write(Text(text="after"))
    assert (await stays.read()).text == "after"
    await stays.done_writing()
    assert await stays.read() is grpc.aio.EOF


async def test_deadlines_that_pass_all_at_once_cost_no_other_call(stub: Stub) -> None:
    stays = stub.each()
    await stays.write(Text(text="before"))
    assert (await stays.read()).text == "before"
    calls = [stub.one(Text(text="hang"), timeout=0.5) for _ in range(3_000)]
    assert {await call.code() for call in calls} == {grpc.StatusCode.DEADLINE_EXCEEDED}
    await stub.one(Text(text="sent last"))
    await stays.write(Text(text="after"))
    assert (await stays.read()).text == "after"
    await stub.echo.until(1, 1)
    stays.cancel()


async def test_large_messages_come_through_in_both_directions(stub: Stub) -> None:
    large = Text(text="y" * (DEFAULT_MAX_REQUEST_BYTES - 100))
    answers = await asyncio.gather(*(stub.one(large) for _ in range(8)))
    assert all(answer == large for answer in answers)
    assert [len(each.text) async for each in stub.words(Text(text="2 10000000"))] == [10_000_000] * 2
    requests = [large] * 4
    assert (await stub.join(iter(requests))).text == str(4 * len(large.text))


async def test_many_streams_share_a_connection(stub: Stub) -> None:
    async def read() -> int:
        return sum([len(each.text) async for each in stub.words(Text(text="20 10000"))])

    assert set(await asyncio.gather(*(read() for _ in range(200)))) == {200_000}


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_messages_of_streams_may_be_compressed(stub: Stub, compression: grpc.Compression) -> None:
    word = Text(text="word " * 5_000)
    assert (await stub.join((word for _ in range(50)), compression=compression)).text == str(50 * 25_000)
    both = stub.each(compression=compression)
    for text in ("", "short", word.text):
        await both.write(Text(text=text))
        assert (await both.read()).text == text
    await both.done_writing()
    assert await both.read() is grpc.aio.EOF


async def test_a_bomb_in_a_stream_ends_its_call_alone(stub: Stub) -> None:
    bomb = stub.each(compression=grpc.Compression.Gzip)
    await bomb.write(Text(text="\0" * 32 * 1024 * 1024))
    assert await bomb.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await stub.one(Text(text="fine"))).text == "fine"
