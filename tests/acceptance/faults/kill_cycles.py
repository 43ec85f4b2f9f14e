"""A server killed again and again, at random instants and at named ones, while clients send events to it.

All cycles work on one database. After each restart everything that had been acknowledged must be there; at
the end of a round its whole history is checked (see ``evidence``).
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncEngine

from durachart.crash_points import POINTS
from durachart_client import Client
from tests.acceptance.faults import evidence
from tests.acceptance.faults.ledger import document_json
from tests.acceptance.faults.load import Load
from tests.acceptance.faults.servers import Nursery, Server, free_port
from tests.postgres import PostgresServer
from tests.processes import PATIENCE_S

AT_ONCE, RUNNING = "while starting", "while running"
DATABASE, WORKER = "the database", "a worker"
# How often a place is reached in about half a second of the load.
_TIMES = {"commit": 40, "reply": 40, "lease": 6, "effect": 6, "timer": 3}
# What is on SQLite a moment in a transaction of its own is on PostgreSQL another process.
_SQLITE_ONLY = ("commit.inside", "commit.written")
# A place that is reached more seldom than expected is not waited for.
_REACHED_WITHIN_S = 3.0


@dataclass(slots=True)
class Summary:
    """What happened so far.

    Attributes:
        killed: How often, by place.
        missed: How often a place was not reached in time, and the server was killed from outside.
        serving_s: How long a server was up.
        answers: Calls that were answered, and how many of them by a repeated answer.
        unanswered: Calls of which it is not known what became of them.
        events: Requests that were accepted.
        timers: Timers that fired.
        effects: Effects that ended.
        retried: Effects that needed more than one attempt.
    """

    killed: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    serving_s: float = 0.0
    answers: int = 0
    repeated: int = 0
    unanswered: int = 0
    events: int = 0
    timers: int = 0
    effects: int = 0
    retried: int = 0

    @property
    def cycles(self) -> int:
        """How many processes were killed."""
        return self.killed.total()

    def __str__(self) -> str:
        rate = self.answers / max(self.serving_s, 0.001)
        return (
            f"{self.cycles} kills ({', '.join(f'{n} {at}' for at, n in sorted(self.killed.items()))}; "
            f"{self.missed} places not reached); {self.answers} answers ({rate:.0f}/s while one was up), "
            f"{self.repeated} of them repeated, {self.unanswered} calls without one; {self.events} events, "
            f"{self.timers} timers, {self.effects} effects ({self.retried} run more than once)"
        )


def places(
    count: int, chance: random.Random, *, workers: int = 0, databases: int = 0, on_postgres: bool = False
) -> list[str]:
    """Where to kill, in random order: half of the kills at random instants, half at the named places.

    Args:
        count: Of servers.
        chance: Chooses.
        workers: How often a worker of its own is killed as well.
        databases: How often the database is.
        on_postgres: Whether that is what is beneath.
    """
    named = [
        point
        for point in POINTS
        if point.partition(".")[0] in _TIMES and not (on_postgres and point in _SQLITE_ONLY)
    ]
    chance.shuffle(named)
    chosen = []
    for number in range(count):
        if number % 2:
            point = named[number // 2 % len(named)]
            chosen.append(f"{point}:{chance.randint(1, _TIMES[point.partition('.')[0]])}")
        else:
            chosen.append(AT_ONCE if number % 10 == 0 else RUNNING)
    chosen += [DATABASE] * databases + [WORKER] * workers
    chance.shuffle(chosen)
    return chosen


class Trial:
    """One database under one load at a time."""

    def __init__(
        self,
        nursery: Nursery,
        engine: Callable[[], AsyncEngine],
        arguments: Sequence[str],
        seed: int,
        *,
        nodes: int = 1,
        lease_ms: int | None = None,
        database: PostgresServer | None = None,
    ) -> None:
        """Prepare.

        Args:
            nursery: Starts the servers.
            engine: Makes one that reads the database.
            arguments: Say which database the servers use.
            seed: Of everything that is left to chance.
            nodes: How many servers are to work on the database at a time.
            lease_ms: How long effects and timers belong to a node that says nothing more; None: as long as
                by default.
            database: The server of the database, if it has one and may be killed.
        """
        self.summary = Summary()
        self.seed = seed
        self.chance = random.Random(seed)
        self._nursery = nursery
        self.engine = engine
        self._arguments = arguments
        self._ports = [free_port() for _ in range(nodes)]
        self._lease_ms = lease_ms
        self._database = database
        self._checked_calls = 0

    @property
    def addresses(self) -> list[str]:
        """Where the nodes listen."""
        return [f"127.0.0.1:{port}" for port in self._ports]

    @property
    def address(self) -> str:
        """Where the first node listens."""
        return self.addresses[0]

    async def start(self, crash_at: str = "", *, node: int = 0, lease_ms: int | None = None) -> Server:
        """Start a server as one of the nodes, without waiting for it."""
        return await self._nursery.start(
            *self._arguments,
            port=self._ports[node],
            crash_at=crash_at,
            lease_ms=self._lease_ms if lease_ms is None else lease_ms,
        )

    async def publish(self) -> None:
        """Have a server publish the machine, and end it."""
        server = await self.start()
        await server.wait_ready()
        async with Client(self.address) as client:
            await client.publish(document_json())
        assert await server.stop() == 0

    async def round(self, load: Load, where: Sequence[str]) -> None:
        """Kill a server at each of these places while ``load`` goes on, then check everything.

        The nodes take turns: while one is killed and started again, the others go on. A load that posts is
        given a worker of its own.
        """
        self._checked_calls = 0
        nodes = range(len(self._ports))
        running: dict[int, Server] = {}
        for node in nodes[1:]:
            running[node] = await self.start(node=node)
            await running[node].wait_ready()
        workers = await self._start_workers(load)
        load.start()
        async with evidence.opened(self.engine()) as engine:
            for number, place in enumerate(where):
                if place == DATABASE:
                    for server in running.values():
                        # A node that starts without a database says so and ends.
                        await server.wait_ready()
                    await self._kill_database(load)
                    continue
                if place == WORKER:
                    await asyncio.sleep(self.chance.uniform(0.05, 0.4))
                    await workers.pop().kill()
                    self.summary.killed[WORKER] += 1
                    workers = await self._start_workers(load)
                    continue
                node = number % len(nodes)
                if node in running:
                    await running.pop(node).kill()
                await self._cycle(load, place, engine, node)
                if len(nodes) > 1:
                    running[node] = await self.start(node=node)
        servers = [running.get(node) or await self.start(node=node) for node in nodes]
        for server in servers:
            await server.wait_ready()
        await self.finish(load, *workers, *servers)

    async def _start_workers(self, load: Load) -> list[Server]:
        return [await self._nursery.start_worker(self.addresses[-1])] if load.shape.posts else []

    async def _cycle(self, load: Load, place: str, engine: AsyncEngine, node: int) -> None:
        server = await self.start("" if place in (AT_ONCE, RUNNING) else place, node=node)
        if place == AT_ONCE:
            await asyncio.sleep(self.chance.uniform(0, 0.3))
        else:
            await server.wait_ready()
            began = time.monotonic()
            await self.check_acknowledged(load, engine)
            if place == RUNNING:
                await asyncio.sleep(self.chance.uniform(0.05, 0.4))
            else:
                await self._wait_crash(server)
            self.summary.serving_s += time.monotonic() - began
        await server.kill()
        self.summary.killed[place.partition(":")[0]] += 1

    async def _kill_database(self, load: Load) -> None:
        assert self._database is not None
        await load.wait_answers(20)
        self._database.kill()
        self.summary.killed[DATABASE] += 1
        await load.wait_calls(load.shape.writers)
        await self._database.wait_ready()
        await load.wait_answers(20)

    async def _wait_crash(self, server: Server) -> None:
        try:
            code = await server.wait(_REACHED_WITHIN_S)
        except TimeoutError:
            self.summary.missed += 1
        else:
            assert code == -signal.SIGKILL, f"the server ended with {code}:\n{server.stderr}"

    async def check_acknowledged(self, load: Load, engine: AsyncEngine) -> None:
        """See that everything that has been answered by now is in the journal."""
        answered = load.history.calls[self._checked_calls :]
        self._checked_calls += len(answered)
        journaled = await evidence.journaled(engine, load.instance_ids)
        lost = {call.request.request_id for call in answered if call.answer is not None} - journaled
        assert not lost, f"acknowledged, and not in the journal: {sorted(lost)}"

    async def finish(self, load: Load, *servers: Server) -> None:
        """Let everything come to rest, end the servers and check the whole history."""
        await load.stop()
        async with evidence.opened(self.engine()) as engine:
            await _wait_settled(engine, servers)
            await load.repeat(100)
            await load.stop_watching(await evidence.versions(engine, load.instance_ids))
            for server in servers:
                assert await server.stop() == 0
            found = await evidence.gather(engine, load.instance_ids)
            wrong = evidence.contradictions(found, load.history, self._nursery.stderr)
            wrong += await evidence.verification(engine)
        self._count(load, found)
        assert not wrong, f"{len(wrong)} contradictions:\n" + "\n".join(wrong[:20])

    def _count(self, load: Load, found: evidence.Evidence) -> None:
        summary = self.summary
        for call in load.history.calls:
            summary.answers += call.answer is not None
            summary.repeated += call.answer is not None and call.answer.replayed
            summary.unanswered += call.answer is None
        rows = [row for rows in found.journals.values() for row in rows if row.outcome == "accepted"]
        summary.events += sum(row.cause == "event" for row in rows)
        summary.timers += sum(row.cause == "timer" for row in rows)
        summary.effects += len(found.effects)
        summary.retried += sum(effect.attempt > 1 for effect in found.effects)


async def _wait_settled(engine: AsyncEngine, servers: Sequence[Server]) -> None:
    left: list[str] = []
    try:
        async with asyncio.timeout(PATIENCE_S):
            while left := await evidence.unsettled(engine):  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.05)
    except TimeoutError:
        said = "\n".join(server.stderr for server in servers)
        raise AssertionError(f"did not come to rest: {left}\n{said}") from None
