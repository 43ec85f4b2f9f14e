"""The gRPC front where it is more than calls of the contract: bad bytes, health, reflection, a taken port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from durachart.fronts.address import CannotListen
from durachart.fronts.grpc_front import serve_grpc
from durachart.fronts.grpc_settings import GrpcSettings
from durachart.fronts.http_server import HttpSettings, serve_http
from durachart.rpc.service import DEFAULT_MAX_REQUEST_BYTES
from tests.rpc.http2 import grpc_request
from tests.rpc.scripted import ANY_PORT, Running, Scripted, running, scripted_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

GET_STATE = "/durachart.v1.StateMachineService/GetState"
HEALTH = "/grpc.health.v1.Health/"


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["own", "grpcio"])
async def channel(request: pytest.FixtureRequest, server: Running) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to each gRPC server in turn."""
    address = server.grpc if request.param == "own" else server.grpcio
    async with grpc.aio.insecure_channel(str(address)) as opened:
        yield opened


async def failure(call: Any) -> tuple[str, str]:
    """Status code and reason of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailers = dict(tuple(entry) for entry in caught.value.trailing_metadata() or ())
    info = ErrorInfo()
    assert Status.FromString(trailers["grpc-status-details-bin"]).details[0].Unpack(info)
    return caught.value.code().name, info.reason


async def test_bytes_that_are_no_request_are_refused(channel: grpc.aio.Channel) -> None:
    call = channel.unary_unary(GET_STATE)(b"\xff\xff\xff")
    assert await failure(call) == ("INVALID_ARGUMENT", "MESSAGE_MALFORMED")


async def test_a_request_just_over_the_bound_is_refused_with_a_reason(channel: grpc.aio.Channel) -> None:
    call = channel.unary_unary(GET_STATE)(b"x" * (DEFAULT_MAX_REQUEST_BYTES + 1))
    assert await failure(call) == ("RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE")


async def test_metadata_that_is_too_large_is_refused_and_other_calls_go_on(
    channel: grpc.aio.Channel,
) -> None:
    watch = channel.unary_stream(HEALTH + "Watch")(b"")
    assert await watch.read() is not grpc.aio.EOF
    call = channel.unary_unary(HEALTH + "Check")(b"", metadata=(("x-large", "x" * 70_000),))
    assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await channel.unary_unary(HEALTH + "Check")(b"")
    assert not watch.done()
    watch.cancel()


async def test_a_compressed_request_is_taken_and_a_bomb_is_not(channel: grpc.aio.Channel) -> None:
    call = channel.unary_unary(HEALTH + "Check")
    assert await call(b"", compression=grpc.Compression.Gzip)
    bomb = call(b"\0" * (64 * 1024 * 1024), compression=grpc.Compression.Gzip)
    assert await bomb.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_method_that_is_not_there_is_unimplemented(channel: grpc.aio.Channel) -> None:
    path = "/durachart.v1.StateMachineService/Nothing"
    assert await failure(channel.unary_unary(path)(b"")) == ("UNIMPLEMENTED", "METHOD_UNKNOWN")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in channel.unary_stream(path)(b""):
            pass
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_health_answers_for_the_server_and_each_service(channel: grpc.aio.Channel) -> None:
    check = channel.unary_unary(
        HEALTH + "Check", response_deserializer=health_pb2.HealthCheckResponse.FromString
    )
    for name in ("", "durachart.v1.StateMachineService", "durachart.v1.MachineService"):
        response = await check(health_pb2.HealthCheckRequest(service=name).SerializeToString())
        assert response.status == health_pb2.HealthCheckResponse.SERVING
    unknown = health_pb2.HealthCheckRequest(service="nobody").SerializeToString()
    assert await failure(check(unknown)) == ("NOT_FOUND", "SERVICE_UNKNOWN")
    everything = await channel.unary_unary(
        HEALTH + "List", response_deserializer=health_pb2.HealthListResponse.FromString
    )(b"")
    assert set(everything.statuses) == {"", "durachart.v1.StateMachineService", "durachart.v1.MachineService"}


async def test_a_health_watch_says_that_a_service_is_unknown_and_stays(channel: grpc.aio.Channel) -> None:
    watch = channel.unary_stream(
        HEALTH + "Watch", response_deserializer=health_pb2.HealthCheckResponse.FromString
    )(health_pb2.HealthCheckRequest(service="nobody").SerializeToString())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_describes_the_contract(channel: grpc.aio.Channel, version: str) -> None:
    ask = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )()
    await ask.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    names = {service.name for service in (await ask.read()).list_services_response.service}
    assert {"durachart.v1.StateMachineService", "grpc.health.v1.Health"} <= names
    await ask.write(
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="durachart.v1.StateMachineService")
    )
    described = (await ask.read()).file_descriptor_response.file_descriptor_proto
    files = {FileDescriptorProto.FromString(each).name for each in described}
    assert "durachart/v1/state_machine_service.proto" in files
    await ask.done_writing()
    assert await ask.read() is grpc.aio.EOF
    assert await ask.code() is grpc.StatusCode.OK


async def test_a_path_that_is_not_text_is_unimplemented(server: Running) -> None:
    reader, writer = await asyncio.open_connection(server.grpc.host, server.grpc.port)
    writer.write(grpc_request(b"/\xff\xfe", b"\0\0\0\0\0"))
    received = b""
    while b"grpc-status\x0212" not in received:
        some = await reader.read(4096)
        assert some, received
        received += some
    writer.close()


async def test_a_path_that_is_not_text_ends_neither_grpcio_nor_calls_under_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        running(grpc_server="grpcio") as server,
        grpc.aio.insecure_channel(str(server.grpc)) as channel,
    ):
        check = channel.unary_unary(
            HEALTH + "Check", response_deserializer=health_pb2.HealthCheckResponse.FromString
        )
        watch = channel.unary_stream(HEALTH + "Watch")(b"")
        assert await watch.read()
        for _ in range(2):
            reader, writer = await asyncio.open_connection(server.grpc.host, server.grpc.port)
            writer.write(grpc_request(b"/\xff\xfe", b"\0\0\0\0\0"))
            while b"\x07\x00" not in await reader.read(4096) and not reader.at_eof():
                pass
            writer.close()
            # A client reconnects by itself; a call that met the end of the old listener is made again.
            while await (call := check(b"", wait_for_ready=True)).code() is not grpc.StatusCode.OK:
                assert await call.code() in {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}
        assert not watch.done()
        watch.cancel()
    assert any("started again" in record.getMessage() for record in caplog.records)


async def test_a_taken_port_is_said_in_one_sentence(server: Running) -> None:
    service = scripted_service(Scripted())
    with pytest.raises(CannotListen) as grpc_taken:
        async with serve_grpc(service, GrpcSettings(address=server.grpc)):
            pass
    assert str(grpc_taken.value) == (
        f"cannot listen on {server.grpc}: the port is in use; "
        "stop the program that uses it, or choose another with --listen"
    )
    with pytest.raises(CannotListen) as http_taken:
        async with serve_http(None, HttpSettings(address=server.http)):
            pass
    assert str(http_taken.value) == (
        f"cannot listen on {server.http}: the port is in use; "
        "stop the program that uses it, or choose another with --http"
    )


async def test_a_host_that_is_not_here_is_said_in_one_sentence() -> None:
    service = scripted_service(Scripted())
    elsewhere = ANY_PORT._replace(host="203.0.113.7", port=7575)
    with pytest.raises(CannotListen, match="this machine has no such address"):
        async with serve_grpc(service, GrpcSettings(address=elsewhere)):
            pass
