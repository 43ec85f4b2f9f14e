"""Nodes on one database, each behind a proxy of its own, and everything that may happen to them.

Clients, and other nodes, reach a node through one proxy, and on PostgreSQL a node reaches the database
through another. A third stands before whichever node serves, for a client that knows one address only.
"""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.acceptance.faults.load import Load
from tests.acceptance.faults.servers import Nursery, Server, free_port
from tests.acceptance.faults.stalls import wait_halted
from tests.acceptance.faults.streams_proxy import BellHidingProxy, FaultProxy
from tests.postgres import PostgresServer


class Fault(StrEnum):
    """What may happen to a node."""

    KILL = "killed"
    RESTART = "restarted"
    HALT = "halted"
    CUT = "cut off from everybody"
    SILENT = "silent to everybody"
    DATABASE_CUT = "cut off from the database"
    DATABASE_SILENT = "unheard by the database"
    DATABASE_REFUSED = "refused by the database"
    DEAF = "deaf to doorbells"
    DATABASE_KILLED = "bereft of its database"


OF_NODES: Final = (Fault.RESTART, Fault.HALT, Fault.CUT, Fault.SILENT)
OF_DATABASES: Final = (Fault.DATABASE_CUT, Fault.DATABASE_SILENT, Fault.DATABASE_REFUSED, Fault.DEAF)
# Of a provider of our own, which asks for none.
_NO_SECRET: Final = {"DURACHART_OPENAI_API_KEY": "none-needed"}
_BELLS_LOST: Final = 0.3
# Answers or calls of the load, during which a fault lasts and after which the next one comes.
_DURING, _BETWEEN = 30, 15


def faults(
    kills: int, each: int, chance: random.Random, *, on_postgres: bool = False, databases: int = 0
) -> list[Fault]:
    """What happens, in random order.

    Args:
        kills: How often a node is killed.
        each: How often every other thing happens.
        chance: Chooses.
        on_postgres: Whether there is a database to lose.
        databases: How often it is killed.
    """
    chosen = [Fault.KILL] * kills + list(OF_NODES) * each + [Fault.DATABASE_KILLED] * databases
    if on_postgres:
        chosen += list(OF_DATABASES) * each
    chance.shuffle(chosen)
    return chosen


class Node:
    """One server after the other on one port.

    Attributes:
        front: What clients connect to.
        database: What it connects to; None: a file.
        server: The one that runs now.
    """

    def __init__(
        self, port: int, front: FaultProxy, arguments: Sequence[str], database: BellHidingProxy | None
    ):
        self.front = front
        self.database = database
        self.server: Server | None = None
        self._port = port
        self._arguments = arguments

    async def start(self, nursery: Nursery, lease_ms: int | None) -> Server:
        """Start a server and wait until it serves."""
        self.server = await nursery.start(
            *self._arguments, port=self._port, lease_ms=lease_ms, env=_NO_SECRET
        )
        await self.server.wait_ready()
        return self.server


