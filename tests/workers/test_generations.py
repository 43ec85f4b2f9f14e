"""Generations from end to end in one process: runtime on SQLite, worker, provider, relay."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from durachart.runtime.generation.frames import GenerationOutcome, TokenUsage
from durachart.runtime.views import JournalEntry
from durachart.workers.providers.settings import ProviderSettings
from tests.providers.aimock import Aimock, running_aimock
from tests.workers.service import Service, canvas, running_service

ENDLESS = "word " * 20_000


@pytest.fixture
async def aimock() -> AsyncIterator[Aimock]:
    async with running_aimock() as running:
        yield running


def at(aimock: Aimock) -> ProviderSettings:
    return ProviderSettings("some-model", openai_base_url=aimock.openai_url)


def ends_heard(entries: list[JournalEntry]) -> list[str]:
    """Events by which the machine heard of an effect's end."""
    return [entry.event_type for entry in entries if entry.cause == "effect" and entry.outcome == "accepted"]


async def test_a_completion_is_stored_then_sent_to_the_machine_and_shown_to_all_viewers(
    tmp_path: Path,
) -> None:
    async with running_service(tmp_path) as service:
        key = await service.create("c-1", evals=["Is brief."])
        effect_id = await service.submit(key, "Explain statecharts.")
        live = await service.view(key)
        late = await service.view(key, effect_id)
        context = await service.context(key)
        assert live.end == late.end
        assert live.end is not None
        assert live.end.outcome is GenerationOutcome.COMPLETED
        assert (live.end.finish_reason, live.end.model) == ("stop", "local")
        assert live.end.usage is not None
        assert live.text == late.text == context["response"]
        assert "“Explain statecharts.”" in live.text
        assert "1. Is brief." in live.text
        assert context["generation"] == {
            "model": "local",
            "finish_reason": "stop",
            "usage": live.end.usage._asdict(),
        }
        assert service.tokens.generations == 0


async def test_an_answer_of_a_real_server_arrives_with_its_model_and_usage(
    tmp_path: Path, aimock: Aimock
) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 9}
    await aimock.answer(
        "hello", "Zażółć 漢字 👩‍🚀, " * 20, chunkSize=3, latency=1, usage=usage, model="m-2030"
    )
    async with running_service(tmp_path, at(aimock)) as service:
        key = await service.create("c-1", model="openai/m")
        await service.submit(key, "hello")
        viewings = await asyncio.gather(*(service.view(key) for _ in range(20)))
        stored = (await service.context(key))["response"]
    assert stored == "Zażółć 漢字 👩‍🚀, " * 20
    for viewing in viewings:
        assert viewing.text == stored
        assert viewing.end is not None
        assert (viewing.end.model, viewing.end.usage) == ("m-2030", TokenUsage(7, 9))
    [request] = await aimock.requests()
    assert request["body"]["model"] == "m"


async def test_a_stop_hangs_up_on_the_provider_ends_viewers_and_leaves_the_canvas_as_it_was(
    tmp_path: Path, aimock: Aimock
) -> None:
    await aimock.answer("first", "The stored answer.")
    await aimock.answer("endless", ENDLESS, latency=10, chunkSize=5)
    async with running_service(tmp_path, at(aimock)) as service:
        key = await service.create("c-1")
        await service.submit(key, "first")
        await service.view(key)
        assert await aimock.wait_closed()

        effect_id = await service.submit(key, "endless")
        begun = asyncio.Event()
        viewers = [asyncio.create_task(service.view(key, begun=begun)) for _ in range(5)]
        await begun.wait()
        stopped = await service.stop(key, request_id="r-1")
        assert (stopped.stopped, stopped.effect_id) == (True, effect_id)
        assert json.loads(stopped.state.value_json) == "idle"
        assert not await aimock.wait_closed(), "the provider was not hung up on"
        for viewing in await asyncio.gather(*viewers):
            assert viewing.end is not None
            assert viewing.end.outcome is GenerationOutcome.STOPPED
            assert viewing.end.usage is None
        context = await service.context(key)
        assert (context["response"], context["error"]) == ("The stored answer.", None)

        late = await service.view(key, effect_id)
        assert late.end is not None
        assert (late.end.outcome, late.text) == (GenerationOutcome.STOPPED, "")
        assert not (await service.stop(key)).stopped
        assert not (await service.stop(key, effect_id)).stopped
        assert (await service.stop(key, request_id="r-1")).stopped


