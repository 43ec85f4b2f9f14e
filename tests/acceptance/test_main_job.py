"""The main job, end to end: a real server process, a real peer for the model, and a kill in the middle."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from durachart_client import (
    AttemptStarted,
    Client,
    EventNotAllowed,
    GenerationEnd,
    GuardRejected,
    InstanceState,
    JournalEntry,
    PayloadInvalid,
    Text,
    TokenEvent,
    Transition,
    VersionConflict,
)
from tests.processes import Server, run_cli
from tests.providers.aimock import Aimock, running_aimock

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server.running() as running:
        yield running


@pytest.fixture
async def aimock() -> AsyncIterator[Aimock]:
    async with running_aimock() as running:
        yield running


@pytest.fixture
async def server_with_aimock(aimock: Aimock) -> AsyncIterator[Server]:
    variables = {"DURACHART_OPENAI_BASE_URL": aimock.openai_url, "DURACHART_OPENAI_API_KEY": "none-needed"}
    async with Server.running(env=variables) as running:
        yield running


async def _journal(client: Client, machine: str, instance: str) -> list[JournalEntry]:
    return [entry async for entry in client.journal(machine, instance)]


async def _wait_until(client: Client, instance: str, value: str) -> InstanceState:
    """The canvas once it is in ``value``; watched, not polled."""
    async with asyncio.timeout(PATIENCE_S), aclosing(client.watch("canvas", instance)) as watch:
        async for event in watch:
            state = getattr(event, "state", None)
            if state is not None and state.value == value:
                return state
    raise AssertionError("the watch ended")


async def _read_to_end(client: Client, instance: str, effect_id: str) -> tuple[str, GenerationEnd]:
    """The text of the last attempt, checked to be without gap, and how the generation ended."""
    text = ""
    async with (
        asyncio.timeout(PATIENCE_S),
        aclosing(client.watch_tokens("canvas", instance, effect_id)) as stream,
    ):
        async for event in stream:
            match event:
                case AttemptStarted():
                    text = ""
                case Text(offset=offset, text=more):
                    assert offset == len(text)
                    text += more
                case GenerationEnd():
                    return text, event
    raise AssertionError("the stream ended without an end frame")


async def _first_text(stream: AsyncIterator[TokenEvent]) -> None:
    async for event in stream:
        if isinstance(event, Text):
            return


async def test_a1_a7_a17_an_order_reaches_confirmed_through_a_conflict_and_a_guard_refusal(
    server: Server,
) -> None:
    """A1 A2 A3 A5 A6 A7 A8 A12 A17 F2: state, version, refusals and journal agree; a client never decides."""
    async with Client(server.grpc) as client:
        created = await client.create("order", "o-1", {"customer": "ada"})
        assert (created.state.value, created.state.version) == ("draft", 0)
        # A1: state that a client sends is data of its event at most, and here the schema refuses even that.
        with pytest.raises(PayloadInvalid):
            await client.send("order", "o-1", "SUBMIT", {"state": "confirmed", "version": 7})
        with pytest.raises(GuardRejected) as rejected:
            await client.send("order", "o-1", "SUBMIT")
        assert rejected.value.guards == ("hasItems",)
        assert rejected.value.allowed_events == ("ADD_ITEM", "CANCEL")
        with pytest.raises(EventNotAllowed):
            await client.send("order", "o-1", "PAYMENT_SUCCESS")
        added = await client.send(
            "order", "o-1", "ADD_ITEM", {"sku": "tea", "quantity": 2, "price_cents": 450}, expected_version=0
        )
        assert (added.state.version, added.changed) == (1, True)
        with pytest.raises(VersionConflict) as conflict:
            await client.send("order", "o-1", "SUBMIT", expected_version=0)
        assert (conflict.value.expected, conflict.value.actual) == (0, 1)
        submitted = await client.send("order", "o-1", "SUBMIT", expected_version=1, request_id="submit-1")
        again = await client.send("order", "o-1", "SUBMIT", expected_version=1, request_id="submit-1")
        assert again.replayed
        assert again.state == submitted.state
        paid = await client.send("order", "o-1", "PAYMENT_SUCCESS", {"payment_id": "p-77"})
        assert (paid.state.value, paid.state.status, paid.state.version) == ("confirmed", "done", 3)
        read = await client.get("order", "o-1")
        assert replace(read, evaluated_at=paid.state.evaluated_at) == paid.state
        entries = await _journal(client, "order", "o-1")
    assert [(entry.seq, entry.event_type, entry.outcome, entry.reason) for entry in entries] == [
        (1, "", "accepted", ""),
        (2, "SUBMIT", "refused", "PAYLOAD_INVALID"),
        (3, "SUBMIT", "refused", "GUARD_REJECTED"),
        (4, "PAYMENT_SUCCESS", "refused", "EVENT_NOT_ALLOWED"),
        (5, "ADD_ITEM", "accepted", ""),
        (6, "SUBMIT", "refused", "VERSION_CONFLICT"),
        (7, "SUBMIT", "accepted", ""),
        (8, "PAYMENT_SUCCESS", "accepted", ""),
    ]
    assert [entry.to_version for entry in entries] == [0, 0, 0, 0, 1, 1, 2, 3]


async def test_a18_a20_a_canvas_asks_once_with_prompt_and_evals_and_stores_only_the_complete_text(
    server_with_aimock: Server, aimock: Aimock
) -> None:
    """A18 A19 A20 F3: one request, the selected model, tokens while they come, then one final update."""
    answer = "Statecharts nest states. " * 20
    await aimock.answer("Names an example", answer, latency=5, chunkSize=10)
    async with Client(server_with_aimock.grpc) as client:
        await client.create("canvas", "c-1", {"evals": ["At most three sentences.", "Names an example."]})
        await client.send("canvas", "c-1", "SELECT_MODEL", {"model": "openai/chosen-model"})
        asked = await client.send("canvas", "c-1", "SUBMIT", {"prompt": "Explain statecharts."})
        assert asked.state.value == "generating"
        assert asked.state.context is not None
        assert asked.state.context["prompt"] == "Explain statecharts."
        assert asked.state.context["response"] is None
        [running] = asked.state.running_effects
        text, end = await _read_to_end(client, "c-1", running.effect_id)
        assert (text, end.outcome, end.finish_reason) == (answer, "completed", "stop")
        done = await _wait_until(client, "c-1", "idle")
        assert done.context is not None
        assert done.context["response"] == answer
        assert done.version == asked.state.version + 1
        # Joining after the end gives the stored result.
        assert await _read_to_end(client, "c-1", running.effect_id) == (text, end)
    [request] = await aimock.requests()
    assert request["body"]["model"] == "chosen-model"
    sent = json.dumps(request["body"]["messages"])
    assert all(
        part in sent for part in ("Explain statecharts.", "At most three sentences.", "Names an example.")
    )


async def test_a21_stop_aborts_the_models_stream_and_the_canvas_shows_its_stored_state(
    server_with_aimock: Server, aimock: Aimock
) -> None:
    """A21: the provider sees the disconnect, every viewer ends, nothing partial is stored."""
    await aimock.answer("first", "The stored answer.")
    await aimock.answer("endless", "word " * 5000, latency=20, chunkSize=5)
    async with Client(server_with_aimock.grpc) as client:
        await client.create("canvas", "c-2", {"model": "openai/m"})
        await client.send("canvas", "c-2", "SUBMIT", {"prompt": "first"})
        await _wait_until(client, "c-2", "idle")
        assert await aimock.wait_closed()
        asked = await client.send("canvas", "c-2", "SUBMIT", {"prompt": "endless"})
        [running] = asked.state.running_effects
        async with (
            asyncio.timeout(PATIENCE_S),
            aclosing(client.watch_tokens("canvas", "c-2", running.effect_id)) as viewer,
        ):
            await _first_text(viewer)
            stopped = await client.stop_generation("canvas", "c-2", running.effect_id)
            assert (stopped.stopped, stopped.state.value) == (True, "idle")
            assert stopped.state.context is not None
            assert stopped.state.context["response"] == "The stored answer."
            last = None
            async for event in viewer:
                last = event
        assert isinstance(last, GenerationEnd)
        assert (last.outcome, last.usage) == ("stopped", None)
        assert not await aimock.wait_closed(), "the model's response was abandoned, not finished"
        again = await client.stop_generation("canvas", "c-2", running.effect_id)
        assert again.state.version == stopped.state.version


async def test_a23_a_stream_cut_in_the_middle_becomes_an_event_with_a_readable_reason(
    server_with_aimock: Server, aimock: Aimock
) -> None:
    """A23: a partial text is never stored; after the last attempt the canvas shows the error."""
    await aimock.answer("cut", "This text will never arrive whole. " * 10, chunkSize=5, truncateAfterChunks=4)
    async with Client(server_with_aimock.grpc) as client:
        await client.create("canvas", "c-3", {"model": "openai/m"})
        asked = await client.send("canvas", "c-3", "SUBMIT", {"prompt": "cut"})
        [running] = asked.state.running_effects
        _, end = await _read_to_end(client, "c-3", running.effect_id)
        assert (end.outcome, end.error_reason) == ("failed", "PROVIDER_STREAM_CUT")
        failed = await _wait_until(client, "c-3", "idle")
        assert failed.context is not None
        assert failed.context["response"] is None
        assert failed.context["error"]["reason"] == "PROVIDER_STREAM_CUT"
    # Three attempts, as the machine's retry policy says.
    assert len(await aimock.requests()) == 3


async def test_a7_f7_everything_acknowledged_is_found_after_sigkill(tmp_path: Path) -> None:
    """F2 A7: states, versions, journals and a running generation survive the kill of the process."""
    acknowledged: dict[str, int] = {}
    arguments = ["--data-dir", str(tmp_path / "data"), "--llm-token-delay-ms", "40"]
    async with Server.running(*arguments) as server, Client(server.grpc) as client:
        await client.create("canvas", "c-9")
        asked = await client.send("canvas", "c-9", "SUBMIT", {"prompt": "A long story, please."})
        [running] = asked.state.running_effects

        async def drive(number: int) -> None:
            name = f"o-{number}"
            acknowledged[name] = (await client.create("order", name)).state.version
            while True:
                answer = await client.send(
                    "order", name, "ADD_ITEM", {"sku": "tea"}, timeout=timedelta(seconds=2)
                )
                acknowledged[name] = answer.state.version

        drivers = [asyncio.create_task(drive(number)) for number in range(8)]
        async with asyncio.timeout(PATIENCE_S), aclosing(client.watch("order")) as watch:
            seen = 0
            async for event in watch:
                seen += isinstance(event, Transition)
                if seen >= 200:
                    break
        server.kill()
        for driver in drivers:
            driver.cancel()
        await asyncio.gather(*drivers, return_exceptions=True)
    assert sum(acknowledged.values()) > 100
    async with Server.running(*arguments) as server, Client(server.grpc) as client:
        for name, version in acknowledged.items():
            state = await client.get("order", name)
            # One more may have been committed than was heard of.
            assert version <= state.version <= version + 1
            assert state.context is not None
            assert len(state.context["items"]) == state.version
            entries = await _journal(client, "order", name)
            assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
            assert [entry.to_version for entry in entries] == list(range(state.version + 1))
        text, end = await _read_to_end(client, "c-9", running.effect_id)
        assert end.outcome == "completed"
        assert end.attempt == 2
        done = await _wait_until(client, "c-9", "idle")
        assert done.context is not None
        assert done.context["response"] == text


async def test_f7_the_command_line_publishes_drives_and_explains(server: Server) -> None:
    """F7: what a newcomer types; refusals say why and leave a meaningful exit code."""
    published = run_cli(server, "publish", str(ROOT / "machines/order/machine.yaml"), "--json")
    assert published.returncode == 0, published.stderr
    assert run_cli(server, "create", "order", "o-7").returncode == 0
    refused: subprocess.CompletedProcess[str] = run_cli(server, "send", "order", "o-7", "SUBMIT")
    assert refused.returncode == 3
    assert "hasItems" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) <= 2
    assert run_cli(server, "send", "order", "o-7", "ADD_ITEM", "sku=tea").returncode == 0
    state = json.loads(run_cli(server, "get", "order", "o-7", "--json").stdout)
    assert state["version"] in (1, "1")
    assert run_cli(server, "get", "order", "missing").returncode == 5
