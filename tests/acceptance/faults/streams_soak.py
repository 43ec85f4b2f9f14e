"""Watches and text through hundreds of kills: ``make soak ARGS="--streams --store postgresql"``."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.acceptance.faults.evidence import postgres_engine, sqlite_engine
from tests.acceptance.faults.kill_cycles import Trial
from tests.acceptance.faults.load import Load, Shape
from tests.acceptance.faults.servers import Nursery
from tests.acceptance.faults.streams_cluster import Cluster, Fault, faults
from tests.acceptance.faults.streams_tokens import MODEL, Tales, Teller, publish
from tests.acceptance.faults.streams_trial import StreamTrial, delays_without_bells
from tests.postgres import PostgresServer
from tests.providers.sse_server import running_sse_server

LEASE_MS = 1_000
BESIDE = Shape(writers=4, rate=60.0, spread=6, timeout_ms=700)
"""The load while text is followed."""

_KILLS_AMONG_TALES = 4
_UNHEARD_EVENTS = 5
_LONGEST_DELAY_S = 1.0


class _Opens(Protocol):
    """Starts a cluster on the database of the run."""

    def __call__(self, *options: str) -> AbstractAsyncContextManager[Cluster]: ...


@dataclass(frozen=True, slots=True)
class _Ground:
    trial: Trial
    cluster: _Opens


@asynccontextmanager
async def _on_file(scratch: Path, seed: int) -> AsyncIterator[_Ground]:
    data = scratch / "data"
    chance = random.Random(seed)
    async with Nursery.open(scratch) as nursery:
        trial = Trial(nursery, lambda: sqlite_engine(data / "durachart.db"), ["--data-dir", str(data)], seed)
        yield _Ground(
            trial, lambda *options: Cluster.on_file(nursery, data, chance, *options, lease_ms=LEASE_MS)
        )


@asynccontextmanager
async def _on_postgres(scratch: Path, seed: int) -> AsyncIterator[_Ground]:
    chance = random.Random(seed)
    database = PostgresServer(fsync=True)
    try:
        await database.wait_ready()
        url = await database.create_store()
        async with Nursery.open(scratch) as nursery:
            trial = Trial(nursery, lambda: postgres_engine(url), ["--db", url], seed)
            yield _Ground(
                trial,
                lambda *options: Cluster.on_postgres(
                    nursery, database, url, chance, *options, lease_ms=LEASE_MS
                ),
            )
        database.remove()
    finally:
        # What went wrong can be looked at: its data stays.
        database.kill()


async def follow_tales(trial: Trial, cluster: Cluster, teller: Teller, name: str, what: list[Fault]) -> str:
    """Tell tales while all of this happens, and check what their viewers got; how it went, for people."""
    load = Load(cluster.addresses, trial.chance.randrange(2**32), name, BESIDE)
    await publish(cluster.addresses[0])
    tales = Tales(cluster, name, trial.chance.randrange(2**32))
    load.start()
    tales.start()
    await cluster.suffer(load, trial.chance.sample(what, len(what)))
    await tales.stop()
    summary = await tales.check(teller)
    await trial.finish(load, *cluster.servers)
    return summary


async def soak_streams(scratch: Path, given: argparse.Namespace, seed: int) -> None:
    """Run as many kills as were asked for; raises AssertionError with the first promise that was broken.

    Args:
        scratch: A directory for everything.
        given: The command line: ``cycles``, ``round`` and ``store``.
        seed: Of everything that is left to chance.
    """
    many = given.store == "postgresql"
    began = time.monotonic()
    teller = Teller()
    async with (
        (_on_postgres if many else _on_file)(scratch, seed) as ground,
        running_sse_server(teller.tell) as provider,
    ):
        trial = ground.trial
        await trial.publish()
        kills = number = 0
        while kills < given.cycles:
            asked = min(given.round, given.cycles - kills)
            what = faults(asked, 2, trial.chance, on_postgres=many, databases=2 if many else 0)
            async with ground.cluster() as cluster:
                report = await StreamTrial(trial, cluster, f"f{number}").run(what)
            kills += report.happened[Fault.KILL]
            print(f"{time.monotonic() - began:6.0f} s  {kills} kills of nodes  {report}", flush=True)
            options = ["--openai-base-url", f"{provider.url}/v1", "--llm-model", MODEL]
            async with ground.cluster(*options) as cluster:
                if many:
                    delays = await delays_without_bells(cluster, f"unheard-{number}", _UNHEARD_EVENTS)
                    print(f"          without doorbells later by at most {max(delays) * 1000:.0f} ms")
                    assert max(delays) <= _LONGEST_DELAY_S, f"later by {delays}"
                what = faults(_KILLS_AMONG_TALES, 1, trial.chance, on_postgres=many)
                told = await follow_tales(trial, cluster, teller, f"t{number}", what)
            kills += _KILLS_AMONG_TALES
            print(f"          {told}", flush=True)
            number += 1
