"""Watchers of every kind over a cluster that suffers, and the check of what they got."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from durachart_client import Client, RetryPolicy, ServerError, Synced, Transition
from tests.acceptance.faults import evidence
from tests.acceptance.faults.kill_cycles import Trial
from tests.acceptance.faults.ledger import MACHINE_ID
from tests.acceptance.faults.load import Load, Shape
from tests.acceptance.faults.streams import (
    RECONNECTING,
    ClientWatch,
    RawWatch,
    Subject,
    Watching,
    changes,
    newest_revision,
)
from tests.acceptance.faults.streams_cluster import Cluster, Fault
from tests.processes import PATIENCE_S

SHAPE: Final = Shape(writers=8, rate=120.0, spread=12, timeout_ms=700)
_CHURNED: Final = 3
_IDLE_S: Final = 1.2
_UNKNOWN: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"})


class Churn:
    """Creates instances, changes them and deletes them, again and again under the same names."""

    def __init__(self, addresses: Sequence[str], name: str) -> None:
        self.instance_ids = tuple(f"{name}-churned-{number}" for number in range(_CHURNED))
        self._addresses = addresses
        self._name = name
        self._requests = 0
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End with the incarnation of now; raises what broke it."""
        assert self._task is not None
        self._stopping = True
        await self._task

    async def _run(self) -> None:
        timeout, once = timedelta(milliseconds=SHAPE.timeout_ms), RetryPolicy(max_attempts=1)
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(
                    Client(address, timeout=timeout, retry=once, options=RECONNECTING)
                )
                for address in self._addresses
            ]
            while not self._stopping:
                for instance_id in self.instance_ids:
                    await self._ask(clients, "create", instance_id)
                for instance_id in self.instance_ids:
                    await self._ask(clients, "send", instance_id, "ADD", {"n": 1})
                for instance_id in self.instance_ids:
                    await self._ask(clients, "delete", instance_id)

    async def _ask(self, clients: list[Client], method: str, instance_id: str, *arguments: Any) -> None:
        """Call until it is answered, under one request id."""
        self._requests += 1
        request_id = f"{self._name}-churn-{self._requests}"
        while True:
            try:
                call = getattr(clients[0], method)
                await call(MACHINE_ID, instance_id, *arguments, request_id=request_id)
            except ServerError as error:
                if error.code not in _UNKNOWN:
                    raise
                clients.append(clients.pop(0))
                await asyncio.sleep(0.05)
            else:
                return


@dataclass(frozen=True, slots=True)
class Report:
    """How a round went.

    Attributes:
        happened: What the nodes suffered.
        kinds: Frames that watchers got, by kind.
        losses: Why their connections ended.
        bells: Doorbells hidden and passed on.
        changes: How many there were.
    """

    happened: Counter[Fault]
    kinds: Counter[str]
    losses: Counter[str]
    bells: tuple[int, int]
    changes: int

    def __str__(self) -> str:
        return (
            f"{_listed(self.happened)}; {self.changes} changes; frames: {_listed(self.kinds)}; connections "
            f"ended: {_listed(self.losses)}; {self.bells[0]} of {sum(self.bells)} doorbells hidden"
        )


async def delays_without_bells(cluster: Cluster, instance_id: str, events: int) -> list[float]:
    """Seconds from the answer of an event at one node until a watcher at another has it, all bells hidden."""
    delays = []
    arrived: asyncio.Queue[tuple[int, float]] = asyncio.Queue()

    async def watch(client: Client, synced: asyncio.Event) -> None:
        async for event in client.watch(MACHINE_ID, instance_id):
            if isinstance(event, Transition):
                arrived.put_nowait((event.state.version, time.monotonic()))
            elif isinstance(event, Synced):
                synced.set()

    first, last = cluster.addresses[0], cluster.addresses[-1]
    cluster.hide_bells(1)
    async with Client(first) as writer, Client(last) as reader, asyncio.timeout(PATIENCE_S):
        await writer.create(MACHINE_ID, instance_id)
        synced = asyncio.Event()
        watching = asyncio.create_task(watch(reader, synced))
        await synced.wait()
        for number in range(events):
            # The longer nothing happens, the more seldom a node looks.
            await asyncio.sleep(_IDLE_S)
            sent = await writer.send(MACHINE_ID, instance_id, "ADD", {"n": number + 1})
            answered_at = time.monotonic()
            version = -1
            while version < sent.state.version:
                version, at = await arrived.get()
                delays.append(max(at - answered_at, 0.0))
        watching.cancel()
        await asyncio.wait({watching})
    cluster.hide_bells(0)
    return delays


