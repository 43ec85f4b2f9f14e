"""A call that failed in passing is made again, with the same request id, within its deadline."""

import asyncio
from datetime import timedelta

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

from durachart_client import (
    Client,
    DeadlineExceeded,
    EventNotAllowed,
    Overloaded,
    RetryPolicy,
    ServerError,
    Unavailable,
)
from durachart_client.calls import Backoff
from durachart_client.gen import state_machine_service_pb2 as pb
from tests.unit.client.conftest import QUICK
from tests.unit.client.scripted import Proxy, Server, refuse, serving, state


async def test_a_lost_answer_is_asked_for_again_with_the_same_request_id(
    client: Client, server: Server, proxy: Proxy
) -> None:
    recorded: dict[str, pb.SendEventResponse] = {}

    def send(request, context):
        if request.request_id in recorded:
            answer = pb.SendEventResponse(replayed=True)
            answer.state.CopyFrom(recorded[request.request_id].state)
            return answer
        recorded[request.request_id] = pb.SendEventResponse(state=state(1, value="paid"))
        proxy.cut()
        return recorded[request.request_id]

    server.script["SendEvent"] = send
    accepted = await client.send("order", "o-1", "PAY")
    assert accepted.state.value == "paid"
    assert accepted.replayed
    first, second = server.requests["SendEvent"]
    assert first == second
    assert len(recorded) == 1
    assert proxy.connections == 2


async def test_an_unavailable_server_is_asked_until_it_answers(client: Client, server: Server) -> None:
    async def get(request, context):
        if len(server.requests["GetState"]) < 4:
            await refuse(context, grpc.StatusCode.UNAVAILABLE, message="starting")
        return pb.GetStateResponse(state=state())

    server.script["GetState"] = get
    await client.get("order", "o-1")
    assert len(server.requests["GetState"]) == 4


async def test_an_overloaded_server_is_given_the_time_it_asks_for(client: Client, server: Server) -> None:
    asked_at: list[float] = []

    async def send(request, context):
        asked_at.append(asyncio.get_running_loop().time())
        if len(asked_at) == 1:
            delay = error_details_pb2.RetryInfo(retry_delay=Duration(nanos=50_000_000))
            await refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", delay)
        return pb.SendEventResponse(state=state(1))

    server.script["SendEvent"] = send
    await client.send("order", "o-1", "PAY")
    assert asked_at[1] - asked_at[0] >= 0.05, "the server's wait is a lower bound"


async def test_exhaustion_without_retry_info_is_final(client: Client, server: Server) -> None:
    server.script["SendEvent"] = lambda request, context: refuse(
        context, grpc.StatusCode.RESOURCE_EXHAUSTED, message="larger than max"
    )
    with pytest.raises(ServerError, match="larger than max") as caught:
        await client.send("order", "o-1", "PAY")
    assert caught.value.code == "RESOURCE_EXHAUSTED"
    assert len(server.requests["SendEvent"]) == 1


async def test_a_wait_that_would_pass_the_deadline_is_not_begun(client: Client, server: Server) -> None:
    delay = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=3600))
    server.script["SendEvent"] = lambda request, context: refuse(
        context, grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", delay
    )
    with pytest.raises(Overloaded) as caught:
        await client.send("order", "o-1", "PAY")
    assert caught.value.retry_after == timedelta(hours=1)


async def test_a_refusal_is_not_retried(client: Client, server: Server) -> None:
    server.script["SendEvent"] = lambda request, context: refuse(
        context, grpc.StatusCode.FAILED_PRECONDITION, "EVENT_NOT_ALLOWED"
    )
    with pytest.raises(EventNotAllowed):
        await client.send("order", "o-1", "PAY")
    assert len(server.requests["SendEvent"]) == 1


async def test_a_write_without_request_id_is_sent_once(client: Client, server: Server) -> None:
    server.script["SendEvent"] = lambda request, context: refuse(context, grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(Unavailable):
        await client.send("order", "o-1", "PAY", request_id="")
    assert len(server.requests["SendEvent"]) == 1


async def test_attempts_are_bounded_by_policy(server: Server, proxy: Proxy) -> None:
    server.script["GetState"] = lambda request, context: refuse(context, grpc.StatusCode.UNAVAILABLE)
    retry = RetryPolicy(initial_ms=1, maximum_ms=1, max_attempts=3)
    async with Client(f"127.0.0.1:{proxy.port}", retry=retry) as client:
        with pytest.raises(Unavailable):
            await client.get("order", "o-1")
    assert len(server.requests["GetState"]) == 3


async def test_silence_ends_at_the_deadline_and_names_the_request_id(client: Client, server: Server) -> None:
    async def never(request, context):
        await asyncio.Event().wait()

    server.script["SendEvent"] = never
    with pytest.raises(DeadlineExceeded) as caught:
        await client.send("order", "o-1", "PAY", request_id="r-7", timeout=timedelta(milliseconds=50))
    assert caught.value.request_id == "r-7", "whoever got no answer can ask again with it"


async def test_nobody_listening_is_unavailable() -> None:
    async with serving(Server()) as (_, port):
        pass
    retry = RetryPolicy(initial_ms=1, maximum_ms=1, max_attempts=2)
    async with Client(f"127.0.0.1:{port}", retry=retry) as client:
        with pytest.raises(Unavailable):
            await client.get("order", "o-1")


async def test_a_restarted_server_is_found_again(server: Server) -> None:
    server.script["GetState"] = lambda request, context: pb.GetStateResponse(state=state())
    async with serving(server) as (_, port):
        client = Client(f"127.0.0.1:{port}", retry=QUICK, timeout=timedelta(seconds=60))
        await client.__aenter__()
        await client.get("order", "o-1")
    call = asyncio.ensure_future(client.get("order", "o-1"))
    async with serving(server, port):
        assert (await call).version == 0
        await client.close()


async def test_cancelling_a_call_reaches_the_server(client: Client, server: Server) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait(request, context):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    server.script["GetState"] = wait
    call = asyncio.ensure_future(client.get("order", "o-1"))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await ended.wait()


def test_waits_grow_to_the_maximum_and_begin_again() -> None:
    backoff = Backoff(RetryPolicy(initial_ms=100, maximum_ms=400, multiplier=2))
    bounds = [0.1, 0.2, 0.4, 0.4]
    for bound in bounds:
        assert 0 <= backoff.next_wait() <= bound
    backoff.reset()
    assert backoff.next_wait() <= 0.1
    assert backoff.next_wait(timedelta(seconds=3)) >= 3
