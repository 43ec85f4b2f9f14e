"""Workers and built-in handlers on real servers: who runs what, and what becomes of it when somebody dies."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from durachart_client import (
    Client,
    Effect,
    EffectRecord,
    Fail,
    InstanceState,
    Json,
    Reject,
    Retry,
    RetryPolicy,
    Snapshot,
    Transition,
    Worker,
)
from tests.acceptance.receiver import receiving
from tests.acceptance.workers import start_worker, stop_worker
from tests.processes import ROOT, Server
from tests.unit.workers.http_peer import answer, serving

WORKER = Path(__file__).with_name("worker_process.py")


def job(handler: str, *params: str) -> Mapping[str, Any]:
    """A machine that asks for one effect, with these keys of its input, and keeps what comes of it."""
    keep = {"actions": "keep", "target": "ended"}
    return {
        "machine": {
            "id": "job",
            "initial": "asking",
            "context": {"input": None, "answer": None},
            "states": {
                "asking": {
                    "entry": "ask",
                    "on": {"DONE": keep, "FAILED": keep, "REJECTED": keep, "LEAVE": "left"},
                },
                "ended": {"on": {"DONE": {"actions": "keep"}, "FAILED": {"actions": "keep"}}},
                "left": {},
            },
        },
        "implementations": {
            "context": {"input": "input"},
            "actions": {
                "ask": {"params": {name: f"context.input.{name}" for name in params}},
                "keep": {
                    "assign": {"answer": "has(event.output) ? dyn(event.output) : dyn(event.error.reason)"}
                },
            },
        },
        "effects": {
            "ask": {
                "handler": handler,
                "done": "DONE",
                "failed": "FAILED",
                "rejected": "REJECTED",
                "cancel_on_exit": True,
                "retry": {"max_attempts": 3, "initial_backoff_ms": 1},
            }
        },
    }


async def wait_value(client: Client, instance: str, value: str = "ended") -> InstanceState:
    """Wait until a job is in a state."""
    async with asyncio.timeout(60), client.watch("job", instance) as watch:
        async for event in watch:
            if isinstance(event, Snapshot | Transition) and event.state.value == value:
                return event.state
    raise AssertionError("the watch ended")


async def effect_of(client: Client, instance: str) -> EffectRecord:
    """The job's effect, with attempts and steps."""
    [found] = [one async for one in client.effects.list("job", instance)]
    return await client.effects.get("job", instance, found.effect_id)


async def test_a7_d3_a_worker_that_is_killed_is_followed_by_another(tmp_path: Path) -> None:
    """A7, D3: the intent is on disk, its worker dies in the middle, and the machine hears of the end once."""
    async with (
        receiving() as receiver,
        Server.running("--http", "off") as server,
        Client(server.grpc) as client,
    ):
        await client.publish(job("test.ask", "name"))
        receiver.hold.add("ship")
        await client.create("job", "j", {"name": "ship"})
        effect_id = (await effect_of(client, "j")).effect_id
        arguments = (server.grpc, str(receiver.port), "1")
        first = await start_worker(WORKER, *arguments)
        await receiver.wait_asked(effect_id)
        first.kill()
        second = await start_worker(WORKER, *arguments)
        await receiver.wait_asked(effect_id, 2)
        await receiver.release("ship")
        state = await wait_value(client, "j")
        await first.communicate()
        assert await stop_worker(second) == 0

        effect = await effect_of(client, "j")
        outcomes = [one.outcome for one in effect.attempts]
        assert (outcomes[0], outcomes[-1]) == ("lost", "completed")
        assert len({one.worker_id for one in effect.attempts}) == 2
        assert state.context["answer"] == {"attempt": len(outcomes)}
        assert receiver.done["ship"] == 1
        entries = [one async for one in client.journal("job", "j")]
        assert [(one.cause, one.event_type) for one in entries] == [("create", ""), ("effect", "DONE")]


