"""Generations on one server process, watched and stopped through another on the same database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from datetime import timedelta

import pytest

from durachart_client import (
    AttemptStarted,
    Client,
    Effect,
    GenerationEnd,
    Json,
    LeaseLost,
    RequestInvalid,
    Text,
    TokenWriter,
    Worker,
)
from tests.postgres import PostgresServer
from tests.processes import Server
from tests.providers.aimock import Aimock, running_aimock

PATIENCE_S = 60
ENDLESS = "word " * 20_000
ANSWER = "Zażółć 漢字 👩‍🚀, " * 30
NO_GENERATIONS = ("--concurrency", "llm.generate=0")


@pytest.fixture
async def url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    name = await postgres_server.create_database()
    yield postgres_server.url(name)
    await postgres_server.drop_database(name)


@pytest.fixture
async def aimock() -> AsyncIterator[Aimock]:
    async with running_aimock() as running:
        yield running


def node(url: str, aimock: Aimock, *arguments: str) -> contextlib.AbstractAsyncContextManager[Server]:
    return Server.running(
        *("--db", url, "--http", "off", "--openai-base-url", aimock.openai_url, *arguments),
        env={"DURACHART_OPENAI_API_KEY": "none"},
    )


class Viewer:
    """Follows a generation to its end; frames are checked to join without gap or duplicate."""

    def __init__(self, client: Client, instance: str, effect_id: str = "") -> None:
        self.texts: dict[int, str] = {}
        self.begun = asyncio.Event()
        self._changed = asyncio.Event()
        self._stream = client.watch_tokens("canvas", instance, effect_id)
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> GenerationEnd:
        async with asyncio.timeout(PATIENCE_S), aclosing(self._stream) as stream:
            async for event in stream:
                match event:
                    case AttemptStarted(attempt=attempt):
                        assert attempt > max(self.texts, default=0)
                        self.texts[attempt] = ""
                    case Text(attempt=attempt, offset=offset, text=text):
                        assert offset == len(self.texts[attempt])
                        self.texts[attempt] += text
                        self.begun.set()
                        self._changed.set()
                    case GenerationEnd():
                        return event
        raise AssertionError("the stream ended without an end frame")

    async def wait_text(self, text: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not self.texts or self.text != text:
                self._changed.clear()
                await self._changed.wait()

    @property
    def text(self) -> str:
        return self.texts[max(self.texts)]


async def submit(client: Client, instance: str, prompt: str) -> str:
    accepted = await client.send("canvas", instance, "SUBMIT", {"prompt": prompt}, create_if_missing=True)
    return accepted.effects[0].effect_id


async def test_a_generation_is_watched_and_stopped_at_a_node_that_does_not_run_it(
    url: str, aimock: Aimock
) -> None:
    """A20, A21: one text for all viewers, wherever they are; a stop anywhere hangs up on the provider."""
    await aimock.answer("first", ANSWER, latency=3, chunkSize=5, model="m-1")
    await aimock.answer("endless", ENDLESS, latency=10, chunkSize=5)
    async with AsyncExitStack() as stack:
        model = ("--llm-model", "openai/m")
        owner = await stack.enter_async_context(node(url, aimock, *model))
        other = await stack.enter_async_context(node(url, aimock, *model, *NO_GENERATIONS))
        a, b = [await stack.enter_async_context(Client(each.grpc)) for each in (owner, other)]
        effect_id = await submit(b, "c-1", "first")
        viewers = [Viewer(client, "c-1", effect_id) for client in (a, b, b, b)]
        await viewers[1].begun.wait()
        viewers.append(Viewer(b, "c-1"))
        ends = await asyncio.gather(*(viewer.task for viewer in viewers))
        late = Viewer(b, "c-1", effect_id)
        ends.append(await late.task)
        assert set(ends) == {ends[0]}
        assert (ends[0].outcome, ends[0].finish_reason, ends[0].model) == ("completed", "stop", "m-1")
        stored = (await b.get("canvas", "c-1")).context["response"]
        assert stored == ANSWER
        assert [viewer.texts for viewer in (*viewers, late)] == [{1: stored}] * 6
        assert await aimock.wait_closed()

        effect_id = await submit(a, "c-1", "endless")
        viewers = [Viewer(client, "c-1", effect_id) for client in (a, b, b)]
        await asyncio.gather(*(viewer.begun.wait() for viewer in viewers))
        stopped = await b.stop_generation("canvas", "c-1", effect_id, request_id="r-1")
        assert stopped.stopped
        assert not await aimock.wait_closed(), "the provider was not hung up on"
        for end in await asyncio.gather(*(viewer.task for viewer in viewers)):
            assert (end.outcome, end.usage) == ("stopped", None)
        assert (await a.stop_generation("canvas", "c-1", effect_id, request_id="r-1")).stopped
        assert not (await a.stop_generation("canvas", "c-1", effect_id)).stopped
        assert (await a.get("canvas", "c-1")).context["response"] == ANSWER


async def test_a_viewer_elsewhere_sees_the_attempt_that_follows_the_death_of_a_node(
    url: str, aimock: Aimock
) -> None:
    """A20: attempt 2 begins with its own frame; what attempt 1 left is stored nowhere."""
    await aimock.answer("hello", ENDLESS, sequenceIndex=0, latency=10, chunkSize=5)
    await aimock.answer("hello", ANSWER, sequenceIndex=1, latency=2, chunkSize=5)
    async with AsyncExitStack() as stack:
        model = ("--llm-model", "openai/m")
        owner = await stack.enter_async_context(node(url, aimock, *model))
        viewed = await stack.enter_async_context(node(url, aimock, *model, *NO_GENERATIONS))
        a, b = [await stack.enter_async_context(Client(each.grpc)) for each in (owner, viewed)]
        effect_id = await submit(a, "c-1", "hello")
        viewers = [Viewer(b, "c-1", effect_id) for _ in range(2)]
        await viewers[0].begun.wait()
        owner.kill()
        # The next attempt is made by a third one.
        await stack.enter_async_context(node(url, aimock, *model))
        for viewer in viewers:
            end = await viewer.task
            assert (end.outcome, end.attempt) == ("completed", 2)
            assert list(viewer.texts) == [1, 2]
            assert ENDLESS.startswith(viewer.texts[1])
            assert viewer.text == ANSWER == (await b.get("canvas", "c-1")).context["response"]


async def write_until_lost(written: TokenWriter) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await written.write("nobody reads this")
            await asyncio.sleep(0)


def result(text: str) -> dict[str, Json]:
    return {"text": text, "finish_reason": "stop", "model": "mine", "usage": None}


async def test_text_of_a_worker_is_shown_everywhere_and_fenced_by_its_lease(url: str, aimock: Aimock) -> None:
    """A20: any node takes it; a worker that dies leaves nothing behind; the result is what it completed."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(node(url, aimock, *NO_GENERATIONS)) for _ in range(2)]
        a, b = [await stack.enter_async_context(Client(each.grpc)) for each in servers]
        effect_id = await submit(a, "c-1", "hello")
        viewers = [Viewer(client, "c-1", effect_id) for client in (a, b)]
        (dead,) = await a.effects.lease(
            ["llm.generate"], worker_id="dead", lease=timedelta(seconds=2), wait=timedelta(seconds=9)
        )
        written = a.effects.tokens(dead, "mine")
        await written.write("漢字 ")
        for viewer in viewers:
            await viewer.wait_text("漢字 ")
        # Another stream of the same attempt, at the node that has not its text.
        async with b.effects.tokens(dead) as elsewhere:
            await elsewhere.write("of the dead")
        for viewer in viewers:
            await viewer.wait_text("漢字 of the dead")
        with pytest.raises(RequestInvalid):
            await a.watch_tokens("canvas", "c-1", effect_id, attempt=1, offset=1_000).__anext__()

        # It gives no sign of life; another worker, at the other node, makes the next attempt.
        go_on = asyncio.Event()
        worker = Worker(b)

        @worker.effect("llm.generate")
        async def generate(effect: Effect) -> Json:
            assert effect.attempt == 2
            async with effect.tokens("mine") as out:
                await out.write("all ")
                await go_on.wait()
                await out.write("of it")
            return result("all of it")

        async with worker.running():
            for viewer in viewers:
                await viewer.wait_text("all ")
            with pytest.raises(LeaseLost):
                await write_until_lost(written)
            go_on.set()
            for viewer in (*viewers, Viewer(b, "c-1", effect_id)):
                end = await viewer.task
                assert (end.outcome, end.attempt, end.model) == ("completed", 2, "mine")
                assert viewer.text == "all of it"
        assert [viewer.texts for viewer in viewers] == [{1: "漢字 of the dead", 2: "all of it"}] * 2
        assert (await a.get("canvas", "c-1")).context["response"] == "all of it"

        # A stop ends the worker's stream as well, wherever it is.
        effect_id = await submit(a, "c-1", "again")
        (leased,) = await b.effects.lease(
            ["llm.generate"], worker_id="w", lease=timedelta(seconds=60), wait=timedelta(seconds=9)
        )
        written = b.effects.tokens(leased)
        await written.write("begun")
        viewers = [Viewer(client, "c-1", effect_id) for client in (a, b)]
        for viewer in viewers:
            await viewer.wait_text("begun")
        assert (await a.stop_generation("canvas", "c-1", effect_id)).stopped
        with pytest.raises(LeaseLost):
            await write_until_lost(written)
        assert [(await viewer.task).outcome for viewer in viewers] == ["stopped"] * 2
