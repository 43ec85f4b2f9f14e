"""Spans as an OTLP receiver gets them: a real gRPC collector, the real exporter, calls over both fronts
(F6)."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as otlp_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.trace import NoOpTracerProvider

from durachart.app.telemetry import TelemetrySettings, endpoint_of, telemetry
from durachart.rpc.gen import state_machine_service_pb2 as instances
from durachart.rpc.gen import types_pb2 as types
from tests.rpc.callers import Caller, Driver, WebCaller, grpc_caller, outcome
from tests.rpc.scripted import Running, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"
GET_STATE = "durachart.v1.StateMachineService/GetState"
WATCH_STATE = "durachart.v1.StateMachineService/WatchState"


class Collector(otlp_grpc.TraceServiceServicer):
    """Takes spans.

    Attributes:
        spans: By name, in order of arrival.
        services: ``service.name`` of their resources.
    """

    def __init__(self) -> None:
        self.spans: dict[str, list[Span]] = {}
        self.services: set[str] = set()

    async def Export(self, request: Any, context: Any) -> otlp.ExportTraceServiceResponse:  # noqa: N802
        for resource in request.resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.services.add(names["service.name"])
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.setdefault(span.name, []).append(span)
        return otlp.ExportTraceServiceResponse()


@asynccontextmanager
async def collecting() -> AsyncIterator[tuple[Collector, str]]:
    collector = Collector()
    server = grpc.aio.server()
    otlp_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        await server.stop(0)


@asynccontextmanager
async def traced() -> AsyncIterator[tuple[Running, Collector, AsyncExitStack]]:
    """A traced server; what it traced is at the collector once the given stack is closed."""
    async with collecting() as (collector, endpoint), AsyncExitStack() as stack:
        observed = await stack.enter_async_context(telemetry(TelemetrySettings(endpoint, "durachart-test")))
        server = await stack.enter_async_context(running(tracing=observed.rpc))
        yield server, collector, stack


def attributes(span: Span) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


async def get_state(server: Running, caller: Caller, name: str, **options: Any) -> None:
    ref = types.InstanceRef(machine_id="order", instance_id=name)
    await outcome(
        caller.start(server.service.methods[GET_STATE], instances.GetStateRequest(instance=ref), **options)
    )


@pytest.mark.parametrize("protocol", ["grpc", "grpc_web", "connect_json"])
async def test_a_call_is_a_child_of_its_callers_span(protocol: str, driver: Driver) -> None:
    """F6: calls are traced in an OpenTelemetry backend."""
    async with traced() as (server, collector, stack):
        async with AsyncExitStack() as clients:
            caller: Caller = WebCaller(driver, server.url, protocol)
            if protocol == "grpc":
                caller = await clients.enter_async_context(grpc_caller(server.grpc))
            await get_state(server, caller, "echo", metadata={"traceparent": TRACEPARENT})
        handed_on = server.scripted.contexts["echo"].traceparent
        await stack.aclose()
        (span,) = collector.spans[GET_STATE]
    assert collector.services == {"durachart-test"}
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, PARENT_ID)
    assert handed_on == f"00-{TRACE_ID}-{span.span_id.hex()}-01"
    assert span.kind == Span.SPAN_KIND_SERVER
    said = attributes(span)
    assert said["rpc.system.name"] == ("connectrpc" if protocol == "connect_json" else "grpc")
    assert said["rpc.method"] == GET_STATE
    assert said["rpc.response.status_code"] == "OK"
    assert said["network.peer.address"] == "127.0.0.1"


async def test_refusals_are_answers_and_crashes_are_errors() -> None:
    async with traced() as (server, collector, stack):
        async with grpc_caller(server.grpc) as caller:
            await get_state(server, caller, "refuse GUARD_REJECTED")
            await get_state(server, caller, "crash")
        await stack.aclose()
        refused, crashed = collector.spans[GET_STATE]
    assert attributes(refused)["rpc.response.status_code"] == "FAILED_PRECONDITION"
    assert attributes(refused)["error.type"] == "GUARD_REJECTED"
    assert refused.status.code == Status.STATUS_CODE_UNSET
    assert attributes(crashed)["rpc.response.status_code"] == "INTERNAL"
    assert crashed.status.code == Status.STATUS_CODE_ERROR
    assert "secret" not in str(crashed)
    assert refused.trace_id != crashed.trace_id


async def test_a_stream_that_is_left_ends_its_span_as_cancelled() -> None:
    async with traced() as (server, collector, stack):
        async with grpc_caller(server.grpc) as caller:
            refs = [types.InstanceRef(machine_id="order", instance_id="stay 2")]
            request = instances.WatchStateRequest(instances=refs)
            call = caller.start(server.service.methods[WATCH_STATE], request)
            await call.read()
            await call.cancel()
            await server.scripted.ended["stay 2"].wait()
        await stack.aclose()
        (span,) = collector.spans[WATCH_STATE]
    assert attributes(span)["rpc.response.status_code"] == "CANCELLED"
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert span.end_time_unix_nano > span.start_time_unix_nano


async def test_a_deadline_ends_the_span_as_exceeded() -> None:
    async with traced() as (server, collector, stack):
        async with grpc_caller(server.grpc) as caller:
            await get_state(server, caller, "hang grpc", timeout=0.1)
            await server.scripted.ended["hang grpc"].wait()
        # A client that leaves the deadline to the server, so that it cannot be first to leave.
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
            request = {"instance": {"machineId": "order", "instanceId": "hang web"}}
            response = await http.post(f"/{GET_STATE}", json=request, headers={"connect-timeout-ms": "50"})
            assert response.status_code == 504
        await stack.aclose()
        spans = collector.spans[GET_STATE]
    assert [attributes(span)["rpc.response.status_code"] for span in spans] == ["DEADLINE_EXCEEDED"] * 2


async def test_without_an_endpoint_nothing_is_traced_and_the_callers_context_is_handed_on() -> None:
    async with telemetry(TelemetrySettings()) as observed, running(tracing=observed.rpc) as server:
        assert observed.rpc is None
        assert isinstance(observed.provider, NoOpTracerProvider)
        async with grpc_caller(server.grpc) as caller:
            await get_state(server, caller, "echo", metadata={"traceparent": TRACEPARENT})
            assert server.scripted.contexts["echo"].traceparent == TRACEPARENT
            await get_state(server, caller, "echo", metadata={"traceparent": "00-nonsense-01"})
            assert server.scripted.contexts["echo"].traceparent == ""


async def test_a_receiver_that_never_answers_does_not_hold_the_end_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with telemetry(TelemetrySettings(endpoint, flush_timeout_s=0.05)) as observed:
            observed.provider.get_tracer("test").start_span("lost").end()
    assert any("spans were not taken in time" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("option", "environment", "expected"),
    [
        ("", {}, ""),
        ("127.0.0.1:4317", {}, "http://127.0.0.1:4317"),
        ("https://otel.example:4317", {}, "https://otel.example:4317"),
        ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1"}, "http://a:1"),
        ("http://b:2", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1"}, "http://b:2"),
        (
            "",
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t:3"},
            "http://t:3",
        ),
        ("http://b:2", {"OTEL_SDK_DISABLED": "true"}, ""),
    ],
)
async def test_the_endpoint_comes_from_the_option_or_the_environment(
    option: str, environment: dict[str, str], expected: str
) -> None:
    assert endpoint_of(option, environment) == expected


@pytest.mark.parametrize("option", ["ftp://a:1", "http://", "http://a:port", "a"])
async def test_an_endpoint_that_is_none_is_refused_with_an_example(option: str) -> None:
    with pytest.raises(ValueError, match=r"write http://HOST:PORT"):
        endpoint_of(option, {})