async def test_a_worker_that_is_asked_to_end_finishes_what_it_has_begun(tmp_path: Path) -> None:
    """A drain loses nothing: what runs is finished, what waits is left to others."""
    async with (
        receiving() as receiver,
        Server.running("--http", "off") as server,
        Client(server.grpc) as client,
    ):
        await client.publish(job("test.ask", "name"))
        receiver.hold.add("ship")
        await client.create("job", "j", {"name": "ship"})
        process = await start_worker(WORKER, server.grpc, str(receiver.port), "30")
        await receiver.wait_asked((await effect_of(client, "j")).effect_id)
        process.send_signal(signal.SIGTERM)
        await client.create("job", "later", {"name": "later"})
        await receiver.release("ship")
        async with asyncio.timeout(60):
            assert await process.wait() == 0
        assert (await wait_value(client, "j")).context["answer"] == {"attempt": 1}
        assert (await effect_of(client, "later")).state in ("available", "completed"), "not left leased"


async def test_a7_a_server_that_is_killed_meanwhile_takes_the_end_when_it_is_back(tmp_path: Path) -> None:
    """A7: an effect survives its server; the worker goes on under its lease and tells the end afterwards."""
    begun, go = asyncio.Event(), asyncio.Event()
    done: list[int] = []

    async def ask(effect: Effect) -> Json:
        await effect.step("ship", lambda: done.append(effect.attempt))
        begun.set()
        await go.wait()
        return {"attempt": effect.attempt}

    first = await Server.start(tmp_path, "--http", "off")
    await first.wait_ready()
    # Waits between attempts must not cost the test its time.
    quick = RetryPolicy(maximum_ms=200)
    async with Client(first.grpc, timeout=timedelta(seconds=5), retry=quick) as client:
        await client.publish(job("test.ask", "name"))
        worker = Worker(client)
        worker.effect("test.ask")(ask)
        async with worker.running():
            await client.create("job", "j", {"name": "ship"})
            await begun.wait()
            first.kill()
            await first.wait()
            go.set()
            second = await Server.start(tmp_path, "--http", "off", "--listen", first.grpc)
            try:
                await second.wait_ready()
                assert (await wait_value(client, "j")).context["answer"] == {"attempt": 1}
                await client.create("job", "next", {"name": "ship"})
                assert (await wait_value(client, "next")).context["answer"] == {"attempt": 1}
            finally:
                second.kill()
                await second.wait()
    assert done == [1, 1]


async def test_d3_workers_share_what_there_is_and_the_machine_hears_how_it_ended() -> None:
    """D3, D10: shared, retried as the policy says, refused, dead letters given back, cancelled when left."""
    async with Server.running("--http", "off") as server, Client(server.grpc) as client:
        await client.publish(job("test.ask", "what"))
        ran: list[tuple[str, str]] = []
        stopped, repaired = asyncio.Event(), asyncio.Event()
        charged: list[int] = []

        async def ask(effect: Effect) -> Json:
            what = effect.params["what"]
            ran.append((effect.instance.instance_id, what))
            if what == "reject":
                raise Reject("CARD_DECLINED", "No money.")
            if what == "flaky" and effect.attempt < 3:
                raise Retry("BUSY", "Come back.", timedelta())
            if what == "broken":
                await effect.step("charge", lambda: charged.append(1))
                if not repaired.is_set():
                    raise Fail("BROKEN", "Somebody has to look.")
            if what == "long":
                try:
                    await asyncio.Event().wait()
                finally:
                    stopped.set()
            return effect.attempt

        workers = [Worker(client, name=f"w{number}", concurrency=4) for number in range(2)]
        for worker in workers:
            worker.effect("test.ask")(ask)
        async with workers[0].running(), workers[1].running():
            many = [f"n{number}" for number in range(40)]
            await asyncio.gather(*(client.create("job", one, {"what": "go"}) for one in many))
            assert [(await wait_value(client, one)).context["answer"] for one in many] == [1] * 40
            assert len(ran) == 40

            for what in ("reject", "flaky", "broken", "long"):
                await client.create("job", what, {"what": what})
            assert (await wait_value(client, "reject")).context["answer"] == "CARD_DECLINED"
            assert (await wait_value(client, "flaky")).context["answer"] == 3

            assert (await wait_value(client, "broken")).context["answer"] == "BROKEN"
            dead = [one async for one in client.effects.list("job", state="discarded")]
            assert {one.instance.instance_id for one in dead} == {"reject", "broken"}
            repaired.set()
            broken = await effect_of(client, "broken")
            await client.effects.retry("job", "broken", broken.effect_id)
            async with asyncio.timeout(60), client.watch("job", "broken") as watch:
                async for event in watch:
                    if isinstance(event, Snapshot | Transition) and event.state.context["answer"] == 2:
                        break
            assert charged == [1], "a step that was completed is not done again"

            async with asyncio.timeout(60):
                while ("long", "long") not in ran:
                    await asyncio.wait({asyncio.ensure_future(client.get("job", "long"))})
                await client.send("job", "long", "LEAVE")
                await stopped.wait()
        assert (await effect_of(client, "long")).state == "cancelled"


