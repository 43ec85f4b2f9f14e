"""A worker takes what it has room for, runs it, and tells how it ended."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import pytest

from durachart_client import Client, Effect, Fail, InstanceRef, Reject, Retry, ServerError, Worker
from durachart_client.gen import effect_service_pb2 as pb
from tests.unit.client.effect_server import EffectServer
from tests.unit.client.scripted import Proxy, Server, refuse

SHORTEST = timedelta(seconds=1)


@pytest.fixture
def effects(server: Server) -> EffectServer:
    return EffectServer(server)


@asynccontextmanager
async def working(client: Client, function: Any, **options: Any) -> AsyncIterator[Worker]:
    """A worker with one handler."""
    worker = Worker(client, **options)
    worker.effect("email.send")(function)
    async with worker.running():
        yield worker


async def test_what_a_handler_returns_completes_the_effect(client: Client, effects: EffectServer) -> None:
    seen: list[Effect] = []

    async def send(effect: Effect) -> Any:
        seen.append(effect)
        return {"receipt": effect.params["to"]}

    async with working(client, send, name="mailer"):
        await effects.ask("e-1", {"to": "ada"}, attempt=2)
        [end] = await effects.wait_ends()
    assert end == pb.CompleteEffectRequest(
        instance=end.instance, effect_id="e-1", lease_token="token-of-e-1", output_json='{"receipt":"ada"}'
    )
    [effect] = seen
    assert (effect.instance, effect.effect_id) == (InstanceRef("order", "o-1"), "e-1")
    assert (effect.attempt, effect.max_attempts, effect.type) == (2, 3, "sendEmail")
    assert effect.idempotency_key == "e-1"
    assert effect.step_key("charge") != effect.step_key("ship")
    [opening] = effects.openings
    assert (list(opening.handlers), opening.credits, opening.worker_id) == (["email.send"], 8, "mailer")
    assert opening.lease_duration.seconds == 30


async def test_no_output_is_none(client: Client, effects: EffectServer) -> None:
    async with working(client, lambda effect: None):
        await effects.ask("e-1")
        [end] = await effects.wait_ends()
    assert end.output_json == ""


async def test_a_worker_never_has_more_effects_than_slots(client: Client, effects: EffectServer) -> None:
    running, most, go = 0, 0, asyncio.Semaphore(0)

    async def send(effect: Effect) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go.acquire()
        running -= 1

    async with working(client, send, concurrency=2) as worker:
        for number in range(5):
            await effects.ask(f"e-{number}")
            go.release()
        await effects.wait_ends(5)
        assert effects.openings[0].credits == 2
    assert most <= 2
    assert worker.attempts == 0


async def test_a_handler_with_a_bound_of_its_own_leaves_the_others_their_slots(
    client: Client, effects: EffectServer
) -> None:
    worker = Worker(client, concurrency=3)
    stuck = asyncio.Event()

    @worker.effect("slow", concurrency=1)
    async def slow(effect: Effect) -> None:
        await stuck.wait()

    @worker.effect("quick")
    async def quick(effect: Effect) -> None: ...

    async with worker.running():
        for number in range(3):
            await effects.ask(f"s-{number}", handler="slow")
        await effects.ask("q-1", handler="quick")
        [end] = await effects.wait_ends()
        assert end.effect_id == "q-1"
        stuck.set()
        await effects.wait_ends(4)
    assert sorted((list(one.handlers), one.credits) for one in effects.openings) == [
        (["quick"], 3),
        (["slow"], 1),
    ]


@pytest.mark.parametrize(
    ("raised", "call", "reason", "final", "delay"),
    [
        (Retry("BUSY", "Come back."), pb.FailEffectRequest, "BUSY", False, None),
        (Retry("BUSY", "Come back.", timedelta(seconds=7)), pb.FailEffectRequest, "BUSY", False, 7),
        (Fail("GONE", "No."), pb.FailEffectRequest, "GONE", True, None),
        (Reject("CARD_DECLINED", "No money."), pb.RejectEffectRequest, "CARD_DECLINED", None, None),
        (KeyError("password=123"), pb.FailEffectRequest, "HANDLER_FAILED", False, None),
    ],
)
async def test_what_a_handler_raises_says_how_the_attempt_ended(
    client: Client, effects: EffectServer, raised: Exception, call: Any, reason: str, final: Any, delay: Any
) -> None:
    async def send(effect: Effect) -> None:
        raise raised

    async with working(client, send):
        await effects.ask("e-1")
        [end] = await effects.wait_ends()
    assert isinstance(end, call)
    assert end.error.reason == reason
    if call is pb.FailEffectRequest:
        assert end.final is final
        assert (end.retry_delay.seconds if end.HasField("retry_delay") else None) == delay


async def test_the_text_of_an_unforeseen_exception_stays_here_unless_asked_for(
    client: Client, effects: EffectServer, caplog: pytest.LogCaptureFixture
) -> None:
    def send(effect: Effect) -> None:
        raise KeyError("password=123")

    async with working(client, send):
        await effects.ask("e-1")
        [told] = await effects.wait_ends()
    assert told.error.message == "The handler 'email.send' failed with KeyError."
    assert "password=123" in caplog.text
    await effects.wait_left()
    async with working(client, send, tracebacks=True):
        await effects.ask("e-2")
        told = (await effects.wait_ends(2))[1]
    assert "password=123" in told.error.message
    assert "Traceback" in told.error.message


async def test_a_function_runs_in_a_thread_with_its_steps(client: Client, effects: EffectServer) -> None:
    threads: list[str] = []

    def send(effect: Effect) -> Any:
        threads.append(threading.current_thread().name)
        return effect.step_from_thread("charge", lambda: {"n": 1})

    async with working(client, send):
        await effects.ask("e-1")
        [end] = await effects.wait_ends()
    assert json.loads(end.output_json) == {"n": 1}
    assert threads[0].startswith("durachart-effect")


async def test_a_step_is_recorded_before_and_after_and_done_once(
    client: Client, effects: EffectServer
) -> None:
    """D3: what an earlier attempt completed is skipped, and yields what it yielded then."""
    done: list[str] = []

    async def do(name: str) -> str:
        done.append(name)
        return f"{name} done"

    async def send(effect: Effect) -> Any:
        return [await effect.step(name, lambda name=name: do(name)) for name in ("charge", "ship")]

    async with working(client, send):
        charged = pb.EffectStep(
            name="charge", state=pb.EffectStep.STATE_COMPLETED, output_json='"charged before"'
        )
        await effects.ask("e-1", attempt=2, steps=[charged])
        [end] = await effects.wait_ends()
    assert json.loads(end.output_json) == ["charged before", "ship done"]
    assert done == ["ship"]
    steps = [request.step for name, request in effects.told if name == "RecordEffectStep"]
    assert [(one.name, one.state, one.output_json) for one in steps] == [
        ("ship", pb.EffectStep.STATE_STARTED, ""),
        ("ship", pb.EffectStep.STATE_COMPLETED, '"ship done"'),
    ]


async def test_a_step_that_an_attempt_elsewhere_completed_meanwhile_is_skipped(
    client: Client, effects: EffectServer
) -> None:
    effects.steps["e-1", "charge"] = '"theirs"'

    async with working(client, lambda effect: effect.step("charge", lambda: "ours")):
        await effects.ask("e-1")
        [end] = await effects.wait_ends()
    assert json.loads(end.output_json) == "theirs"


async def test_a_step_that_fails_is_recorded_with_its_reason(client: Client, effects: EffectServer) -> None:
    def charge() -> None:
        raise Retry("BANK_AWAY", "The bank does not answer.")

    async with working(client, lambda effect: effect.step("charge", charge)):
        await effects.ask("e-1")
        [end] = await effects.wait_ends()
    assert end.error.reason == "BANK_AWAY"
    failed = effects.told[-2][1].step
    assert (failed.state, failed.error.reason) == (pb.EffectStep.STATE_FAILED, "BANK_AWAY")


async def test_a_name_used_for_two_steps_is_an_error_and_not_a_step_skipped(
    client: Client, effects: EffectServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def send(effect: Effect) -> None:
        for _ in range(2):
            await effect.step("charge", lambda: None)

    async with working(client, send):
        await effects.ask("e-1")
        [end] = await effects.wait_ends()
    assert end.error.reason == "HANDLER_FAILED"
    assert "used twice" in caplog.text


async def test_a_cancelled_effect_is_stopped_and_nothing_is_told(
    client: Client, effects: EffectServer
) -> None:
    begun, ended = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def send(effect: Effect) -> None:
        begun.release()
        try:
            await asyncio.Event().wait()
        finally:
            assert effect.cancelled.is_set()
            ended.release()

    async with working(client, send, concurrency=1):
        for name in ("e-1", "e-2"):
            await effects.ask(name)
            await begun.acquire()
            await effects.cancel(name)
            await ended.acquire()
    assert effects.ends == []


async def test_a_heartbeat_prolongs_the_lease_and_hears_of_a_cancellation(
    client: Client, effects: EffectServer
) -> None:
    effects.cancelled.add("e-1")
    ended = asyncio.Event()

    async def send(effect: Effect) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with working(client, send, lease=SHORTEST):
        await effects.ask("e-1")
        [beat] = await effects.wait_told("HeartbeatEffect")
        await ended.wait()
    assert (beat.effect_id, beat.lease_token, beat.lease_duration.seconds) == ("e-1", "token-of-e-1", 1)
    assert effects.ends == []


async def test_an_end_is_told_again_until_it_is_taken_under_the_same_lease(
    client: Client, effects: EffectServer
) -> None:
    effects.refusals["CompleteEffect"] = [(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")] * 3
    effects.refusals["RecordEffectStep"] = [(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")]
    done: list[int] = []

    async with working(client, lambda effect: effect.step("charge", lambda: done.append(1))):
        await effects.ask("e-1")
        [end] = await effects.wait_ends()
    assert end.lease_token == "token-of-e-1"
    assert done == [1]


async def test_a_lost_lease_ends_the_attempt_and_not_the_worker(
    client: Client, effects: EffectServer
) -> None:
    effects.refusals["CompleteEffect"] = [(grpc.StatusCode.FAILED_PRECONDITION, "LEASE_LOST")]
    effects.refusals["RecordEffectStep"] = [(grpc.StatusCode.FAILED_PRECONDITION, "LEASE_LOST")]

    async def send(effect: Effect) -> Any:
        if effect.effect_id == "e-2":
            await effect.step("charge", lambda: None)

    async with working(client, send, concurrency=1):
        for name in ("e-1", "e-2", "e-3"):
            await effects.ask(name)
        [end] = await effects.wait_ends()
    assert end.effect_id == "e-3"


async def test_an_output_that_cannot_be_stored_fails_for_good(client: Client, effects: EffectServer) -> None:
    effects.refusals["CompleteEffect"] = [(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID")]

    async with working(client, lambda effect: {1, 2} if effect.effect_id == "e-1" else "large"):
        await effects.ask("e-1")
        await effects.ask("e-2")
        ends = await effects.wait_ends(2)
    assert {(one.error.reason, one.final) for one in ends} == {("OUTPUT_INVALID", True)}


async def test_an_attempt_that_takes_too_long_fails(client: Client, effects: EffectServer) -> None:
    async def send(effect: Effect) -> None:
        await asyncio.Event().wait()

    async with working(client, send):
        await effects.ask("e-1", timeout={"nanos": 1_000_000})
        [end] = await effects.wait_ends()
    assert (end.error.reason, end.final) == ("EFFECT_TIMEOUT", False)


async def test_a_cut_stream_is_opened_again_with_the_slots_that_are_free(
    client: Client, effects: EffectServer, proxy: Proxy
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def send(effect: Effect) -> None:
        begun.set()
        await go.wait()

    async with working(client, send, concurrency=2):
        await effects.ask("e-1")
        await begun.wait()
        proxy.cut()
        await effects.wait_openings(2)
        await effects.ask("e-2")
        go.set()
        ends = await effects.wait_ends(2)
    assert {one.effect_id for one in ends} == {"e-1", "e-2"}
    assert [one.credits for one in effects.openings] == [2, 1]


async def test_at_the_end_running_effects_are_finished(client: Client, effects: EffectServer) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def send(effect: Effect) -> str:
        begun.set()
        await go.wait()
        return "done"

    async with working(client, send):
        await effects.ask("e-1")
        await begun.wait()
        asyncio.get_running_loop().call_later(0.05, go.set)
    [end] = effects.ends
    assert end.output_json == '"done"'


async def test_what_does_not_finish_in_time_is_given_back_at_once(
    client: Client, effects: EffectServer
) -> None:
    begun = asyncio.Event()

    async def send(effect: Effect) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with working(client, send, grace=timedelta()):
        await effects.ask("e-1")
        await begun.wait()
    [end] = effects.ends
    assert (end.error.reason, end.final) == ("INTERRUPTED", False)
    assert end.HasField("retry_delay")
    assert end.retry_delay.ToTimedelta() == timedelta()


async def test_a_refusal_for_good_ends_the_worker(client: Client, server: Server) -> None:
    async def stream(requests: Any, context: Any) -> AsyncIterator[Any]:
        await refuse(context, grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN")
        yield

    server.script["StreamEffects"] = stream
    worker = Worker(client)
    worker.effect("email.send")(lambda effect: None)
    with pytest.raises(ServerError, match="no"):
        await worker.run()


async def test_handlers_are_told_which_trace_asked(client: Client, effects: EffectServer) -> None:
    from opentelemetry.trace import get_current_span

    async def send(effect: Effect) -> list[str]:
        return [effect.traceparent, f"{get_current_span().get_span_context().trace_id:032x}"]

    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with working(client, send):
        await effects.ask("e-1", traceparent=traceparent)
        [end] = await effects.wait_ends()
    assert json.loads(end.output_json) == [traceparent, "0af7651916cd43dd8448eb211c80319c"]


async def test_mistakes_are_found_before_anything_runs(client: Client) -> None:
    worker = Worker(client)
    with pytest.raises(RuntimeError, match="no handlers"):
        async with worker.running():
            pass
    worker.effect("email.send")(lambda effect: None)
    with pytest.raises(ValueError, match=r"email\.send"):
        worker.effect("email.send")
    with pytest.raises(ValueError, match="concurrency"):
        worker.effect("other", concurrency=0)
    with pytest.raises(ValueError, match="lease"):
        Worker(client, lease=timedelta())
    with pytest.raises(ValueError, match="reason"):
        Retry("card declined", "No.")


async def test_a_worker_opens_a_connection_of_its_own_for_an_address(
    effects: EffectServer, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    worker = Worker(f"127.0.0.1:{proxy.port}")
    worker.effect("email.send")(lambda effect: "sent")
    async with worker.running() as running:
        assert running is worker
        await effects.ask("e-1")
        await effects.wait_ends()
        with pytest.raises(RuntimeError, match="running"):
            worker.effect("other")