def _listed(counts: Counter[Any]) -> str:
    return ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))


class StreamTrial:
    """One round: a load, watchers, faults, and the check of all of it."""

    def __init__(self, trial: Trial, cluster: Cluster, name: str) -> None:
        """Prepare.

        Args:
            trial: Reads the database and checks what the load saw.
            cluster: Whose nodes run.
            name: Begins every instance id.
        """
        self._trial = trial
        self._cluster = cluster
        self.load = Load(cluster.addresses, trial.chance.randrange(2**32), name, SHAPE)
        self._churn = Churn(cluster.addresses, name)
        self.watchers = self._watchers(trial.chance)

    def _watchers(self, chance: random.Random) -> list[Watching]:
        everything = Subject("all instances")
        armed = Subject("armed instances", state_ids=(f"{MACHINE_ID}.armed",))
        named = Subject(
            "named instances", (*self.load.instance_ids[:4], *self._churn.instance_ids[:2], "never-made")
        )
        skipping = Subject("all instances, skipping", conflate=True)
        nodes, roving = self._cluster.addresses, self._cluster.roving.address
        raw = [RawWatch(one, nodes, chance.randrange(2**32)) for one in (everything, armed, named)]
        late = [
            RawWatch(one, nodes, chance.randrange(2**32), pace=lambda: len(self.load.history.calls))
            for one in (everything, skipping)
        ]
        client = [ClientWatch(one, roving) for one in (everything, armed, named, skipping)]
        return [*raw, *late, *client]

    async def run(self, what: Sequence[Fault]) -> Report:
        """Let it happen, let everything come to rest, and check; raises AssertionError with what is wrong."""
        self.load.start()
        self._churn.start()
        for watcher in self.watchers:
            watcher.start()
        try:
            async with evidence.opened(self._trial.engine()) as engine:
                for watcher in self.watchers:
                    await watcher.wait_synced()
                await self._cluster.suffer(self.load, what)
                await self._isolate(engine)
                await self.load.stop()
                await self._churn.stop()
                await self._wait_settled(engine)
                for watcher in self.watchers:
                    watcher.settle()
                await self._wait_told(engine, self.watchers)
        finally:
            for watcher in self.watchers:
                await watcher.stop()
        await self._trial.finish(self.load, *self._cluster.servers)
        return await self._check()

    async def _wait_told(self, engine: AsyncEngine, watchers: Sequence[Watching]) -> None:
        """Wait until these watchers have heard of all that happened by now."""
        newest = await newest_revision(engine)
        for watcher in watchers:
            await watcher.wait_through(newest)

    async def _isolate(self, engine: AsyncEngine) -> None:
        """Let every client find out by itself that nobody speaks to it any more."""
        clients = [watcher for watcher in self.watchers if isinstance(watcher, ClientWatch)]
        await self._wait_told(engine, clients)
        before = [client.silences for client in clients]

        async def all_found_out() -> None:
            for client, silences in zip(clients, before, strict=True):
                await client.wait_silence(silences)

        await self._cluster.isolate(all_found_out)

    async def _wait_settled(self, engine: AsyncEngine) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await evidence.unsettled(engine):  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.05)

    async def _check(self) -> Report:
        async with evidence.opened(self._trial.engine()) as engine:
            happened = await changes(engine)
        wrong: list[str] = []
        kinds: Counter[str] = Counter()
        losses: Counter[str] = Counter()
        for watcher in self.watchers:
            wrong += watcher.contradictions(happened)
            kinds += watcher.recorded.kinds
            losses += watcher.recorded.losses
        assert not wrong, f"{len(wrong)} broken promises:\n" + "\n".join(wrong[:20])
        return Report(self._cluster.happened, kinds, losses, self._cluster.bells, len(happened))
