"""SendEvents and StreamEvents on the real runtime, over gRPC: each event stands for itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from durachart.fronts.grpc_front import serve_grpc
from durachart.fronts.grpc_settings import GrpcSettings
from durachart.rpc.assembly import Served, assemble
from durachart.rpc.gen import errors_pb2 as details
from durachart.rpc.gen import state_machine_service_pb2 as pb
from durachart.rpc.gen import types_pb2 as types
from durachart.rpc.service import Service
from durachart.rpc.state_machine_service import STATE_MACHINE_SERVICE, StateMachineHandlers
from durachart.runtime.settings import RuntimeSettings
from durachart.store.interface import CommitResult, Writes
from durachart.store.rows import MachineRow
from durachart.store.sqlite.store import SqliteStore
from tests.rpc.scripted import ANY_PORT
from tests.store.runtimes import ADA, serving
from tests.store.runtimes import Service as Running
from tests.unit.runtime.samples import job_json, key

SERVICE = f"/{STATE_MACHINE_SERVICE.full_name}"


class HeldStore(SqliteStore):
    """Commits, and finds machines, only while it is let.

    Attributes:
        waiting: Rows of the commit that is held up; 0: none is.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.let = asyncio.Event()
        self.let.set()
        self.let_find = asyncio.Event()
        self.let_find.set()
        self.finding = 0
        self.commits: list[int] = []
        self.waiting = 0

    async def get_machine(self, machine_id: str, version: int) -> MachineRow | None:
        self.finding += 1
        await self.let_find.wait()
        return await super().get_machine(machine_id, version)

    async def commit(self, writes: Writes) -> CommitResult:
        self.waiting = len(writes.journal)
        await self.let.wait()
        self.waiting = 0
        self.commits.append(len(writes.journal))
        return await super().commit(writes)


class Serving:
    """A server and a client."""

    def __init__(self, running: Running, service: Service, channel: grpc.aio.Channel) -> None:
        self.running = running
        self.service = service
        self._channel = channel

    def stream(self, timeout_s: float | None = None) -> Any:
        """A call of StreamEvents."""
        make: Any = self._channel.stream_stream
        return make(
            f"{SERVICE}/StreamEvents",
            request_serializer=pb.StreamEventsRequest.SerializeToString,
            response_deserializer=pb.StreamEventsResponse.FromString,
        )(timeout=timeout_s)

    async def send(
        self, *requests: pb.SendEventRequest, timeout_s: float | None = None
    ) -> list[pb.SendEventResult]:
        """The results of SendEvents."""
        call = self._unary("SendEvents", pb.SendEventsResponse)
        answer = await call(pb.SendEventsRequest(requests=requests), timeout=timeout_s)
        return list(answer.results)

    async def send_alone(self, request: pb.SendEventRequest) -> pb.SendEventResponse:
        """The answer of SendEvent."""
        answer: pb.SendEventResponse = await self._unary("SendEvent", pb.SendEventResponse)(request)
        return answer

    def _unary(self, name: str, answers: Any) -> Any:
        make: Any = self._channel.unary_unary
        return make(
            f"{SERVICE}/{name}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=answers.FromString,
        )

    @property
    def store(self) -> HeldStore:
        assert isinstance(self.running.store, HeldStore)
        return self.running.store


