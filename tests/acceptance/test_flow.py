"""The flow machine on a real server, run by real workers that die in the middle of everything."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from durachart_client import (
    Accepted,
    Client,
    EventToSend,
    InstanceExists,
    InstanceFinished,
    InstanceState,
    Snapshot,
    Transition,
    VersionConflict,
)
from tests.acceptance.receiver import Receiver, receiving
from tests.acceptance.workers import FLOW_WORKER, supervised
from tests.processes import Server

PARTS = [("counter", "increment"), ("message", "write"), ("message", "send")]
# Between every two things of one step, and between that step and the next.
BOUNDARIES = [
    *(
        f"greet/{operation}/{part}/{when}"
        for operation, part in PARTS
        for when in ("before", "after", "recorded")
    ),
    "ask/counter/increment/before",
]


@dataclass
class Scene:
    """A server, and what its workers act on."""

    client: Client
    receiver: Receiver
    deaths: list[int]

    async def begin(self, execution: str, **more: Any) -> InstanceState:
        """Begin an execution of two steps."""
        message = {"id": f"m-{execution}", "kind": "text", "text": "Hello"}
        given = {"flow_id": "welcome", "message": message, "steps": ["greet", "ask"]} | more
        made = await self.client.create("flow", execution, given, request_id=message["id"])
        return made.state

    async def wait_value(self, execution: str, value: Any) -> InstanceState:
        """Wait until an execution is in a state."""
        async with asyncio.timeout(60), self.client.watch("flow", execution) as watch:
            async for event in watch:
                if isinstance(event, Snapshot | Transition) and event.state.value == value:
                    return event.state
        raise AssertionError("the watch ended")

    def operations(self, execution: str) -> dict[str, int]:
        """How often each operation of an execution was done."""
        found = {
            name: count for name, count in self.receiver.done.items() if name.startswith(execution + "/")
        }
        return {name.removeprefix(execution + "/"): count for name, count in found.items()}


@asynccontextmanager
async def scene(marks: Path, workers: int = 1) -> AsyncIterator[Scene]:
    async with (
        receiving() as receiver,
        Server.running("--http", "off") as server,
        Client(server.grpc) as client,
    ):
        arguments = (server.grpc, str(receiver.port), str(marks))
        async with supervised(workers, FLOW_WORKER, *arguments) as deaths:
            yield Scene(client, receiver, deaths)


EVERYTHING = {f"{step}/{operation}": 1 for step in ("greet", "ask") for operation in ("counter", "message")}


async def test_d3_d4_d5_a_worker_dies_between_every_two_things_and_nothing_is_done_twice(
    tmp_path: Path,
) -> None:
    """D3, D4, D5, A7: what an attempt completed is skipped by the next; steps in order, operations once."""
    async with scene(tmp_path, workers=3) as play:
        executions = [f"crash@{where}" for where in BOUNDARIES]
        await asyncio.gather(*(play.begin(one) for one in executions))
        states = await asyncio.gather(*(play.wait_value(one, "completed") for one in executions))
        assert play.deaths == [signal.SIGKILL] * len(BOUNDARIES)
        for execution, state in zip(executions, states, strict=True):
            assert play.operations(execution) == EVERYTHING, execution
            assert [one["status"] for one in state.context["steps"]] == ["done", "done"]
            assert state.context["errors"] == []
        effects = [one async for one in play.client.effects.list("flow")]
        assert len(effects) == 4 * len(executions)
        for listed in effects:
            await _check_effect(play, listed.instance.instance_id, listed.effect_id)


async def _check_effect(play: Scene, execution: str, effect_id: str) -> None:
    effect = await play.client.effects.get("flow", execution, effect_id)
    assert effect.state == "completed"
    assert [one.state for one in effect.steps] == ["completed"] * len(effect.steps)
    outcomes = [one.outcome for one in effect.attempts]
    # An attempt may have been lost at its own boundary, and another because it had the same worker.
    assert set(outcomes[:-1]) <= {"lost", "failed"}
    assert outcomes[-1] == "completed"
    step, operation, part, when = execution.partition("@")[2].split("/")
    for recorded in effect.steps:
        key = f"{effect_id}:{recorded.name}"
        assert len(play.receiver.texts.get(key, ())) <= 1, "what was written once is sent, however often"
        here = (effect.params["step"], effect.params["operation"], recorded.name, "recorded")
        if here == (step, operation, part, when) and len(outcomes) == 2:
            assert play.receiver.asked[key] == (recorded.name != "write"), "a recorded step is not done again"


async def test_d4_d10_a_failed_step_blocks_until_an_operator_retries_or_skips_it(tmp_path: Path) -> None:
    """D2, D4, D10: blocked, resumed from the last success, skipped; the history of errors is kept."""
    async with scene(tmp_path) as play:
        play.receiver.refuse |= {"retried/greet/message", "skipped/greet/counter", "aborted/ask/counter"}
        for execution in ("retried", "skipped", "aborted"):
            await play.begin(execution)
        blocked = {
            one: await play.wait_value(one, {"blocked": "waiting"})
            for one in ("retried", "skipped", "aborted")
        }
        [error] = blocked["retried"].context["errors"]
        assert (error["step"], error["operation"], error["reason"]) == (
            "greet",
            "message",
            "RECEIVER_REFUSED",
        )
        assert blocked["retried"].tags == ("attention",)
        assert play.operations("retried") == {"greet/counter": 1}

        dead = {one.instance.instance_id async for one in play.client.effects.list("flow", state="discarded")}
        assert dead == {"retried", "skipped", "aborted"}

        play.receiver.refuse.clear()
        await play.client.send("flow", "retried", "RETRY_STEP")
        await play.client.send("flow", "skipped", "SKIP_STEP", {"reason": "not needed"})
        await play.client.send("flow", "aborted", "ABORT", {"reason": "the customer has left"})
        done = await play.wait_value("retried", "completed")
        assert play.operations("retried") == EVERYTHING
        greet = done.context["steps"][0]
        assert (greet["status"], greet["attempts"], greet["error"]) == ("done", 2, None)
        assert greet["counter_at"] < error["at"] < greet["message_at"]
        assert len(done.context["errors"]) == 1
        assert done.output["failures"] == 1

        skipped = await play.wait_value("skipped", "completed")
        assert skipped.output["skipped"] == ["greet"]
        assert play.operations("skipped") == {"ask/counter": 1, "ask/message": 1}
        assert (await play.client.get("flow", "aborted")).value == "aborted"
        with pytest.raises(InstanceFinished):
            await play.client.send("flow", "aborted", "RETRY_STEP")


async def test_d1_d7_executions_are_unique_and_recovered_in_numbers(tmp_path: Path) -> None:
    """D1, D7: a message is one execution, however often it comes; batches, each event with its version."""
    executions = [f"welcome:m-{number}" for number in range(5)]
    async with scene(tmp_path) as play:
        play.receiver.refuse |= {f"{one}/greet/counter" for one in executions}
        for execution in executions:
            assert await play.begin(execution) == await play.begin(execution)
        with pytest.raises(InstanceExists):
            await play.client.create("flow", executions[0], {"flow_id": "other"})
        blocked = [await play.wait_value(one, {"blocked": "waiting"}) for one in executions]
        assert blocked[0].context["message"]["id"] == "m-welcome:m-0"

        await play.client.send("flow", executions[0], "SKIP_STEP", expected_version=blocked[0].version)
        play.receiver.refuse.clear()
        answers = await play.client.send_many(
            [
                EventToSend("flow", one, "RETRY_STEP", expected_version=state.version)
                for one, state in zip(executions, blocked, strict=True)
            ]
        )
        assert isinstance(answers[0], VersionConflict), "an operator has decided about this one"
        assert all(isinstance(one, Accepted) for one in answers[1:])
        ends = [await play.wait_value(one, "completed") for one in executions]
        assert [one.output["skipped"] for one in ends] == [["greet"], [], [], [], []]
