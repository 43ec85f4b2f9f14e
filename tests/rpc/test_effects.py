"""EffectService on the real runtime and store: over gRPC, and from Node over Connect."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message import Message

from durachart.app.server import Server, running
from durachart.app.settings import Settings
from durachart.rpc.gen import effect_service_pb2 as pb
from durachart.rpc.gen import machine_service_pb2 as machines
from durachart.rpc.gen import state_machine_service_pb2 as instances
from durachart.rpc.gen import types_pb2 as types
from tests.rpc.callers import Caller, Driver, Ending, WebCaller, grpc_caller, outcome
from tests.rpc.scripted import ANY_PORT

pytestmark = pytest.mark.asyncio(loop_scope="module")

EFFECTS, INSTANCES = "durachart.v1.EffectService", "durachart.v1.StateMachineService"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def definition(machine_id: str, handler: str, **effect: Any) -> str:
    """A machine that asks for work on GO and hears of its end."""
    return json.dumps(
        {
            "machine": {
                "id": machine_id,
                "initial": "idle",
                "context": {"n": 7},
                "states": {
                    "idle": {"on": {"GO": "working", "FINISH": "done"}},
                    "working": {
                        "entry": "act",
                        "on": {"DONE": "idle", "FAILED": "broken", "REJECTED": "idle", "LEAVE": "idle"},
                    },
                    "broken": {"on": {"DONE": "idle", "FINISH": "done"}},
                    "done": {"type": "final"},
                },
            },
            "implementations": {"actions": {"act": {"params": {"n": "context.n"}}}},
            "effects": {
                "act": {
                    "handler": handler,
                    "done": "DONE",
                    "failed": "FAILED",
                    "rejected": "REJECTED",
                    "cancel_on_exit": True,
                    "retry": {"max_attempts": 2, "initial_backoff_ms": 0, "jitter": 0},
                    **effect,
                }
            },
        }
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def durachart(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    data = tmp_path_factory.mktemp("data")
    async with running(Settings(listen=ANY_PORT, http=ANY_PORT, data_dir=data)) as server:
        yield server


class Client:
    """Calls by name; every test has a machine and a handler of its own."""

    def __init__(self, caller: Caller, server: Server, name: str) -> None:
        self._caller = caller
        self._methods = server.service.methods
        self.name = name

    def ref(self, name: str = "i-1") -> types.InstanceRef:
        return types.InstanceRef(machine_id=self.name, instance_id=name)

    async def ask(self, method: str, request: Message, **given: Any) -> Any:
        """The one response."""
        responses, ending = await outcome(self._caller.start(self._methods[method], request, **given))
        assert ending.code == "OK", ending
        (response,) = responses
        return response

    async def refused(self, method: str, request: Message) -> Ending:
        responses, ending = await outcome(self._caller.start(self._methods[method], request))
        assert responses == []
        return ending

    async def publish(self, **effect: Any) -> None:
        request = machines.PublishMachineRequest(definition_json=definition(self.name, self.name, **effect))
        await self.ask("durachart.v1.MachineService/PublishMachine", request)

    async def go(self, name: str = "i-1", event: str = "GO") -> Any:
        request = instances.SendEventRequest(
            instance=self.ref(name), event=types.Event(type=event), create_if_missing=True
        )
        return await self.ask(f"{INSTANCES}/SendEvent", request, metadata={"traceparent": TRACEPARENT})

    async def value(self, name: str = "i-1") -> Any:
        read = await self.ask(f"{INSTANCES}/GetState", instances.GetStateRequest(instance=self.ref(name)))
        return json.loads(read.state.value_json)

    async def lease(self, worker_id: str = "w", **fields: Any) -> list[Any]:
        fields.setdefault("handlers", [self.name])
        request = pb.LeaseEffectsRequest(worker_id=worker_id, **fields)
        return list((await self.ask(f"{EFFECTS}/LeaseEffects", request)).effects)

    async def act(self, rpc: str, leased: Any, **fields: Any) -> Any:
        return await self.ask(f"{EFFECTS}/{rpc}", held(rpc, leased, **fields))

    async def get(self, effect_id: str, name: str = "i-1") -> Any:
        request = pb.GetEffectRequest(instance=self.ref(name), effect_id=effect_id)
        return (await self.ask(f"{EFFECTS}/GetEffect", request)).effect


def held(rpc: str, leased: Any, **fields: Any) -> Any:
    """The request of an RPC about a leased effect."""
    kind = getattr(pb, f"{rpc}Request")
    return kind(
        **{
            "instance": leased.instance,
            "effect_id": leased.effect_id,
            "lease_token": leased.lease_token,
            **fields,
        }
    )


@pytest_asyncio.fixture(loop_scope="module", params=["grpc", "connect_json"])
async def client(request: pytest.FixtureRequest, durachart: Server, driver: Driver) -> AsyncIterator[Client]:
    assert durachart.http is not None
    name = f"{request.param}-{request.node.originalname}"[:128]
    async with AsyncExitStack() as stack:
        caller: Caller = WebCaller(driver, f"http://{durachart.http}", request.param)
        if request.param == "grpc":
            caller = await stack.enter_async_context(grpc_caller(durachart.grpc))
        yield Client(caller, durachart, name)


BOOM = pb.EffectError(reason="BOOM", message="it broke")


async def test_an_effect_is_leased_prolonged_and_completed(client: Client) -> None:
    """A7: intent, worker, completion event; the completion names the worker's trace."""
    await client.publish(timeout_ms=1_234)
    asked = await client.go()
    (leased,) = await client.lease("mailer-1", max_effects=5)
    assert (leased.type, leased.handler, json.loads(leased.params_json)) == ("act", client.name, {"n": 7})
    assert (leased.attempt, leased.max_attempts, leased.machine_version) == (1, 2, 1)
    assert leased.timeout.ToMilliseconds() == 1_234
    assert leased.traceparent == TRACEPARENT
    assert leased.effect_id == asked.state.running_effects[0].effect_id
    assert await client.lease() == []
    beat = await client.act("HeartbeatEffect", leased)
    assert not beat.cancelled
    assert beat.lease_expire_time.ToDatetime() > leased.lease_expire_time.ToDatetime()
    request = held("CompleteEffect", leased, output_json='{"receipt": "漢"}')
    await client.ask(f"{EFFECTS}/CompleteEffect", request, metadata={"traceparent": TRACEPARENT})
    await client.ask(f"{EFFECTS}/CompleteEffect", request)  # the answer was lost: once more is the same
    assert await client.value() == "idle"
    journal = await client.ask(
        f"{INSTANCES}/ListJournal", instances.ListJournalRequest(instance=client.ref(), newest_first=True)
    )
    done = journal.entries[0]
    assert (done.event_type, done.actor, done.traceparent) == ("DONE", "system", TRACEPARENT)
    assert len([entry for entry in journal.entries if entry.event_type == "DONE"]) == 1
    effect = await client.get(leased.effect_id)
    assert (effect.state, effect.worker_id) == (pb.EFFECT_STATE_COMPLETED, "mailer-1")
    assert effect.output_json == '{"receipt": "漢"}'
    assert not effect.HasField("schedule_time")
    assert not effect.HasField("error")
    ((attempt),) = effect.attempts
    assert (attempt.attempt, attempt.worker_id, attempt.outcome) == (
        1,
        "mailer-1",
        pb.EffectAttempt.OUTCOME_COMPLETED,
    )
    late = await client.refused(f"{EFFECTS}/FailEffect", held("FailEffect", leased, error=BOOM))
    assert (late.code, late.info.reason) == ("FAILED_PRECONDITION", "LEASE_LOST")


