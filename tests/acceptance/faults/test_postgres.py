"""Two nodes on one PostgreSQL: either may die, and so may the database; the history stays linearizable."""

from __future__ import annotations

import random
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.acceptance.faults.evidence import postgres_engine
from tests.acceptance.faults.kill_cycles import Trial, places
from tests.acceptance.faults.load import Load, Shape
from tests.acceptance.faults.servers import Nursery
from tests.acceptance.faults.stalls import wait_halted, wait_overdue
from tests.postgres import NoPostgres, PostgresServer, postgres

pytestmark = pytest.mark.asyncio(loop_scope="session")

NODES_KILLED, WORKERS_KILLED, DATABASES_KILLED = 8, 2, 2
# Long enough for a node that lives, and soon over for one that does not.
LEASE_MS = 1_000


# Where one node stands still while the other takes over what it had begun.
HALTED = ("commit.before:20", "lease.after:3", "effect.returned:3", "timer.before:2")


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
    trial = Trial(
        nursery,
        lambda: postgres_engine(url),
        ["--db", url],
        seed,
        nodes=2,
        lease_ms=LEASE_MS,
        database=database,
    )
    await trial.publish()
    try:
        yield trial
    finally:
        await nursery.kill_all()


async def test_a7_b8_nodes_workers_and_the_database_are_killed_and_nothing_is_lost_or_done_twice(
    nodes: Trial,
) -> None:
    """A7 B8: what one node has leased, claimed or answered the other carries on, and repeats when asked.

    While the database is away, nodes answer UNAVAILABLE; when it is back, they go on by themselves.
    """
    where = places(
        NODES_KILLED, nodes.chance, workers=WORKERS_KILLED, databases=DATABASES_KILLED, on_postgres=True
    )
    await nodes.round(Load(nodes.addresses, nodes.seed, "n", Shape(timeout_ms=1_000, posts=True)), where)
    print(nodes.summary)
    assert nodes.summary.cycles == NODES_KILLED + WORKERS_KILLED + DATABASES_KILLED


async def test_a_node_that_was_halted_finds_that_others_have_gone_on(nodes: Trial) -> None:
    """Its commit comes too late, and so do the end of its effect and its timer: all of it was done elsewhere.

    Its callers have asked the other node meanwhile, under the same request ids.
    """
    load = Load(nodes.addresses, nodes.seed, "h", Shape(timeout_ms=400))
    steady = await nodes.start(node=1)
    await steady.wait_ready()
    load.start()
    for place in HALTED:
        server = await nodes.start(crash_at=f"{place}:stop")
        await server.wait_ready()
        await wait_halted(server)
        await wait_overdue(nodes)
        await load.wait_answers(50)
        server.send_signal(signal.SIGCONT)
        await load.wait_answers(50)
        assert await server.stop() == 0
    server = await nodes.start()
    await server.wait_ready()
    await nodes.finish(load, steady, server)
