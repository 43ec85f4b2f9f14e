"""NATS between nodes: what it brings, and that nothing is lost without it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing

import pytest

from durachart.broker.bell import NatsBell
from durachart.broker.link import NatsLink
from durachart.rpc.relay import NodeRelay, RelaySigner
from durachart.rpc.relay_broker import BrokerPublisher, BrokerRelay
from durachart.runtime.generation.frames import (
    Generation,
    GenerationOutcome,
    TokenAttemptStarted,
    TokenEnd,
    TokenFrame,
)
from durachart.runtime.generation.tokens import TokenRelay
from durachart.runtime.nodes import RelayRow
from durachart.store.interface import Hint
from durachart.store.keys import InstanceKey
from durachart_client import Client, Snapshot, Transition
from tests.nats import NatsServer, running_nats
from tests.postgres import PostgresServer
from tests.processes import Server

PATIENCE_S = 30
KEY = InstanceKey("", "canvas", "c-1")
COUNTER = {
    "machine": {
        "id": "counter",
        "context": {"n": 0},
        "initial": "open",
        "states": {"open": {"on": {"ADD": {"actions": "add"}}}},
    },
    "implementations": {"actions": {"add": {"assign": {"n": "context.n + 1"}}}},
}


@pytest.fixture
async def broker() -> AsyncIterator[NatsServer]:
    async with running_nats() as server:
        yield server


async def connected(link: NatsLink, stack: AsyncExitStack) -> NatsLink:
    there = asyncio.Event()
    link.on_connect(there.set)
    await stack.enter_async_context(link.running())
    await asyncio.wait_for(there.wait(), PATIENCE_S)
    return link


class Heard:
    """What a bell has told, and a wait for more."""

    def __init__(self, bell: NatsBell) -> None:
        self.hints = Hint(0)
        self._news = asyncio.Event()
        bell.listen(self._hear)

    def _hear(self, hints: Hint) -> None:
        self.hints |= hints
        self._news.set()

    async def wait(self, hints: Hint) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while hints not in self.hints:
                self._news.clear()
                await self._news.wait()


async def test_a_ring_is_heard_by_others_of_the_database_and_after_a_loss_everything_is_looked_at(
    broker: NatsServer,
) -> None:
    async with AsyncExitStack() as stack:
        bells = []
        for uid in ("one", "one", "another"):
            bell = NatsBell(await connected(NatsLink(broker.url), stack))
            bell.start(uid)
            stack.push_async_callback(bell.close)
            bells.append(bell)
        own, other, stranger = (Heard(bell) for bell in bells)
        while not other.hints:  # until it listens
            bells[0].ring(Hint.LOG)
            await asyncio.sleep(0.01)
        bells[0].ring(Hint.TIMERS)
        await other.wait(Hint.LOG | Hint.TIMERS)
        assert not own.hints
        assert not stranger.hints
        await broker.kill()
        bells[0].ring(Hint.EFFECTS)
        await broker.start()
        for heard in (own, other, stranger):
            await heard.wait(~Hint(0))


async def test_events_reach_watchers_at_another_node_while_the_broker_comes_and_goes(
    broker: NatsServer, postgres_server: PostgresServer
) -> None:
    """F8: each version once and in order, with the broker, without it, and with it again."""
    name = await postgres_server.create_database()
    arguments = ("--db", postgres_server.url(name), "--http", "off", "--nats", broker.url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(postgres_server.drop_database, name)
        servers = [await stack.enter_async_context(Server.running(*arguments)) for _ in range(2)]
        writer, reader = [await stack.enter_async_context(Client(each.grpc)) for each in servers]
        await writer.publish(json.dumps(COUNTER))
        await writer.create("counter", "c-1")
        versions: list[int] = []
        async with asyncio.timeout(PATIENCE_S), aclosing(reader.watch("counter", "c-1")) as watch:

            async def add_and_see() -> None:
                await writer.send("counter", "c-1", "ADD")
                async for event in watch:
                    if isinstance(event, Snapshot | Transition):
                        versions.append(event.state.version)
                        if event.state.version and event.state.version % 10 == 0:
                            return
                        await writer.send("counter", "c-1", "ADD")

            await add_and_see()
            await broker.kill()
            await add_and_see()
            await broker.start()
            await add_and_see()
        assert versions in ([*range(31)], [*range(1, 31)])


class OneGeneration:
    """What the store knows of it."""

    def __init__(self) -> None:
        self.generation = Generation("e-1", 1, "m", None, "")

    async def find_generation(self, key: InstanceKey, effect_id: str) -> Generation:
        return self.generation


class NoNodes:
    """The direct way leads nowhere: what is shown came through the broker."""

    find_relay = None

    async def watch(self, *_: object) -> AsyncIterator[list[TokenFrame]]:
        raise ConnectionError("there is no direct way")
        yield []


async def test_text_comes_through_the_broker_to_any_number_of_nodes_without_gap_or_duplicate(
    broker: NatsServer,
) -> None:
    async with AsyncExitStack() as stack:
        store = OneGeneration()
        owner = TokenRelay(store)
        signer = RelaySigner("hidden")
        link = await connected(NatsLink(broker.url), stack)
        publishing = asyncio.create_task(BrokerPublisher(link, "uid", "node-1", owner, signer).run())
        stack.callback(publishing.cancel)
        direct: NodeRelay = NoNodes()  # type: ignore[assignment]
        readers = []
        for _ in range(3):
            reading = BrokerRelay(await connected(NatsLink(broker.url), stack), "uid", direct, signer)
            readers.append(reading.watch(RelayRow("node-1", "nowhere:1", 1), KEY, "e-1", 0, 0))
        wanted = "".join(f"word {number} " for number in range(500))
        texts: list[str] = []
        begun = [asyncio.Event() for _ in readers]

        async def read(number: int) -> None:
            attempt, text = 0, ""
            async with asyncio.timeout(PATIENCE_S), aclosing(readers[number]) as batches:
                async for frames in batches:
                    for frame in frames:
                        if isinstance(frame.body, TokenAttemptStarted):
                            attempt = frame.attempt
                        elif isinstance(frame.body, str):
                            assert (frame.attempt, frame.offset) == (attempt, len(text))
                            text += frame.body
                            begun[number].set()
                        else:
                            texts.append(text)
                            return

        with owner.open("e-1", 1, "m") as writer:
            writer.append(wanted[:10])
            tasks = [asyncio.create_task(read(0)), asyncio.create_task(read(1))]
            for heard in begun[:2]:
                await heard.wait()
            for at in range(10, len(wanted), 7):
                writer.append(wanted[at : at + 7])
                await asyncio.sleep(0)
                if at == 10 + 7 * 300:
                    tasks.append(asyncio.create_task(read(2)))
                    await begun[2].wait()
            end = TokenEnd(GenerationOutcome.COMPLETED, "stop", "m", None)
            store.generation = store.generation._replace(end=end, text=wanted)
            owner.effect_ended(KEY, "e-1", "completed")
            await asyncio.gather(*tasks)
        assert texts == [wanted] * 3


class Directly:
    """The direct way, in this process."""

    find_relay = None

    def __init__(self, owner: TokenRelay) -> None:
        self._owner = owner

    async def watch(
        self, relay: RelayRow, key: InstanceKey, effect_id: str, attempt: int, offset: int
    ) -> AsyncIterator[list[TokenFrame]]:
        async for frames in self._owner.watch_here(key, effect_id, attempt, offset):
            yield frames


async def test_text_goes_on_directly_when_the_broker_is_killed(broker: NatsServer) -> None:
    async with AsyncExitStack() as stack:
        store = OneGeneration()
        owner = TokenRelay(store)
        signer = RelaySigner("hidden")
        link = await connected(NatsLink(broker.url), stack)
        publishing = asyncio.create_task(BrokerPublisher(link, "uid", "node-1", owner, signer).run())
        stack.callback(publishing.cancel)
        reading = BrokerRelay(link, "uid", Directly(owner), signer)  # type: ignore[arg-type]
        seen = ""
        with owner.open("e-1", 1, "m") as writer:
            writer.append("with, ")
            async with (
                asyncio.timeout(PATIENCE_S),
                aclosing(reading.watch(RelayRow("node-1", "nowhere:1", 1), KEY, "e-1", 0, 0)) as batches,
            ):
                async for frames in batches:
                    for frame in frames:
                        if isinstance(frame.body, str):
                            assert frame.offset == len(seen)
                            seen += frame.body
                    if seen == "with, ":
                        await broker.kill()
                        writer.append("without")
                    elif seen:
                        break
        assert seen == "with, without"


async def test_what_is_not_signed_is_not_answered(broker: NatsServer) -> None:
    async with AsyncExitStack() as stack:
        owner = TokenRelay(OneGeneration())
        link = await connected(NatsLink(broker.url), stack)
        publisher = BrokerPublisher(link, "uid", "node-1", owner, RelaySigner("hidden"))
        publishing = asyncio.create_task(publisher.run())
        stack.callback(publishing.cancel)
        reading = BrokerRelay(link, "uid", NoNodes(), RelaySigner("guessed"))  # type: ignore[arg-type]
        with owner.open("e-1", 1, "m") as writer:
            writer.append("secret")
            with pytest.raises(ConnectionError):
                await anext(reading.watch(RelayRow("node-1", "nowhere:1", 1), KEY, "e-1", 0, 0))