async def test_a_failure_is_tried_again_as_the_policy_says_and_a_dead_letter_is_given_back(
    client: Client,
) -> None:
    """D4: error history is kept; D10: automatic retries, and recovery by an operator."""
    await client.publish()
    await client.go()
    (first,) = await client.lease()
    failed = await client.act("FailEffect", first, error=BOOM)
    assert failed.HasField("retry_time")
    assert (await client.act("FailEffect", first, error=BOOM)).retry_time == failed.retry_time
    (second,) = await client.lease()
    assert second.attempt == 2
    assert not (await client.act("FailEffect", second, error=BOOM)).HasField("retry_time")
    assert not (await client.act("FailEffect", second, error=BOOM)).HasField("retry_time")
    assert await client.value() == "broken"

    listed = await client.ask(
        f"{EFFECTS}/ListEffects",
        pb.ListEffectsRequest(machine_id=client.name, state=pb.EFFECT_STATE_DISCARDED),
    )
    (dead,) = listed.effects
    assert (dead.effect_id, dead.error.reason, dead.attempt) == (first.effect_id, "BOOM", 2)
    retry = pb.RetryEffectRequest(instance=client.ref(), effect_id=dead.effect_id, request_id="r-1")
    revived = (await client.ask(f"{EFFECTS}/RetryEffect", retry)).effect
    assert (revived.state, revived.attempt, revived.max_attempts) == (pb.EFFECT_STATE_AVAILABLE, 2, 4)
    assert (await client.ask(f"{EFFECTS}/RetryEffect", retry)).effect == revived
    again = pb.RetryEffectRequest(instance=client.ref(), effect_id=dead.effect_id)
    refusal = await client.refused(f"{EFFECTS}/RetryEffect", again)
    assert (refusal.code, refusal.info.reason) == ("FAILED_PRECONDITION", "EFFECT_NOT_RETRYABLE")

    (third,) = await client.lease()
    assert (third.attempt, third.max_attempts) == (3, 4)
    await client.act("CompleteEffect", third)
    assert await client.value() == "idle"
    effect = await client.get(first.effect_id)
    assert [(each.attempt, each.outcome, each.error.reason) for each in effect.attempts] == [
        (1, pb.EffectAttempt.OUTCOME_FAILED, "BOOM"),
        (2, pb.EffectAttempt.OUTCOME_FAILED, "BOOM"),
        (3, pb.EffectAttempt.OUTCOME_COMPLETED, ""),
    ]
    journal = await client.ask(
        f"{INSTANCES}/ListJournal", instances.ListJournalRequest(instance=client.ref())
    )
    assert [(entry.event_type, entry.outcome) for entry in journal.entries[3:5]] == [
        ("", types.JOURNAL_OUTCOME_ACCEPTED),
        ("", types.JOURNAL_OUTCOME_REFUSED),
    ]


