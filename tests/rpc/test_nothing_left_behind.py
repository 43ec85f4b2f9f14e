"""Calls that fail, end early or are left leave nothing that only the collector of cyclic garbage would free.

It comes seldom here, and what a call holds may be megabytes.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from durachart.app.server import Server, running
from durachart.app.settings import Settings
from durachart.fronts.http2.exchange import Exchange
from durachart.rpc.context import CallContext
from durachart.rpc.gen import machine_service_pb2 as machines
from durachart.rpc.gen import state_machine_service_pb2 as pb
from durachart.rpc.gen import types_pb2 as types
from durachart.rpc.many_events import EventStream
from durachart.rpc.status import RpcError
from durachart.runtime.errors import DurachartError
from durachart.runtime.queue.batch import Ticket
from durachart.runtime.watch.watch import Watch
from tests.rpc.callers import Caller, Driver, WebCaller, grpc_caller, outcome
from tests.rpc.scripted import ANY_PORT

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVICE = "durachart.v1.StateMachineService"
OF_A_CALL = (RpcError, DurachartError, CallContext, Exchange, EventStream, Ticket, Watch)


def _alive() -> Counter[str]:
    """What there is of calls, reachable or not."""
    return Counter(type(each).__name__ for each in gc.get_objects() if issubclass(type(each), OF_A_CALL))


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """What the calls of this block were made of goes without the collector, once they are over."""
    gc.collect()
    gc.disable()
    try:
        before = _alive()
        yield
        deadline = asyncio.get_running_loop().time() + 5
        while (left := _alive() - before) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # until the server has heard that they are over
        assert not left
    finally:
        gc.enable()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> AsyncIterator[Server]:
    settings = Settings(
        listen=ANY_PORT,
        http=ANY_PORT,
        data_dir=tmp_path_factory.mktemp("data"),
        machines=repository / "machines",
    )
    async with running(settings) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module", params=["grpc", "grpc_web"])
async def caller(request: pytest.FixtureRequest, server: Server, driver: Driver) -> AsyncIterator[Caller]:
    if request.param == "grpc":
        async with grpc_caller(server.grpc) as made:
            yield made
    else:
        yield WebCaller(driver, f"http://{server.http}", request.param)


def _event(name: str, **fields: object) -> pb.SendEventRequest:
    ref = types.InstanceRef(machine_id="order", instance_id=name)
    return pb.SendEventRequest(instance=ref, event=types.Event(type="NO_SUCH_EVENT"), **fields)  # type: ignore[arg-type]


_FAILING: dict[str, Callable[[], object]] = {
    "SendEvent": lambda: _event("nobody"),
    "CreateInstance": lambda: pb.CreateInstanceRequest(
        instance=types.InstanceRef(machine_id="order", instance_id="o"), input_json="["
    ),
    "ListInstances": lambda: pb.ListInstancesRequest(page_token="no token"),
    "WatchState": lambda: pb.WatchStateRequest(
        filter=pb.WatchFilter(machine_id="order"), resume_token="no token"
    ),
    "SendEvents": lambda: pb.SendEventsRequest(requests=[_event("nobody")] * 3),
}


@pytest.mark.parametrize("method", _FAILING)
async def test_a_call_that_fails(server: Server, caller: Caller, method: str) -> None:
    made = server.service.methods[f"{SERVICE}/{method}"]
    await outcome(caller.start(made, _FAILING[method]()))  # type: ignore[arg-type]
    async with nothing_left():
        for _ in range(5):
            await outcome(caller.start(made, _FAILING[method]()))  # type: ignore[arg-type]


async def test_a_definition_that_is_refused(server: Server, caller: Caller) -> None:
    made = server.service.methods["durachart.v1.MachineService/PublishMachine"]
    for text in ("{", '{"machine": {"id": "x"}}'):
        request = machines.PublishMachineRequest(definition_json=text)
        await outcome(caller.start(made, request))
        async with nothing_left():
            await outcome(caller.start(made, request))


async def test_a_watch_that_its_reader_leaves(server: Server, caller: Caller) -> None:
    made = server.service.methods[f"{SERVICE}/WatchState"]
    request = pb.WatchStateRequest(filter=pb.WatchFilter(machine_id="order"))
    async with nothing_left():
        for _ in range(3):
            call = caller.start(made, request)
            await call.read()
            await call.cancel()


async def test_a_watch_whose_time_is_up(server: Server, caller: Caller) -> None:
    made = server.service.methods[f"{SERVICE}/WatchState"]
    request = pb.WatchStateRequest(filter=pb.WatchFilter(machine_id="order"))
    async with nothing_left():
        for _ in range(3):
            _, ending = await outcome(caller.start(made, request, timeout=0.1))
            assert ending.code == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize("event", ["ADD_ITEM", "NO_SUCH_EVENT"])
@pytest.mark.parametrize("ends", ["closed", "cancelled", "unread"])
async def test_a_stream_of_events(server: Server, event: str, ends: str) -> None:
    path = server.service.methods[f"{SERVICE}/StreamEvents"].path
    async with grpc.aio.insecure_channel(str(server.grpc)) as channel:
        start = channel.stream_stream(
            path, pb.StreamEventsRequest.SerializeToString, pb.StreamEventsResponse.FromString
        )

        async def unary(request: pb.SendEventRequest) -> None:
            path = server.service.methods[f"{SERVICE}/SendEvent"].path
            call = channel.unary_unary(path, pb.SendEventRequest.SerializeToString)(request)
            assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION

        async def stream() -> None:
            call = start()
            for number in range(20):
                sent = _event("streamed", create_if_missing=True)
                sent.event.CopyFrom(types.Event(type=event, data_json='{"sku":"tea","quantity":1}'))
                await call.write(pb.StreamEventsRequest(correlation_id=str(number), send_event=sent))
            if ends == "closed":
                await call.done_writing()
                while await call.read() is not grpc.aio.EOF:
                    pass
            elif ends == "unread":
                await unary(_event("streamed"))  # which is judged after those of the stream
            call.cancel()

        await stream()
        async with nothing_left():
            for _ in range(3):
                await stream()