@asynccontextmanager
async def served(
    path: Path, bounds: RuntimeSettings | None = None, *, window: int = 256, published: bool = True
) -> AsyncIterator[Serving]:
    async with AsyncExitStack() as stack:
        make = serving(lambda: HeldStore(path / "store.db"), bounds, published=published)
        running = await stack.enter_async_context(make)
        handlers = StateMachineHandlers(running.runtime, stream_window=window)
        service = assemble([Served(STATE_MACHINE_SERVICE, handlers)])
        address = await stack.enter_async_context(serve_grpc(service, GrpcSettings(address=ANY_PORT)))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(str(address)))
        yield Serving(running, service, channel)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Serving]:
    async with served(tmp_path) as running:
        yield running


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until it holds."""
    while True:
        if condition():
            return
        await asyncio.sleep(0)


def event(kind: str, data: str = "", name: str = "j-1", **given: Any) -> pb.SendEventRequest:
    ref = types.InstanceRef(machine_id="job", instance_id=name)
    return pb.SendEventRequest(instance=ref, event=types.Event(type=kind, data_json=data), **given)


def streamed(correlation_id: str, request: pb.SendEventRequest) -> pb.StreamEventsRequest:
    return pb.StreamEventsRequest(correlation_id=correlation_id, send_event=request)


def together(*events: pb.StreamEventsRequest) -> pb.StreamEventsRequest:
    """The same events in one message."""
    entries = [
        pb.StreamEvent(correlation_id=each.correlation_id, send_event=each.send_event) for each in events
    ]
    return pb.StreamEventsRequest(events=entries)


async def results_of(call: Any) -> AsyncIterator[pb.StreamEventsResult]:
    """The results of a stream, until it ends, however many came in a message."""
    while (message := await call.read()) is not grpc.aio.EOF:
        assert message.results
        for result in message.results:
            yield result


def reason_of(status: Status) -> str:
    info = ErrorInfo()
    status.details[0].Unpack(info)
    return info.reason


async def test_each_of_several_events_is_answered_for_itself_and_in_order(server: Serving) -> None:
    """A refused, a malformed and an unknown one leave the others alone. Rows: A6, B7, D7."""
    await server.running.create(key("j-1"))
    await server.running.create(key("j-2"))
    results = await server.send(
        event("ADD", '{"by":2}'),
        event("NOPE"),
        event(""),
        event("ADD", name="missing"),
        event("ADD", '{"by":3}', expected_version=1),
        event("ADD", expected_version=1),
        event("GO", name="j-2"),
        event("ADD", name="new", create_if_missing=True),
        pb.SendEventRequest(),
    )
    assert [
        result.response.state.version if result.HasField("response") else reason_of(result.error)
        for result in results
    ] == [
        1,
        "EVENT_NOT_ALLOWED",
        "REQUEST_INVALID",
        "INSTANCE_NOT_FOUND",
        2,
        "VERSION_CONFLICT",
        1,
        1,
        "REQUEST_INVALID",
    ]
    refused = results[1].error
    assert refused.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    refusal = details.EventRefusal()
    refused.details[1].Unpack(refusal)
    assert (refusal.event_type, refusal.version) == ("NOPE", 1)
    assert results[6].response.effects[0].type == "charge"


async def test_the_error_of_one_of_several_is_the_one_that_it_gets_alone(server: Serving) -> None:
    await server.running.create()
    for request in (event("NOPE"), event("ADD", '{"by":"x"}'), event("ADD", expected_version=7), event("")):
        results = await server.send(request)
        with pytest.raises(grpc.aio.AioRpcError) as alone:
            await server.send_alone(request)
        trailers = dict(tuple(entry) for entry in alone.value.trailing_metadata() or ())
        assert results[0].error == Status.FromString(trailers["grpc-status-details-bin"])


async def test_events_sent_together_share_transactions(server: Serving) -> None:
    """Several events of one instance in one batch run in memory one after the other. Rows: A7, D7."""
    server.store.commits.clear()
    await server.running.create()
    results = await server.send(*[event("ADD")] * 200)
    assert [result.response.state.version for result in results] == list(range(1, 201))
    assert server.store.commits == [1, 200]


async def test_the_number_of_events_in_a_call_is_bounded(server: Serving) -> None:
    for requests in ([], [event("ADD")] * 1_001):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await server.send(*requests)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_events_beyond_what_may_wait_are_told_to_come_back(tmp_path: Path) -> None:
    async with served(tmp_path, RuntimeSettings(max_waiting=3)) as server:
        await server.running.create()
        results = await server.send(*[event("ADD")] * 5)
        assert [result.WhichOneof("result") for result in results] == ["response"] * 3 + ["error"] * 2
        status = results[-1].error
        assert (status.code, reason_of(status)) == (8, "OVERLOADED")
        assert status.details[1].TypeName() == RetryInfo.DESCRIPTOR.full_name


async def test_a_stream_answers_every_event_under_its_id_and_ends(server: Serving) -> None:
    """Refusals and malformed events are answers; half-closing lets the rest be answered. Row: D7."""
    await server.running.create()
    call = server.stream()
    for number in range(50):
        await call.write(streamed(str(number), event("ADD")))
    await call.write(streamed("refused", event("NOPE")))
    await call.write(streamed("malformed", event("")))
    await call.write(streamed("x" * 129, event("ADD")))
    await call.write(streamed("last", event("ADD")))
    await call.done_writing()
    answers = {answer.correlation_id: answer async for answer in results_of(call)}
    assert await call.code() is grpc.StatusCode.OK
    assert [answers[str(number)].response.state.version for number in range(50)] == list(range(1, 51))
    assert reason_of(answers["refused"].error) == "EVENT_NOT_ALLOWED"
    assert reason_of(answers["malformed"].error) == "REQUEST_INVALID"
    assert reason_of(answers["x" * 129].error) == "REQUEST_INVALID"
    assert answers["last"].response.state.version == 51


async def test_a_stream_answers_what_was_recorded_again(server: Serving) -> None:
    await server.running.create()
    for replayed in (False, True):
        call = server.stream()
        await call.write(streamed("a", event("ADD", request_id="r-1")))
        await call.write(streamed("b", event("NOPE", request_id="r-2")))
        await call.done_writing()
        answers = {answer.correlation_id: answer async for answer in results_of(call)}
        assert answers["a"].response.replayed is replayed
        assert answers["a"].response.state.version == 1
        info = ErrorInfo()
        answers["b"].error.details[0].Unpack(info)
        assert (info.metadata.get("replayed") == "true") is replayed


@pytest.mark.parametrize("in_one_message", [False, True])
async def test_a_stream_takes_events_only_while_its_window_has_room(
    tmp_path: Path, in_one_message: bool
) -> None:
    async with served(tmp_path, window=4) as server:
        await server.running.create()
        server.store.let.clear()
        call = server.stream()
        events = [streamed(str(number), event("ADD")) for number in range(10)]
        for request in [together(*events)] if in_one_message else events:
            await call.write(request)

        def taken() -> int:
            # Those that were read at once are on their way to the disk; the others wait behind them.
            return server.store.waiting and server.store.waiting + server.running.runtime.queue_depth

        await until(lambda: taken() == 4)
        # Nothing more is taken however long one waits: an event of another call gets its turn before them.
        other = asyncio.create_task(server.running.send("ADD"))
        await until(lambda: taken() == 5)
        server.store.let.set()
        assert (await other).state.version == 5
        await call.done_writing()
        answers = [answer.response.state.version async for answer in results_of(call)]
        assert answers == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]


async def test_several_events_in_a_message_are_judged_in_order_and_each_is_answered(server: Serving) -> None:
    await server.running.create()
    call = server.stream()
    adds = [streamed(str(number), event("ADD")) for number in range(20)]
    await call.write(
        together(*adds[:10], streamed("refused", event("NOPE")), streamed("malformed", event("")))
    )
    await call.write(adds[10])
    await call.write(together(*adds[11:], streamed("x" * 129, event("ADD"))))
    await call.done_writing()
    answers = {answer.correlation_id: answer async for answer in results_of(call)}
    assert [answers[str(number)].response.state.version for number in range(20)] == list(range(1, 21))
    assert reason_of(answers["refused"].error) == "EVENT_NOT_ALLOWED"
    assert reason_of(answers["malformed"].error) == "REQUEST_INVALID"
    assert reason_of(answers["x" * 129].error) == "REQUEST_INVALID"
    assert len(answers) == 23


async def test_a_message_that_breaks_the_contract_ends_the_stream_after_the_answers(server: Serving) -> None:
    await server.running.create()
    call = server.stream()
    await call.write(streamed("a", event("ADD")))
    both = together(streamed("b", event("ADD")))
    both.correlation_id = "c"
    await call.write(both)
    results = results_of(call)
    assert (await anext(results)).correlation_id == "a"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await anext(results)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_is_answered_meanwhile_goes_together_up_to_a_bound(server: Serving) -> None:
    await server.running.create()
    call = server.stream()
    await call.write(streamed("small", event("ADD")))  # so that many may be under way
    messages = aiter(call)
    assert len((await anext(messages)).results) == 1
    server.store.let.clear()
    await call.write(streamed("first", event("ADD")))
    await until(lambda: server.store.waiting)
    # They are written in two transactions of one size.
    await call.write(together(*[streamed(str(number), event("ADD")) for number in range(159)]))
    await until(lambda: server.running.runtime.queue_depth == 159)
    server.store.let.set()
    await call.done_writing()
    assert [len(message.results) async for message in messages] == [1, 64, 16, 64, 15]


async def test_fewer_events_are_taken_while_their_answers_are_large(tmp_path: Path) -> None:
    """A reader that does not read must not have the server keep hundreds of contexts for it."""
    bounds = RuntimeSettings(max_event_bytes=2_000_000, max_context_bytes=2_000_000)
    async with served(tmp_path, bounds) as server:
        await server.running.create()
        call = server.stream()
        await call.write(streamed("large", event("NOTE", f'{{"who":"{"x" * 1_000_000}"}}')))
        messages = aiter(call)
        await anext(messages)
        server.store.let.clear()
        await call.write(together(*[streamed(str(number), event("ADD")) for number in range(100)]))
        under_way = lambda: server.store.waiting + server.running.runtime.queue_depth  # noqa: E731
        await until(lambda: under_way() >= 8)
        other = asyncio.create_task(server.running.send("ADD"))
        await until(lambda: under_way() == 9)
        server.store.let.set()
        await other
        await call.done_writing()
        assert sum([len(message.results) async for message in messages]) == 100


async def test_answers_of_one_call_leave_out_contexts_beyond_a_bound(tmp_path: Path) -> None:
    """So that a client which takes 4 MiB, as most do, hears of what was applied."""
    bounds = RuntimeSettings(max_event_bytes=2_000_000, max_context_bytes=2_000_000)
    async with served(tmp_path, bounds) as server:
        await server.running.create()
        await server.running.send("NOTE", {"who": "x" * 900_000})
        results = await server.send(
            *[event("ADD")] * 50, event("NOPE"), event("NOTE", '{"who":""}'), event("ADD")
        )
        states = [result.response.state for result in results]
        assert [state.version for state in states] == [*range(2, 52), 0, 52, 53]
        assert [number for number, state in enumerate(states) if state.context_json] == [0, 1, 51, 52]
        assert reason_of(results[50].error) == "EVENT_NOT_ALLOWED"
        # What was left out is what view BASIC leaves out.
        basic = await server.send_alone(event("NOTE", '{"who":""}', view=types.INSTANCE_VIEW_BASIC))
        of = {field.name for field, _ in basic.state.ListFields()}
        assert {field.name for field, _ in states[2].ListFields()} == of


async def test_answers_of_one_call_leave_out_parameters_of_effects_beyond_a_bound(tmp_path: Path) -> None:
    talk = json.loads(job_json())
    talk["machine"]["id"] = "talk"
    talk["machine"]["states"]["idle"]["on"]["TALK"] = {"actions": "say"}
    talk["implementations"]["actions"]["say"] = {"params": {"text": "context.who"}}
    async with served(tmp_path) as server:
        await server.running.runtime.publish(json.dumps(talk), ADA)
        ref = types.InstanceRef(machine_id="talk", instance_id="t")
        note = types.Event(type="NOTE", data_json=f'{{"who":"{"x" * 60_000}"}}')
        await server.send(pb.SendEventRequest(instance=ref, event=note, create_if_missing=True))
        say = pb.SendEventRequest(
            instance=ref, event=types.Event(type="TALK"), view=types.INSTANCE_VIEW_BASIC
        )
        results = await server.send(*[say] * 200)
        told = [result.response.effects[0] for result in results]
        assert {each.type for each in told} == {"say"}
        given = [number for number, each in enumerate(told) if each.params_json]
        assert given == list(range(len(given)))
        assert 20 < len(given) < 40


async def test_a_response_is_bounded_and_a_larger_answer_goes_alone(tmp_path: Path) -> None:
    bounds = RuntimeSettings(max_event_bytes=2_000_000, max_context_bytes=2_000_000)
    sizes = {"a": 400_000, "b": 600_000, "c": 100_000, "d": 1_500_000, "e": 10}
    async with served(tmp_path, bounds) as server:
        for name in sizes:
            await server.running.create(key(name))
        server.store.let.clear()
        call = server.stream()
        await call.write(streamed("a", event("ADD", name="a")))
        await until(lambda: server.store.waiting)
        for name, size in sizes.items():
            await call.write(streamed(name, event("NOTE", f'{{"who":"{"x" * size}"}}', name)))
        await until(lambda: server.running.runtime.queue_depth == len(sizes))
        server.store.let.set()
        await call.done_writing()
        messages = [[result.correlation_id for result in message.results] async for message in call]
        assert messages == [["a"], ["a", "b"], ["c"], ["d"], ["e"]]


async def test_what_was_judged_is_carried_through_when_the_stream_is_cut(server: Serving) -> None:
    await server.running.create()
    server.store.let.clear()
    call = server.stream()
    await call.write(streamed("a", event("ADD")))
    await until(lambda: server.store.waiting)
    call.cancel()
    await until(lambda: server.service.running == 0)
    server.store.let.set()
    assert (await server.running.send("ADD")).state.version == 2


async def test_a_draining_server_answers_what_it_took_and_ends_the_stream(server: Serving) -> None:
    await server.running.create()
    server.store.let.clear()
    call = server.stream()
    await call.write(streamed("a", event("ADD")))
    await until(lambda: server.store.waiting)
    draining = asyncio.create_task(server.service.drain(60))
    await asyncio.sleep(0)
    server.store.let.set()
    (answer,) = (await call.read()).results
    assert (answer.correlation_id, answer.response.state.version) == ("a", 1)
    with pytest.raises(grpc.aio.AioRpcError):
        await call.read()
    assert await call.code() is grpc.StatusCode.UNAVAILABLE
    trailers = dict(tuple(entry) for entry in await call.trailing_metadata() or ())
    assert reason_of(Status.FromString(trailers["grpc-status-details-bin"])) == "SHUTTING_DOWN"
    assert await draining is True


@pytest.mark.parametrize("streams", [False, True])
async def test_what_still_waits_at_the_deadline_is_not_executed(tmp_path: Path, streams: bool) -> None:
    async with served(tmp_path, RuntimeSettings(max_batch=1)) as server:
        await server.running.create()
        server.store.let.clear()
        if streams:
            call = server.stream(timeout_s=0.2)
            for number in range(3):
                await call.write(streamed(str(number), event("ADD")))
            assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        else:
            with pytest.raises(grpc.aio.AioRpcError) as late:
                await server.send(*[event("ADD")] * 3, timeout_s=0.2)
            assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: server.service.running == 0)
        server.store.let.set()
        # The first was judged, and is carried through.
        assert (await server.running.send("ADD")).state.version == 2


async def test_a_stream_is_told_to_come_back_before_memory_grows(tmp_path: Path) -> None:
    async with served(tmp_path, RuntimeSettings(max_waiting=2)) as server:
        await server.running.create()
        server.store.let.clear()
        call = server.stream()
        await call.write(streamed("first", event("ADD")))
        await until(lambda: server.store.waiting)
        for number in range(4):
            await call.write(streamed(str(number), event("ADD")))
        await call.done_writing()
        answers = results_of(call)
        early = [await anext(answers) for _ in range(2)]
        assert [answer.correlation_id for answer in early] == ["2", "3"]
        assert [reason_of(answer.error) for answer in early] == ["OVERLOADED", "OVERLOADED"]
        assert early[0].error.details[1].TypeName() == RetryInfo.DESCRIPTOR.full_name
        server.store.let.set()
        assert [answer.response.state.version async for answer in answers] == [1, 2, 3]


async def test_events_that_wait_for_a_definition_stay_in_order_and_are_counted(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        await server.running.create()
    async with served(tmp_path, RuntimeSettings(max_waiting=3), published=False) as server:
        server.store.let_find.clear()
        sending = asyncio.create_task(
            server.send(
                event("ADD", name="new", create_if_missing=True),
                event("ADD", name="new"),
                event("ADD"),
                event("ADD"),
            )
        )
        await until(lambda: server.store.finding == 2)  # all three wait, for the latest and for a version
        (refused,) = await server.send(event("ADD", name="missing"))
        assert reason_of(refused.error) == "OVERLOADED"
        server.store.let_find.set()
        results = await sending
        assert [result.response.state.version for result in results[:3]] == [1, 2, 1]
        assert reason_of(results[3].error) == "OVERLOADED"
