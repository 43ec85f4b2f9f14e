"""Shutting down: new calls are refused while probes are answered, streams get a last word, calls finish."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack

import httpx
import pytest
from grpc_health.v1 import health_pb2

from durachart.fronts.grpc_settings import GrpcServer, GrpcSettings
from durachart.fronts.http_server import HttpSettings, serve_http
from durachart.fronts.serving import serving
from durachart.rpc.gen import state_machine_service_pb2 as instances
from durachart.rpc.gen import types_pb2 as types
from durachart.rpc.service import Method
from tests.rpc.callers import PROTOCOLS, Caller, Driver, WebCaller, grpc_caller, outcome
from tests.rpc.scripted import ANY_PORT, Running, Scripted, running, scripted_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVERS: Mapping[str, GrpcServer] = {"grpcio": "grpcio"}


def ref(name: str) -> types.InstanceRef:
    return types.InstanceRef(machine_id="order", instance_id=name)


def method(server: Running, name: str) -> Method:
    return server.service.methods[name]


async def caller_of(protocol: str, server: Running, driver: Driver, stack: AsyncExitStack) -> Caller:
    if protocol.startswith("grpc") and protocol != "grpc_web":
        return await stack.enter_async_context(grpc_caller(server.grpc))
    return WebCaller(driver, server.url, protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_draining_is_seen_by_everyone(protocol: str, driver: Driver) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running(grpc_server=SERVERS.get(protocol, "own")))
        caller = await caller_of(protocol, server, driver, stack)
        get_state = method(server, "durachart.v1.StateMachineService/GetState")
        watch_state = method(server, "durachart.v1.StateMachineService/WatchState")

        watch = caller.start(watch_state, instances.WatchStateRequest(instances=[ref("stay 2")]))
        assert [(await watch.read()).frames[0].resume_token for _ in range(2)] == ["0", "1"]
        hanging = caller.start(get_state, instances.GetStateRequest(instance=ref("hang")))
        await server.scripted.started["hang"].wait()

        draining = asyncio.create_task(server.service.drain(60))
        assert (await watch.read()).frames[0].resume_token == "goodbye"
        ending = await watch.ending()
        assert (ending.code, ending.info.reason) == ("UNAVAILABLE", "SHUTTING_DOWN")
        assert server.scripted.how["stay 2"] == "CancelledError"

        _, refused = await outcome(caller.start(get_state, instances.GetStateRequest(instance=ref("late"))))
        assert (refused.code, refused.info.reason) == ("UNAVAILABLE", "SHUTTING_DOWN")
        assert "late" not in server.scripted.contexts

        assert not draining.done()
        await hanging.cancel()
        assert await draining is True


async def test_probes_are_answered_while_the_server_drains() -> None:
    async with running() as server:
        await server.service.drain(0)
        async with grpc_caller(server.grpc) as caller:
            check = method(server, "grpc.health.v1.Health/Check")
            (response,), _ = await outcome(caller.start(check, health_pb2.HealthCheckRequest()))
            assert response.status == health_pb2.HealthCheckResponse.NOT_SERVING
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
            assert (await http.get("/healthz")).status_code == 503


async def test_a_health_watch_ends_with_not_serving() -> None:
    async with running() as server, grpc_caller(server.grpc) as caller:
        watch = caller.start(method(server, "grpc.health.v1.Health/Watch"), health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        await server.service.drain(1)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert (await watch.ending()).code == "UNAVAILABLE"


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_call_that_never_ends_is_cut_after_its_grace(protocol: str, driver: Driver) -> None:
    async with AsyncExitStack() as stack:
        async with running(drain_grace_s=0.05, grpc_server=SERVERS.get(protocol, "own")) as server:
            caller = await caller_of(protocol, server, driver, stack)
            get_state = method(server, "durachart.v1.StateMachineService/GetState")
            call = caller.start(get_state, instances.GetStateRequest(instance=ref("hang")))
            await server.scripted.started["hang"].wait()
        assert server.scripted.how["hang"] == "CancelledError"
        assert (await call.ending()).code != "OK"


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_reader_that_stopped_reading_does_not_hold_the_server(protocol: str, driver: Driver) -> None:
    async with AsyncExitStack() as stack:
        async with running(drain_grace_s=0.05, grpc_server=SERVERS.get(protocol, "own")) as server:
            caller = await caller_of(protocol, server, driver, stack)
            watch_state = method(server, "durachart.v1.StateMachineService/WatchState")
            call = caller.start(watch_state, instances.WatchStateRequest(instances=[ref("flood 100000")]))
            await call.read()
        assert server.scripted.ended["flood 100000"].is_set()
        await call.cancel()


async def test_an_address_can_be_listened_on_again_at_once() -> None:
    async with running() as server:
        address = server.http
    async with serve_http(None, HttpSettings(address=address)) as again:
        assert again == address


async def test_a_front_that_is_off_is_not_there() -> None:
    service = scripted_service(Scripted())
    async with serving(service, grpc=None, http=HttpSettings(address=ANY_PORT)) as addresses:
        assert addresses.grpc is None
        assert addresses.http is not None
    async with serving(
        scripted_service(Scripted()), grpc=GrpcSettings(address=ANY_PORT), http=None
    ) as addresses:
        assert addresses.http is None
        assert addresses.grpc is not None