async def test_a_final_failure_and_a_rejection_are_not_tried_again(client: Client) -> None:
    await client.publish()
    await client.go("a")
    await client.go("b")
    a, b = await client.lease(max_effects=2)
    assert not (await client.act("FailEffect", a, error=BOOM, final=True)).HasField("retry_time")
    await client.act("RejectEffect", b, error=pb.EffectError(reason="CARD_DECLINED", message="no money"))
    await client.act("RejectEffect", b, error=pb.EffectError(reason="CARD_DECLINED", message="no money"))
    assert await client.value("a") == "broken"
    assert await client.value("b") == "idle"
    effect = await client.get(b.effect_id, "b")
    assert (effect.state, effect.attempts[0].outcome) == (
        pb.EFFECT_STATE_DISCARDED,
        pb.EffectAttempt.OUTCOME_REJECTED,
    )


async def test_a_heartbeat_says_that_the_effect_is_not_wanted_any_more(client: Client) -> None:
    await client.publish()
    await client.go()
    (leased,) = await client.lease()
    await client.go(event="LEAVE")
    beat = await client.act("HeartbeatEffect", leased)
    assert beat.cancelled
    assert not beat.HasField("lease_expire_time")
    late = await client.refused(f"{EFFECTS}/CompleteEffect", held("CompleteEffect", leased))
    assert late.info.reason == "LEASE_LOST"
    effect = await client.get(leased.effect_id)
    assert (effect.state, effect.attempts[0].outcome) == (
        pb.EFFECT_STATE_CANCELLED,
        pb.EffectAttempt.OUTCOME_CANCELLED,
    )