async def test_leaving_the_state_cancels_the_generation_and_hangs_up(tmp_path: Path, aimock: Aimock) -> None:
    await aimock.answer("endless", ENDLESS, latency=10, chunkSize=5)
    leavable = canvas()
    leavable["machine"]["states"]["generating"]["on"]["LEAVE"] = "idle"
    async with running_service(tmp_path, at(aimock), leavable) as service:
        key = await service.create("c-1")
        await service.submit(key, "endless")
        begun = asyncio.Event()
        viewer = asyncio.create_task(service.view(key, begun=begun))
        await begun.wait()
        await service.send(key, "LEAVE")
        viewing = await viewer
        assert viewing.end is not None
        assert viewing.end.outcome is GenerationOutcome.CANCELLED
        assert not await aimock.wait_closed()
        assert ends_heard(await service.journal(key)) == []


async def test_a_failed_attempt_is_followed_by_another_that_viewers_are_told_of(
    tmp_path: Path, aimock: Aimock
) -> None:
    await aimock.answer(
        "flaky", "never seen whole", sequenceIndex=0, truncateAfterChunks=3, chunkSize=3, latency=20
    )
    await aimock.fail("flaky", 500, "oops", sequenceIndex=1)
    await aimock.answer("flaky", "whole", sequenceIndex=2)
    async with running_service(tmp_path, at(aimock)) as service:
        key = await service.create("c-1")
        await service.submit(key, "flaky")
        viewing = await service.view(key)
        assert viewing.end is not None
        assert viewing.end.outcome is GenerationOutcome.COMPLETED
        assert viewing.attempts[-1] == 3
        assert viewing.text == (await service.context(key))["response"] == "whole"


@pytest.mark.parametrize(
    ("status", "reason", "attempts"),
    [
        (401, "PROVIDER_UNAUTHENTICATED", 1),
        (404, "PROVIDER_REJECTED", 1),
        (429, "PROVIDER_RATE_LIMITED", 3),
        (500, "PROVIDER_UNAVAILABLE", 3),
    ],
)
async def test_a_provider_s_error_becomes_an_event_with_a_readable_reason(
    tmp_path: Path, aimock: Aimock, status: int, reason: str, attempts: int
) -> None:
    await aimock.fail("hello", status, "no such luck", retryAfter=0)
    async with running_service(tmp_path, at(aimock)) as service:
        key = await service.create("c-1")
        effect_id = await service.submit(key, "hello")
        viewing = await service.view(key)
        assert viewing.end is not None
        assert (viewing.end.outcome, viewing.end.error_reason) == (GenerationOutcome.FAILED, reason)
        error = (await service.context(key))["error"]
        assert error == {"reason": reason, "message": viewing.end.error_message}
        assert str(status) in error["message"]
        assert len(await aimock.requests()) == attempts
        late = await service.view(key, effect_id)
        assert late.end == viewing.end


async def test_a_cut_stream_is_never_stored(tmp_path: Path, aimock: Aimock) -> None:
    await aimock.answer("hello", "This will never be whole.", truncateAfterChunks=3, chunkSize=3)
    async with running_service(tmp_path, at(aimock)) as service:
        key = await service.create("c-1")
        await service.submit(key, "hello")
        viewing = await service.view(key)
        assert viewing.end is not None
        assert viewing.end.error_reason == "PROVIDER_STREAM_CUT"
        context = await service.context(key)
        assert (context["response"], context["generation"]) == (None, None)
        for entry in await service.journal(key):
            assert "This" not in entry.data_json


async def test_a_model_that_is_not_set_up_says_what_to_set(tmp_path: Path) -> None:
    async with running_service(tmp_path, ProviderSettings()) as service:
        key = await service.create("c-1", model="anthropic/claude-x")
        await service.submit(key, "hello")
        viewing = await service.view(key)
        assert viewing.end is not None
        assert viewing.end.error_reason == "PROVIDER_NOT_CONFIGURED"
        assert "DURACHART_ANTHROPIC_API_KEY" in (await service.context(key))["error"]["message"]


async def test_parameters_that_cannot_be_fail_at_once(tmp_path: Path) -> None:
    wrong = canvas()
    wrong["implementations"]["actions"]["generate"] = {"params": {"promt": "context.prompt"}}
    async with running_service(tmp_path, None, wrong) as service:
        key = await service.create("c-1")
        await service.submit(key, "hello")
        viewing = await service.view(key)
        assert viewing.end is not None
        assert viewing.end.error_reason == "PARAMS_INVALID"
        assert "'promt'" in viewing.end.error_message


