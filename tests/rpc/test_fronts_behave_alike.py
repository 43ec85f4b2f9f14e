"""One behaviour on every front: the same calls over gRPC, gRPC-Web and Connect (JSON and protobuf)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.rpc.error_details_pb2 import BadRequest, PreconditionFailure, ResourceInfo, RetryInfo

from durachart.rpc.gen import errors_pb2 as details
from durachart.rpc.gen import machine_service_pb2 as machines
from durachart.rpc.gen import state_machine_service_pb2 as instances
from durachart.rpc.gen import types_pb2 as types
from tests.rpc.callers import Call, Caller, outcome
from tests.rpc.samples import REASONS
from tests.rpc.scripted import FLOOD_FRAME_CHARS, Running

pytestmark = pytest.mark.asyncio(loop_scope="module")


def ref(name: str) -> types.InstanceRef:
    return types.InstanceRef(machine_id="order", instance_id=name)


class Calls:
    """Begins calls by what the handler shall do."""

    def __init__(self, caller: Caller, server: Running) -> None:
        self._caller = caller
        self._methods = server.service.methods

    def get(self, name: str, **options: Any) -> Call:
        method = self._methods["durachart.v1.StateMachineService/GetState"]
        return self._caller.start(method, instances.GetStateRequest(instance=ref(name)), **options)

    def watch(self, name: str, **options: Any) -> Call:
        method = self._methods["durachart.v1.StateMachineService/WatchState"]
        return self._caller.start(method, instances.WatchStateRequest(instances=[ref(name)]), **options)

    def publish(self, definition_json: str) -> Call:
        method = self._methods["durachart.v1.MachineService/PublishMachine"]
        return self._caller.start(method, machines.PublishMachineRequest(definition_json=definition_json))

    def send(self, request: instances.SendEventRequest) -> Call:
        return self._caller.start(self._methods["durachart.v1.StateMachineService/SendEvent"], request)


@pytest.fixture
def calls(caller: Caller, server: Running) -> Calls:
    return Calls(caller, server)


async def test_a_response_arrives_with_every_digit(calls: Calls) -> None:
    (response,), ending = await outcome(calls.get("echo"))
    assert ending.code == "OK"
    assert response.state.version == 2**53 + 1
    assert response.state.instance == ref("echo")


async def test_headers_and_trailers_pass_both_ways(calls: Calls) -> None:
    call = calls.get("metadata", metadata={"x-question": "42"})
    (_,), ending = await outcome(call)
    headers = await call.headers()
    assert headers["x-answer"] == "42"
    assert headers["x-answer-bin"] in (b"\x00\xff", "AP8")
    assert ending.trailers["x-last"] == "word"
    assert ending.trailers["x-last-bin"] in (b"\x01\xfe", "Af4")


async def test_the_handler_knows_its_caller(calls: Calls, server: Running) -> None:
    await outcome(calls.get("who", timeout=60))
    context = server.scripted.contexts["who"]
    assert context.method == "durachart.v1.StateMachineService/GetState"
    assert context.identity == "anonymous"
    host, _, port = context.peer.rpartition(":")
    assert host == "127.0.0.1"
    assert port.isdecimal()
    remaining = context.time_remaining()
    assert remaining is not None
    assert 0 < remaining < 66  # gRPC sends deadlines with three digits, rounded up


async def test_a_call_without_deadline_may_take_for_ever(calls: Calls, server: Running) -> None:
    await outcome(calls.get("patient"))
    assert server.scripted.contexts["patient"].time_remaining() is None


@pytest.mark.parametrize("reason", REASONS)
async def test_every_domain_error_arrives_with_one_reason(calls: Calls, reason: str) -> None:
    responses, ending = await outcome(calls.get(f"refuse {reason}"))
    assert responses == []
    assert ending.info.reason == reason
    assert ending.info.domain == "durachart.dev"
    assert ending.code not in {"OK", "UNKNOWN", "INTERNAL"}
    assert ending.message
    assert ending.trailers["x-refused"] == "yes"


async def test_errors_carry_typed_details(calls: Calls) -> None:
    async def ending_of(reason: str) -> Any:
        return (await outcome(calls.get(f"refuse {reason}")))[1]

    refused = await ending_of("GUARD_REJECTED")
    assert refused.code == "FAILED_PRECONDITION"
    refusal = refused.detail(details.EventRefusal)
    assert list(refusal.guards) == ["hasItems"]
    assert list(refusal.allowed_events) == ["ADD_ITEM", "CANCEL"]
    assert refusal.value_json == '"draft"'
    assert refused.detail(PreconditionFailure).violations[0].type == "GUARD_REJECTED"

    conflict = (await ending_of("VERSION_CONFLICT")).detail(details.VersionConflict)
    assert (conflict.expected_version, conflict.actual_version) == (4, 7)

    invalid = await ending_of("DEFINITION_INVALID")
    assert [each.code for each in invalid.detail(details.DefinitionProblems).findings] == [
        "target_not_found",
        "on_in_final",
    ]
    assert len(invalid.detail(BadRequest).field_violations) == 1

    assert (await ending_of("INSTANCE_NOT_FOUND")).detail(ResourceInfo).resource_name == "order/o-1"
    assert (await ending_of("OVERLOADED")).detail(RetryInfo).retry_delay.seconds == 2
    assert (await ending_of("WATCH_COMPACTED")).detail(details.WatchCompacted).oldest_resume_token == "oldest"


async def test_an_unforeseen_error_keeps_its_text(calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    _, ending = await outcome(calls.get("crash"))
    assert ending.code == "INTERNAL"
    assert ending.info.reason == "INTERNAL"
    assert "secret" not in ending.message
    error_id = ending.info.metadata["error_id"]
    assert error_id in ending.message
    assert any(error_id in record.getMessage() for record in caplog.records)


async def test_a_handler_that_gives_no_response_is_an_internal_error(calls: Calls) -> None:
    _, ending = await outcome(calls.get("nothing"))
    assert ending.code == "INTERNAL"
    assert ending.info.reason == "INTERNAL"


async def test_a_request_that_breaks_the_contract_names_every_field(calls: Calls) -> None:
    request = instances.SendEventRequest(
        instance=types.InstanceRef(namespace="a b", instance_id="\n"), event=types.Event(type="xstate.init")
    )
    _, ending = await outcome(calls.send(request))
    assert ending.code == "INVALID_ARGUMENT"
    assert ending.info.reason == "REQUEST_INVALID"
    fields = [each.field for each in ending.detail(BadRequest).field_violations]
    assert fields == ["instance.namespace", "instance.machine_id", "instance.instance_id", "event.type"]


async def test_the_deadline_reaches_the_handler(calls: Calls, server: Running, caller: Caller) -> None:
    name = f"hang deadline {id(caller)}"
    _, ending = await outcome(calls.get(name, timeout=0.2))
    assert ending.code == "DEADLINE_EXCEEDED"
    await server.scripted.ended[name].wait()
    assert server.scripted.how[name] == "CancelledError"


async def test_the_deadline_reaches_the_handler_of_a_stream(
    calls: Calls, server: Running, caller: Caller
) -> None:
    name = f"hang stream deadline {id(caller)}"
    _, ending = await outcome(calls.watch(name, timeout=0.2))
    assert ending.code == "DEADLINE_EXCEEDED"
    await server.scripted.ended[name].wait()
    assert server.scripted.how[name] == "CancelledError"


async def test_leaving_cancels_the_handler(calls: Calls, server: Running, caller: Caller) -> None:
    name = f"hang left {id(caller)}"
    call = calls.get(name)
    await server.scripted.started[name].wait()
    await call.cancel()
    assert (await call.ending()).code == "CANCELLED"
    await server.scripted.ended[name].wait()
    assert server.scripted.how[name] == "CancelledError"
    assert server.scripted.contexts[name].cancelled


async def test_leaving_cancels_the_handler_of_a_stream(calls: Calls, server: Running, caller: Caller) -> None:
    name = "stay 3"
    server.scripted.ended[name].clear()
    call = calls.watch(name)
    for _ in range(3):
        await call.read()
    await call.cancel()
    await server.scripted.ended[name].wait()
    assert server.scripted.how[name] == "CancelledError"
    assert server.scripted.contexts[name].cancelled


async def test_a_stream_gives_every_response_in_order_and_its_trailers(calls: Calls) -> None:
    responses, ending = await outcome(calls.watch("count 500"))
    assert [response.frames[0].resume_token for response in responses] == [
        str(number) for number in range(500)
    ]
    assert ending.code == "OK"
    assert ending.trailers["x-count"] == "500"


async def test_an_empty_stream_ends_well(calls: Calls) -> None:
    responses, ending = await outcome(calls.watch("count 0"))
    assert (responses, ending.code) == ([], "OK")


async def test_a_stream_may_fail_after_responses(calls: Calls) -> None:
    responses, ending = await outcome(calls.watch("fail 2"))
    assert len(responses) == 2
    assert ending.code == "ABORTED"
    assert ending.detail(details.VersionConflict).actual_version == 7


async def test_a_stream_may_be_refused_at_once(calls: Calls) -> None:
    responses, ending = await outcome(calls.watch("refuse NO_GENERATION"))
    assert responses == []
    assert (ending.code, ending.info.reason) == ("NOT_FOUND", "NO_GENERATION")


async def test_a_stream_says_that_it_stands_before_it_has_anything_to_say(
    calls: Calls, caller: Caller
) -> None:
    call = calls.watch(f"hang headers {id(caller)}")
    assert await call.headers() is not None
    await call.cancel()


async def test_a_slow_reader_holds_its_own_handler_up_and_nobody_else(calls: Calls, server: Running) -> None:
    name = "flood 2000"
    server.scripted.produced[name] = 0
    server.scripted.ended[name].clear()
    slow = calls.watch(name)
    assert (await slow.read()).frames[0].resume_token.startswith("0x")
    produced, unchanged = -1, 0
    while unchanged < 20:
        _, ending = await outcome(calls.get("echo"))
        assert ending.code == "OK"
        unchanged = unchanged + 1 if server.scripted.produced[name] == produced else 0
        produced = server.scripted.produced[name]
    assert produced * FLOOD_FRAME_CHARS < 32 * 1024 * 1024
    await slow.cancel()
    await server.scripted.ended[name].wait()
    assert server.scripted.how[name] in {"GeneratorExit", "CancelledError"}


async def test_a_large_request_and_a_large_response_pass(calls: Calls) -> None:
    size = 10 * 1024 * 1024
    (published,), _ = await outcome(calls.publish("x" * size))
    assert published.machine.description == str(size)
    (read,), _ = await outcome(calls.get(f"big {5 * 1024 * 1024}"))
    assert len(read.state.context_json) == 5 * 1024 * 1024


async def test_a_request_over_the_bound_of_its_method_is_refused(calls: Calls) -> None:
    request = instances.SendEventRequest(
        instance=ref("echo"), event=types.Event(type="A", data_json="x" * (9 * 1024 * 1024))
    )
    _, ending = await outcome(calls.send(request))
    assert (ending.code, ending.info.reason) == ("RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE")


async def test_many_calls_at_once_are_kept_apart(calls: Calls) -> None:
    async def one(number: int) -> str:
        (response,), _ = await outcome(calls.get(f"echo {number}"))
        return str(response.state.instance.instance_id)

    names = await asyncio.gather(*(one(number) for number in range(100)))
    assert names == [f"echo {number}" for number in range(100)]