class Cluster:
    """Nodes, and what happens to them.

    Attributes:
        nodes: All of them.
        roving: Stands before a node that serves.
        happened: What did so far.
    """

    def __init__(
        self,
        nursery: Nursery,
        nodes: Sequence[Node],
        roving: FaultProxy,
        chance: random.Random,
        lease_ms: int | None,
        postgres: PostgresServer | None,
    ) -> None:
        self.nodes = nodes
        self.roving = roving
        self.happened: Counter[Fault] = Counter()
        self._nursery = nursery
        self._chance = chance
        self._lease_ms = lease_ms
        self._postgres = postgres

    @classmethod
    @asynccontextmanager
    async def on_file(
        cls, nursery: Nursery, data: Path, chance: random.Random, *options: str, lease_ms: int | None = None
    ) -> AsyncIterator[Cluster]:
        """One node on a SQLite file."""
        async with AsyncExitStack() as stack:
            port = free_port()
            front = await stack.enter_async_context(FaultProxy.before(f"127.0.0.1:{port}"))
            node = Node(port, front, ["--data-dir", str(data), *options], None)
            roving = await stack.enter_async_context(FaultProxy.before(f"127.0.0.1:{port}"))
            await node.start(nursery, lease_ms)
            yield cls(nursery, [node], roving, chance, lease_ms, None)

    @classmethod
    @asynccontextmanager
    async def on_postgres(
        cls,
        nursery: Nursery,
        postgres: PostgresServer,
        url: str,
        chance: random.Random,
        *options: str,
        nodes: int = 2,
        lease_ms: int | None = None,
    ) -> AsyncIterator[Cluster]:
        """Some nodes on one PostgreSQL."""
        place = urlsplit(url)
        async with AsyncExitStack() as stack:
            made = []
            for _ in range(nodes):
                port = free_port()
                proxy = BellHidingProxy(f"127.0.0.1:{place.port}")
                database = await stack.enter_async_context(proxy.serving())
                assert database is proxy
                front = await stack.enter_async_context(FaultProxy.before(f"127.0.0.1:{port}"))
                own = place._replace(netloc=f"{place.username}@{proxy.address}").geturl()
                arguments = ["--db", own, "--advertise", front.address, *options]
                made.append(Node(port, front, arguments, proxy))
            roving = await stack.enter_async_context(FaultProxy.before(made[0].front.target))
            for node in made:
                await node.start(nursery, lease_ms)
            yield cls(nursery, made, roving, chance, lease_ms, postgres)

    @property
    def addresses(self) -> list[str]:
        """Where clients connect."""
        return [node.front.address for node in self.nodes]

    @property
    def servers(self) -> list[Server]:
        """Those that run."""
        return [node.server for node in self.nodes if node.server is not None]

    @property
    def bells(self) -> tuple[int, int]:
        """How many doorbells were hidden from nodes, and how many were not."""
        proxies = [node.database for node in self.nodes if node.database is not None]
        return sum(proxy.hidden for proxy in proxies), sum(proxy.passed for proxy in proxies)

    def hide_bells(self, share: float) -> None:
        """Lose this share of all doorbells from now on."""
        for node in self.nodes:
            if node.database is not None:
                node.database.hides = lambda: self._chance.random() < share

    async def suffer(self, load: Load, what: Sequence[Fault]) -> None:
        """Let all of it happen, one thing after the other, to the nodes in turns, while ``load`` goes on."""
        self.hide_bells(_BELLS_LOST)
        for number, fault in enumerate(what):
            node = self.nodes[number % len(self.nodes)]
            if self.roving.target == node.front.target:
                self.roving.target = self.nodes[(number + 1) % len(self.nodes)].front.target
            await self._inflict(fault, node, load)
            self.happened[fault] += 1
            await load.wait_answers(_BETWEEN)
        self.hide_bells(0)

    async def isolate(self, lasts: Callable[[], Awaitable[None]]) -> None:
        """Let no client hear of any node while ``lasts`` runs."""
        await self._silence([self.roving, *(node.front for node in self.nodes)], lasts)

    async def _inflict(self, fault: Fault, node: Node, load: Load) -> None:
        server = node.server
        assert server is not None
        match fault:
            case Fault.KILL:
                await server.kill()
                await node.start(self._nursery, self._lease_ms)
            case Fault.RESTART:
                assert await server.stop() == 0
                await node.start(self._nursery, self._lease_ms)
            case Fault.HALT:
                server.send_signal(signal.SIGSTOP)
                await wait_halted(server)
                await load.wait_calls(_DURING)
                server.send_signal(signal.SIGCONT)
            case Fault.CUT:
                node.front.cut()
                self.roving.cut()
            case Fault.SILENT:
                await self._silence([node.front, self.roving], lambda: load.wait_calls(_DURING))
            case _:
                await self._part_from_database(fault, node, load)

    async def _part_from_database(self, fault: Fault, node: Node, load: Load) -> None:
        assert node.database is not None
        assert self._postgres is not None
        match fault:
            case Fault.DATABASE_CUT:
                node.database.cut()
            case Fault.DATABASE_SILENT:
                await self._silence([node.database], lambda: load.wait_calls(_DURING))
            case Fault.DATABASE_REFUSED:
                node.database.refuse()
                await load.wait_calls(_DURING)
                node.database.allow()
            case Fault.DEAF:
                self.hide_bells(1)
                await load.wait_answers(_DURING)
                self.hide_bells(_BELLS_LOST)
            case Fault.DATABASE_KILLED:
                self._postgres.kill()
                await load.wait_calls(load.shape.writers)
                await self._postgres.wait_ready()
            case _:
                raise AssertionError(f"nobody knows how to be {fault}")

    async def _silence(self, proxies: Sequence[FaultProxy], lasts: Callable[[], Awaitable[None]]) -> None:
        """Hold everything back; then either let it come or lose it."""
        for proxy in proxies:
            proxy.hush()
        await lasts()
        is_lost = self._chance.random() < 0.5
        for proxy in proxies:
            if is_lost:
                proxy.cut()
            proxy.speak()