async def test_viewers_that_leave_never_stop_a_generation(tmp_path: Path, aimock: Aimock) -> None:
    await aimock.answer("hello", "one two three four five", latency=20, chunkSize=4)
    async with running_service(tmp_path, at(aimock)) as service:
        key = await service.create("c-1")
        await service.submit(key, "hello")
        begun = asyncio.Event()
        viewer = asyncio.create_task(service.view(key, begun=begun))
        await begun.wait()
        viewer.cancel()
        await asyncio.wait({viewer})
        assert await aimock.wait_closed(), "the provider could finish"
        await service.wait_value(key, "idle")
        assert (await service.context(key))["response"] == "one two three four five"


async def test_a_restart_in_the_middle_begins_the_next_attempt_at_once(
    tmp_path: Path, aimock: Aimock
) -> None:
    await aimock.answer("hello", ENDLESS, sequenceIndex=0, latency=10, chunkSize=5)
    await aimock.answer("hello", "The whole answer.", sequenceIndex=1)
    async with running_service(tmp_path, at(aimock)) as service:
        key = await service.create("c-1")
        effect_id = await service.submit(key, "hello")
        begun = asyncio.Event()
        viewer = asyncio.create_task(service.view(key, begun=begun))
        await begun.wait()
        viewer.cancel()
        await asyncio.wait({viewer})
    assert not await aimock.wait_closed(), "shutting down hangs up"

    async with running_service(tmp_path, at(aimock), workers=False) as service:
        state = await service.runtime.instances.get(key)
        assert [(effect.attempt, effect.executing) for effect in state.running_effects] == [(1, False)]
    async with running_service(tmp_path, at(aimock)) as service:
        viewing = await service.view(key, effect_id)
        assert viewing.attempts == [2]
        assert viewing.text == (await service.context(key))["response"] == "The whole answer."


async def test_a_process_that_died_leaves_a_lease_whose_end_begins_the_next_attempt(tmp_path: Path) -> None:
    async with running_service(tmp_path, workers=False) as service:
        key = await service.create("c-1")
        effect_id = await service.submit(key, "hello")
        [dead] = await service.runtime.lease_effects(
            ["llm.generate"], limit=1, holder="a dead process", lease=timedelta(milliseconds=200)
        )
        assert (dead.effect_id, dead.attempt) == (effect_id, 1)
    async with running_service(tmp_path) as service:
        viewing = await service.view(key, effect_id)
        assert viewing.attempts == [2]
        assert viewing.text == (await service.context(key))["response"]


@pytest.mark.parametrize("seed", range(5))
async def test_a_stop_that_races_the_end_is_decided_once_and_all_are_told_the_same(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)

    async def race(service: Service, number: int) -> GenerationOutcome:
        key = await service.create(f"c-{number}")
        effect_id = await service.submit(key, "hello")
        viewers = [asyncio.create_task(service.view(key, effect_id)) for _ in range(2)]
        for _ in range(chance.randint(0, 120)):
            await asyncio.sleep(0)
        stopped = await service.stop(key, effect_id)
        ends = {viewing.end for viewing in await asyncio.gather(*viewers)}
        ends.add((await service.view(key, effect_id)).end)
        [end] = ends
        assert end is not None
        assert stopped.stopped == (end.outcome is GenerationOutcome.STOPPED)
        # Whatever lost the race is no event of the machine.
        assert ends_heard(await service.journal(key)) == [
            "GENERATION_STOPPED" if stopped.stopped else "GENERATION_DONE"
        ]
        assert ((await service.context(key))["response"] is None) == stopped.stopped
        return end.outcome

    async with running_service(tmp_path) as service:
        await asyncio.gather(*(race(service, number) for number in range(40)))


async def test_many_generations_at_a_time_do_not_mix(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:

        async def generate(number: int) -> None:
            key = await service.create(f"c-{number}")
            await service.submit(key, f"This is number {number}.")
            viewing = await service.view(key)
            assert f"“This is number {number}.”" in viewing.text
            assert viewing.text == (await service.context(key))["response"]

        await asyncio.gather(*map(generate, range(100)))
        assert service.tokens.generations == 0