async def test_http_request_calls_a_service_under_one_key_and_only_where_it_may(tmp_path: Path) -> None:
    """The server's own handler: retried after what the service asks for, refused where nobody may go."""
    async with (
        serving(answer(503, Retry_After="0"), answer(200, b'{"id": 7}', "application/json")) as peer,
        Server.running("--http", "off", "--http-allow", "127.0.0.1") as server,
        Client(server.grpc) as client,
    ):
        await client.publish(job("http.request", "url", "json"))
        await client.create("job", "allowed", {"url": peer.url(), "json": {"sku": "tea"}})
        allowed = await wait_value(client, "allowed")
        assert (allowed.context["answer"]["status"], allowed.context["answer"]["json"]) == (200, {"id": 7})
        effect = await effect_of(client, "allowed")
        assert [one.headers["idempotency-key"] for one in peer.asked] == [effect.effect_id] * 2
        assert [json.loads(one.body) for one in peer.asked] == [{"sku": "tea"}] * 2
        assert [one.error and one.error.reason for one in effect.attempts] == ["HTTP_UNAVAILABLE", None]

        metadata = "http://169.254.169.254/latest/meta-data/"
        await client.create("job", "metadata", {"url": metadata, "json": {}})
        assert (await wait_value(client, "metadata")).context["answer"] == "HTTP_TARGET_FORBIDDEN"


async def test_the_example_runs_as_its_readme_says() -> None:
    async with Server.running("--http", "off") as server, Client(server.grpc) as client:
        message = {"id": "m-1", "kind": "text", "text": "Hello"}
        given = {"flow_id": "welcome", "message": message, "steps": ["greet", "ask"]}
        await client.create("flow", "welcome:m-1", given)
        message = message | {"id": "m-2", "text": "nonsense"}
        await client.create("flow", "welcome:m-2", given | {"message": message})
        script = ROOT / "examples" / "worker" / "flow_worker.py"
        process = await start_worker(script, env={"DURACHART_SERVER": server.grpc})
        try:
            async with asyncio.timeout(60), client.watch("flow", "welcome:m-1", end_on_final=True) as watch:
                states = [one.state.value async for one in watch if isinstance(one, Snapshot | Transition)]
            assert states[-1] == "completed"
            async with asyncio.timeout(60), client.watch("flow", "welcome:m-2") as watch:
                async for event in watch:
                    if isinstance(event, Snapshot | Transition) and "attention" in event.state.tags:
                        assert event.state.context["errors"][0]["reason"] == "NOT_UNDERSTOOD"
                        break
        finally:
            assert await stop_worker(process, signal.SIGINT) == 0
