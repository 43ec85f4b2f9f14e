"""Server processes that share one PostgreSQL: any takes anything, and the death of one loses nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import pytest

from durachart_client import (
    Client,
    DeadlineExceeded,
    InstanceState,
    LeaseLost,
    Snapshot,
    Synced,
    Transition,
    Unavailable,
)
from durachart_client.watch import Watch
from tests.postgres import PostgresServer
from tests.processes import Server

PATIENCE_S = 60
COUNTER = {
    "machine": {
        "id": "counter",
        "context": {"n": 0},
        "initial": "open",
        "states": {"open": {"on": {"ADD": {"actions": "add"}}}},
    },
    "implementations": {"actions": {"add": {"assign": {"n": "context.n + 1"}}}},
}
JOB = {
    "machine": {
        "id": "job",
        "initial": "working",
        "states": {
            "working": {"entry": "act", "on": {"DONE": "waiting"}},
            "waiting": {"after": {"1500": "late"}},
            "late": {"type": "final"},
        },
    },
    "effects": {"act": {"handler": "raw", "done": "DONE"}},
}


@pytest.fixture
async def url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """A database without tables: nodes make them."""
    name = await postgres_server.create_database()
    yield postgres_server.url(name)
    await postgres_server.drop_database(name)


@asynccontextmanager
async def nodes(url: str, count: int) -> AsyncIterator[list[Server]]:
    """Server processes, started at once on the same database."""
    async with AsyncExitStack() as stack:
        starting = [Server.running("--db", url, "--http", "off") for _ in range(count)]
        yield list(await asyncio.gather(*map(stack.enter_async_context, starting)))


class Watcher:
    """What a watch of all counters at one node has shown."""

    def __init__(self, client: Client, resume_token: str = "") -> None:
        self._watch: Watch = client.watch("counter", resume_token=resume_token)
        self.versions: dict[str, list[int]] = {}
        self.resume_token = resume_token
        self.synced = asyncio.Event()
        self._changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for event in self._watch:
            self.resume_token = event.resume_token
            if isinstance(event, Synced):
                self.synced.set()
            if isinstance(event, Snapshot | Transition):
                self.versions.setdefault(event.state.instance.instance_id, []).append(event.state.version)
                self._changed.set()

    async def wait_versions(self, wanted: dict[str, int]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while any(self.versions.get(of, [-1])[-1] < version for of, version in wanted.items()):
                self._changed.clear()
                await self._changed.wait()

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.wait({self._reading})


async def add(clients: list[Client], of: str, request_id: str) -> InstanceState:
    """Send an event to a node until it is acknowledged; one that cannot be reached is not asked again."""
    while True:
        try:
            sent = await clients[0].send("counter", of, "ADD", request_id=request_id)
        except (Unavailable, DeadlineExceeded):
            del clients[0]
            continue
        return sent.state


async def test_a_node_that_is_killed_takes_nothing_with_it(url: str) -> None:
    """F8: every watcher sees events of all nodes in order; what was acknowledged stays, once."""
    async with nodes(url, 3) as servers, AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Client(server.grpc, timeout=timedelta(seconds=3)))
            for server in servers
        ]
        await clients[0].publish(json.dumps(COUNTER))
        counters = [f"c-{n}" for n in range(6)]
        for number, of in enumerate(counters):
            await clients[number % 3].create("counter", of)
        watchers = [Watcher(client) for client in clients]
        for watcher in watchers:
            stack.push_async_callback(watcher.close)
            await watcher.synced.wait()
        sent = 0
        killed = asyncio.Event()

        async def send(number: int) -> None:
            nonlocal sent
            rotated = clients[number % 3 :] + clients[: number % 3]
            for step in range(25):
                await add(rotated, counters[(number + step) % 6], f"{number}-{step}")
                sent += 1
                if sent == 100:
                    servers[0].kill()
                    killed.set()

        await asyncio.gather(*(send(number) for number in range(12)))
        assert killed.is_set()
        wanted = dict.fromkeys(counters, 50)
        for number, of in enumerate(counters):
            state = await clients[1 + number % 2].get("counter", of)
            assert (state.version, state.context) == (50, {"n": 50})
        for watcher in watchers[1:]:
            await watcher.wait_versions(wanted)
            assert watcher.versions == {of: list(range(51)) for of in counters}
        # The watch of the node that was killed goes on at another one, where it was.
        lost = watchers[0]
        await lost.close()
        resumed = Watcher(clients[2], lost.resume_token)
        stack.push_async_callback(resumed.close)
        await resumed.wait_versions({of: 50 for of in counters if lost.versions[of][-1] < 50})
        for of in counters:
            assert [*lost.versions[of], *resumed.versions.get(of, [])] == list(range(51))


async def test_effects_and_timers_of_a_killed_node_pass_on(url: str) -> None:
    """F8, A7: a lease taken through a node that is gone runs out; a timer armed there is fired by another."""
    async with nodes(url, 2) as servers, AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(Client(server.grpc)) for server in servers]
        await first.publish(json.dumps(JOB))
        await first.create("job", "a")
        (lost,) = await first.effects.lease(["raw"], worker_id="w-1", lease=timedelta(seconds=1))
        servers[0].kill()
        async with asyncio.timeout(PATIENCE_S):
            (taken,) = await second.effects.lease(["raw"], worker_id="w-2", wait=timedelta(seconds=30))
        assert (taken.effect_id, taken.attempt) == (lost.effect_id, 2)
        with pytest.raises(LeaseLost):
            await second.effects.complete(lost)
        servers.append(await stack.enter_async_context(Server.running("--db", url, "--http", "off")))
        third = await stack.enter_async_context(Client(servers[2].grpc))
        await third.effects.complete(taken, {"ok": True})
        # The node that armed the timer, and would have fired it, is gone before it is due.
        servers[2].kill()
        async with asyncio.timeout(PATIENCE_S), second.watch("job", "a", end_on_final=True) as watch:
            shown = [event.state async for event in watch if isinstance(event, Snapshot | Transition)]
        assert shown[-1].value == "late"
        entries = [entry async for entry in second.journal("job", "a")]
        assert [(entry.cause, entry.to_version) for entry in entries if entry.outcome == "accepted"] == [
            ("create", 0),
            ("effect", 1),
            ("timer", 2),
        ]


async def test_where_the_database_is_is_shown_without_its_password(
    postgres_server: PostgresServer, url: str
) -> None:
    name = url.rpartition("/")[2]
    with_password = f"postgresql://durachart:hidden@127.0.0.1:{postgres_server.port}/{name}?pool_size=2"
    async with Server.running("--db", with_password, "--http", "off") as server:
        assert f"database  postgresql://127.0.0.1:{postgres_server.port}/{name}" in server.stdout
        assert await server.stop() == 0
        assert "hidden" not in server.stdout + server.stderr
