"""Two nodes on one PostgreSQL: either may die, and so may the database; the history stays linearizable."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.acceptance.faults.evidence import postgres_engine
from tests.acceptance.faults.kill_cycles import Trial, places
from tests.acceptance.faults.load import Load, Shape
from tests.acceptance.faults.servers import Nursery
from tests.postgres import NoPostgres, PostgresServer, postgres

pytestmark = pytest.mark.asyncio(loop_scope="session")

CYCLES = 10
# Long enough for a node that lives, and soon over for one that does not.
LEASE_MS = 1_000
# What is not done in a transaction of its own process is not reached.
NOT_HERE = ("commit.inside", "commit.written")


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    """Its commits are on disk, so that it may be killed."""
    try:
        with postgres(fsync=True) as server:
            yield server
    except NoPostgres as why:
        pytest.skip(str(why))


@pytest_asyncio.fixture(loop_scope="session")
async def nodes(nursery: Nursery, database: PostgresServer) -> AsyncIterator[Trial]:
    """An empty database that knows the ledger, for two nodes."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    url = await database.create_store()
    trial = Trial(nursery, lambda: postgres_engine(url), ["--db", url], seed, nodes=2, lease_ms=LEASE_MS)
    await trial.publish()
    try:
        yield trial
    finally:
        await nursery.kill_all()


async def test_d5_nodes_that_are_killed_in_turns_lose_nothing_and_do_nothing_twice(nodes: Trial) -> None:
    """What one node has leased, claimed or answered, the other carries on, and repeats when it is asked."""
    where = [place for place in places(3 * CYCLES, nodes.chance) if not place.startswith(NOT_HERE)][:CYCLES]
    await nodes.round(Load(nodes.addresses, nodes.seed, "n"), where)
    print(nodes.summary)
    assert nodes.summary.cycles == CYCLES


async def test_a_database_that_is_killed_under_load_loses_nothing(
    nodes: Trial, database: PostgresServer
) -> None:
    """Nodes answer UNAVAILABLE meanwhile, or wait, and go on by themselves when it is back."""
    servers = [await nodes.start(node=node) for node in range(2)]
    for server in servers:
        await server.wait_ready()
    load = Load(nodes.addresses, nodes.seed, "d", Shape(timeout_ms=2_000))
    load.start()
    for _ in range(3):
        await load.wait_answers(200)
        database.kill()
        await load.wait_calls(20)
        await database.wait_ready()
    await load.wait_answers(200)
    await nodes.finish(load, *servers)
    print(nodes.summary, dict(load.history.failures))
