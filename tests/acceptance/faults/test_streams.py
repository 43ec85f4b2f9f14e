"""Watches of nodes that are killed, halted and cut off: nothing is lost, told twice or out of order."""

from __future__ import annotations

import random
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.acceptance.faults.evidence import postgres_engine, sqlite_engine
from tests.acceptance.faults.kill_cycles import Trial
from tests.acceptance.faults.servers import Nursery
from tests.acceptance.faults.streams_cluster import Cluster, Fault, faults
from tests.acceptance.faults.streams_trial import StreamTrial
from tests.postgres import NoPostgres, PostgresServer, postgres

pytestmark = pytest.mark.asyncio(loop_scope="session")

KILLS = 10
LEASE_MS = 1_000


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    """Its commits are on disk, so that it may be killed."""
    try:
        with postgres(fsync=True) as server:
            yield server
    except NoPostgres as why:
        pytest.skip(str(why))


@pytest_asyncio.fixture(loop_scope="session")
async def chance(nursery: Nursery) -> AsyncIterator[random.Random]:
    """Whatever is left to chance; at the end nothing runs any more."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    try:
        yield random.Random(seed)
    finally:
        await nursery.kill_all()


async def test_watchers_of_a_node_that_fails_in_every_way_get_everything_once(
    nursery: Nursery, published: Path, tmp_path: Path, chance: random.Random
) -> None:
    """A12: one file; half of all restarts."""
    data = tmp_path / "data"
    shutil.copytree(published, data)
    trial = Trial(nursery, lambda: sqlite_engine(data / "durachart.db"), [], chance.randrange(2**32))
    async with Cluster.on_file(nursery, data, chance) as cluster:
        report = await StreamTrial(trial, cluster, "f").run(faults(KILLS, 2, chance))
    print(report)
    assert report.happened[Fault.KILL] == KILLS


async def test_watchers_of_two_nodes_that_fail_in_every_way_get_everything_once(
    nursery: Nursery, database: PostgresServer, chance: random.Random
) -> None:
    """A12 F8: one PostgreSQL, doorbells lost all the time, and the other half of all restarts."""
    url = await database.create_store()
    trial = Trial(nursery, lambda: postgres_engine(url), ["--db", url], chance.randrange(2**32))
    await trial.publish()
    async with Cluster.on_postgres(nursery, database, url, chance, lease_ms=LEASE_MS) as cluster:
        what = faults(KILLS, 1, chance, on_postgres=True, databases=1)
        report = await StreamTrial(trial, cluster, "p").run(what)
    print(report)
    assert report.happened[Fault.KILL] == KILLS
    assert report.bells[0] > 0
