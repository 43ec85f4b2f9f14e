"""Watches of nodes that are killed, halted and cut off: nothing is lost, told twice or out of order."""

from __future__ import annotations

import random
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from durachart.store.postgres.revisions import FINAL_REVISION, FIRST_REVISION
from tests.acceptance.faults.evidence import postgres_engine, sqlite_engine
from tests.acceptance.faults.kill_cycles import Trial
from tests.acceptance.faults.servers import Nursery
from tests.acceptance.faults.streams_cluster import Cluster, Fault, faults
from tests.acceptance.faults.streams_soak import LEASE_MS, follow_tales
from tests.acceptance.faults.streams_tokens import MODEL, Teller
from tests.acceptance.faults.streams_trial import StreamTrial, delays_without_bells
from tests.postgres import NoPostgres, PostgresServer, postgres
from tests.providers.sse_server import running_sse_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

KILLS, UNHEARD = 10, 2
TALES_SUFFER = [Fault.KILL] * 3 + [Fault.HALT, Fault.CUT, Fault.SILENT]


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
        report = await StreamTrial(trial, cluster, "f").run(faults(KILLS, 1, chance))
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


async def test_what_a_watch_has_passed_stays_passed_when_the_database_crashes(
    nursery: Nursery, database: PostgresServer
) -> None:
    """Transactions of which nothing reached the disk, as those of doorbells, give their ids to later ones."""
    url = await database.create_store()
    await Trial(nursery, lambda: postgres_engine(url), ["--db", url], 0).publish()
    ringing, reading = await asyncpg.connect(url), await asyncpg.connect(url)
    await ringing.execute("SET synchronous_commit = off")
    for _ in range(3):
        await ringing.execute("SELECT pg_notify('nobody', '')")
    passed = await reading.fetchval(f"SELECT {FINAL_REVISION}")
    database.kill()
    ringing.terminate()
    reading.terminate()
    await database.wait_ready()
    later = await asyncpg.connect(url)
    first = await later.fetchval(f"SELECT {FIRST_REVISION}")
    await later.close()
    assert first > passed


async def test_doorbells_that_are_all_lost_cost_no_event(
    nursery: Nursery, database: PostgresServer, chance: random.Random
) -> None:
    """F8: a node that hears nothing of the other looks by itself; the long run holds it to a second."""
    url = await database.create_store()
    await Trial(nursery, lambda: postgres_engine(url), ["--db", url], 0).publish()
    async with Cluster.on_postgres(nursery, database, url, chance) as cluster:
        delays = await delays_without_bells(cluster, "unheard", UNHEARD)
        print(f"later by {', '.join(f'{delay * 1000:.0f} ms' for delay in delays)}; {cluster.bells}")
        assert len(delays) == UNHEARD
        assert cluster.bells[0] > 0


async def test_viewers_of_generations_on_a_node_that_fails_get_the_stored_text(
    nursery: Nursery, published: Path, tmp_path: Path, chance: random.Random
) -> None:
    """A20 A21: every attempt is announced, nothing is missing or comes twice, a stop is the end for all."""
    data = tmp_path / "data"
    shutil.copytree(published, data)
    trial = Trial(nursery, lambda: sqlite_engine(data / "durachart.db"), [], chance.randrange(2**32))
    teller = Teller()
    async with running_sse_server(teller.tell) as provider:
        options = ["--openai-base-url", f"{provider.url}/v1", "--llm-model", MODEL]
        async with Cluster.on_file(nursery, data, chance, *options, lease_ms=LEASE_MS) as cluster:
            print(await follow_tales(trial, cluster, teller, "t", TALES_SUFFER))


async def test_viewers_on_other_nodes_get_the_stored_text_whatever_fails(
    nursery: Nursery, database: PostgresServer, chance: random.Random
) -> None:
    """A20 A21 C8: text that one node makes is followed at both."""
    url = await database.create_store()
    trial = Trial(nursery, lambda: postgres_engine(url), ["--db", url], chance.randrange(2**32))
    await trial.publish()
    teller = Teller()
    async with running_sse_server(teller.tell) as provider:
        options = ["--openai-base-url", f"{provider.url}/v1", "--llm-model", MODEL]
        cluster_of = Cluster.on_postgres(nursery, database, url, chance, *options, lease_ms=LEASE_MS)
        async with cluster_of as cluster:
            what = [*TALES_SUFFER, Fault.DATABASE_SILENT, Fault.DATABASE_CUT]
            print(await follow_tales(trial, cluster, teller, "t", what))