async def test_steps_that_completed_are_handed_to_the_next_attempt(client: Client) -> None:
    """D2, D3: each step is recorded; a completed one is skipped on retry."""
    await client.publish()
    await client.go()
    (first,) = await client.lease()
    assert list(first.steps) == []

    async def record(leased: Any, name: str, state: str, **fields: Any) -> Any:
        step = pb.EffectStep(name=name, state=getattr(pb.EffectStep, f"STATE_{state}"), **fields)
        return (await client.act("RecordEffectStep", leased, step=step)).step

    started = await record(first, "count", "STARTED")
    assert (started.attempt, started.HasField("end_time")) == (1, False)
    counted = await record(first, "count", "COMPLETED", output_json="41")
    assert counted.start_time == started.start_time
    await record(first, "send", "FAILED", error=BOOM)
    await client.act("FailEffect", first, error=BOOM)
    (second,) = await client.lease()
    assert [(step.name, step.state, step.output_json, step.error.reason) for step in second.steps] == [
        ("count", pb.EffectStep.STATE_COMPLETED, "41", ""),
        ("send", pb.EffectStep.STATE_FAILED, "", "BOOM"),
    ]
    assert await record(second, "count", "STARTED") == counted
    sent = await record(second, "send", "COMPLETED")
    assert (sent.attempt, sent.HasField("error")) == (2, False)
    await client.act("CompleteEffect", second)
    assert [step.name for step in (await client.get(first.effect_id)).steps] == ["count", "send"]
    late = await client.refused(
        f"{EFFECTS}/RecordEffectStep",
        held("RecordEffectStep", second, step=pb.EffectStep(name="x", state=pb.EffectStep.STATE_STARTED)),
    )
    assert late.info.reason == "LEASE_LOST"


async def test_what_cannot_be_is_refused_with_the_field_that_is_wrong(client: Client) -> None:
    await client.publish()
    await client.go()
    (leased,) = await client.lease()
    step = pb.EffectStep
    for rpc, request, field in (
        ("LeaseEffects", pb.LeaseEffectsRequest(worker_id="w"), "handlers"),
        ("LeaseEffects", pb.LeaseEffectsRequest(worker_id="w", handlers=["h"] * 101), "handlers"),
        ("LeaseEffects", pb.LeaseEffectsRequest(worker_id="w", handlers=["a\0"]), "handlers[0]"),
        ("LeaseEffects", pb.LeaseEffectsRequest(handlers=["h"]), "worker_id"),
        ("LeaseEffects", pb.LeaseEffectsRequest(handlers=["h"], worker_id="server/1"), "worker_id"),
        ("LeaseEffects", pb.LeaseEffectsRequest(handlers=["h"], worker_id="a\0"), "worker_id"),
        (
            "LeaseEffects",
            pb.LeaseEffectsRequest(handlers=["h"], worker_id="w", max_effects=1001),
            "max_effects",
        ),
        ("CompleteEffect", held("CompleteEffect", leased, lease_token=""), "lease_token"),
        ("CompleteEffect", held("CompleteEffect", leased, effect_id="a\0"), "effect_id"),
        ("CompleteEffect", held("CompleteEffect", leased, output_json="{"), "output_json"),
        ("FailEffect", held("FailEffect", leased), "error.reason"),
        (
            "FailEffect",
            held("FailEffect", leased, error=pb.EffectError(reason="A", message="\0")),
            "error.message",
        ),
        ("RejectEffect", held("RejectEffect", leased, error=pb.EffectError(reason="no")), "error.reason"),
        ("RecordEffectStep", held("RecordEffectStep", leased), "step.name"),
        (
            "RecordEffectStep",
            held("RecordEffectStep", leased, step=step(name="a\0", state=step.STATE_STARTED)),
            "step.name",
        ),
        ("RecordEffectStep", held("RecordEffectStep", leased, step=step(name="a")), "step.state"),
        (
            "RecordEffectStep",
            held("RecordEffectStep", leased, step=step(name="a", state=step.STATE_FAILED)),
            "step.error.reason",
        ),
        (
            "RecordEffectStep",
            held(
                "RecordEffectStep",
                leased,
                step=step(name="a", state=step.STATE_COMPLETED, output_json='"' + "x" * 262_144 + '"'),
            ),
            "step.output_json",
        ),
        ("ListEffects", pb.ListEffectsRequest(instance_id="i"), "machine_id"),
        ("ListEffects", pb.ListEffectsRequest(page_size=-1), "page_size"),
        ("RetryEffect", pb.RetryEffectRequest(instance=leased.instance), "effect_id"),
    ):
        refused = await client.refused(f"{EFFECTS}/{rpc}", request)
        assert (refused.code, refused.info.reason) == ("INVALID_ARGUMENT", "REQUEST_INVALID"), rpc
        assert field in str(refused.details), (rpc, field, refused.message)
    missing = pb.GetEffectRequest(instance=client.ref(), effect_id="nobody")
    assert (await client.refused(f"{EFFECTS}/GetEffect", missing)).info.reason == "EFFECT_NOT_FOUND"
    await client.act("CompleteEffect", leased)


async def test_effects_are_paged_in_a_stable_order(client: Client) -> None:
    await client.publish()
    for name in "abcde":
        await client.go(name)
    found: list[str] = []
    token = ""
    while True:
        request = pb.ListEffectsRequest(machine_id=client.name, page_size=2, page_token=token)
        page = await client.ask(f"{EFFECTS}/ListEffects", request)
        assert len(page.effects) <= 2
        found += [effect.instance.instance_id for effect in page.effects]
        if not (token := page.next_page_token):
            break
    assert sorted(found) == list("abcde")
    elsewhere = pb.ListEffectsRequest(machine_id="other", page_token="made up")
    assert (await client.refused(f"{EFFECTS}/ListEffects", elsewhere)).info.reason == "PAGE_TOKEN_INVALID"
    await client.lease(max_effects=5)


async def test_a_wait_for_work_ends_when_something_comes(client: Client) -> None:
    await client.publish()
    waiting = asyncio.create_task(client.lease(wait={"seconds": 60}))
    await asyncio.sleep(0)
    await client.go()
    (leased,) = await waiting
    await client.act("CompleteEffect", leased)


async def test_a_wait_for_work_ends_empty_before_the_callers_deadline(client: Client) -> None:
    await client.publish()
    request = pb.LeaseEffectsRequest(handlers=[client.name], worker_id="w", wait={"seconds": 60})
    answer = await client.ask(f"{EFFECTS}/LeaseEffects", request, timeout=1.0)
    assert list(answer.effects) == []


class Stream:
    """One StreamEffects call."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        make = channel.stream_stream(
            f"/{EFFECTS}/StreamEffects",
            request_serializer=pb.StreamEffectsRequest.SerializeToString,
            response_deserializer=pb.StreamEffectsResponse.FromString,
        )
        self.call = make()

    async def give(self, **fields: Any) -> None:
        await self.call.write(pb.StreamEffectsRequest(**fields))

    async def next(self) -> Any:
        return await self.call.read()

    async def failure(self) -> grpc.aio.AioRpcError:
        """How it ends, which is not well."""
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await self.call.read()
        return failed.value


@pytest_asyncio.fixture(loop_scope="module")
async def worker(durachart: Server, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Client, Stream]]:
    async with AsyncExitStack() as stack:
        caller = await stack.enter_async_context(grpc_caller(durachart.grpc))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(str(durachart.grpc)))
        client = Client(caller, durachart, request.node.originalname)
        await client.publish()
        stream = Stream(channel)
        yield client, stream
        stream.call.cancel()


async def test_a_stream_brings_as_much_as_it_has_credits_for(worker: tuple[Client, Stream]) -> None:
    client, stream = worker
    await stream.give(handlers=[client.name], worker_id="w", credits=1)
    for name in "abc":
        await client.go(name)
    sent = list((await stream.next()).effects)
    assert len(sent) == 1
    # No credit, no effect: the other two are there for somebody else.
    (other,) = await client.lease("other")
    await stream.give(credits=5)
    sent += (await stream.next()).effects
    assert {effect.effect_id for effect in sent}.isdisjoint({other.effect_id})
    await client.go("d")
    sent += (await stream.next()).effects
    assert len({effect.effect_id for effect in sent}) == 3
    for effect in [*sent, other]:
        await client.act("CompleteEffect", effect)


async def test_a_stream_hears_at_once_of_what_is_cancelled(worker: tuple[Client, Stream]) -> None:
    client, stream = worker
    await stream.give(handlers=[client.name], worker_id="w", credits=1)
    await client.go()
    (leased,) = (await stream.next()).effects
    await client.go(event="LEAVE")
    (cancelled,) = (await stream.next()).cancelled
    assert (cancelled.instance, cancelled.effect_id) == (leased.instance, leased.effect_id)


async def test_a_closed_stream_gives_nothing_back(worker: tuple[Client, Stream]) -> None:
    client, stream = worker
    await stream.give(handlers=[client.name], worker_id="w", credits=1)
    await client.go()
    (leased,) = (await stream.next()).effects
    stream.call.cancel()
    await client.act("HeartbeatEffect", leased)
    assert await client.lease("other") == []
    await client.act("CompleteEffect", leased)
    assert await client.value() == "idle"


async def test_a_stream_whose_credits_are_used_up_ends_with_its_last_effect(
    worker: tuple[Client, Stream],
) -> None:
    client, stream = worker
    await stream.give(handlers=[client.name], worker_id="w", credits=1)
    await stream.call.done_writing()
    await client.go()
    (leased,) = (await stream.next()).effects
    await client.act("CompleteEffect", leased)
    assert await stream.next() is grpc.aio.EOF
    assert await stream.call.code() == grpc.StatusCode.OK


async def test_a_stream_must_say_who_takes_what(worker: tuple[Client, Stream]) -> None:
    _, stream = worker
    await stream.give(credits=1)
    failure = await stream.failure()
    assert failure.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "handlers" in str(failure.details())


async def test_a_credit_that_cannot_be_ends_the_stream(worker: tuple[Client, Stream]) -> None:
    client, stream = worker
    await stream.give(handlers=[client.name], worker_id="w")
    await stream.give(credits=-1)
    assert (await stream.failure()).code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_waits_and_streams_end_when_the_server_shuts_down(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        async with running(Settings(listen=ANY_PORT, http=None, data_dir=tmp_path)) as server:
            caller = await stack.enter_async_context(grpc_caller(server.grpc))
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(str(server.grpc)))
            client = Client(caller, server, "w")
            stream = Stream(channel)
            await stream.give(handlers=["h"], worker_id="w", credits=1)
            waiting = asyncio.create_task(client.lease(handlers=["h"], wait={"seconds": 60}))
            async with asyncio.timeout(30):
                while server.service.running < 2:  # noqa: ASYNC110 - the service rings for nobody
                    await asyncio.sleep(0)
        assert await waiting == []
        assert (await stream.failure()).code() == grpc.StatusCode.UNAVAILABLE
