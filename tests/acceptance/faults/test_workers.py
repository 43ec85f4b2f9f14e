"""Workers of their own, killed and cut off from their server while they run effects."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.acceptance.faults.kill_cycles import Trial
from tests.acceptance.faults.load import Load, Shape
from tests.acceptance.faults.servers import Nursery, Server
from tests.processes import PATIENCE_S

pytestmark = pytest.mark.asyncio(loop_scope="session")

POSTING = Shape(posts=True)
WORKERS_KILLED = 6
PLACES = ("lease.after:4", "commit.after:30", "reply.set:30", "commit.before:30")


async def wait_ran(worker: Server, effects: int) -> None:
    """Wait until a worker has run so many effects."""
    async with asyncio.timeout(PATIENCE_S):
        while worker.stderr.count("ran: ") < effects:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a7_effects_of_workers_that_are_killed_end_once(nursery: Nursery, trial: Trial) -> None:
    """A7: each worker is killed in the middle of some; their leases run out and others run them again."""
    server = await trial.start()
    await server.wait_ready()
    load = Load(trial.addresses, trial.seed, "w", POSTING)
    load.start()
    for _ in range(WORKERS_KILLED):
        worker = await nursery.start_worker(trial.address)
        await wait_ran(worker, trial.chance.randint(1, 8))
        await worker.kill()
    worker = await nursery.start_worker(trial.address)
    await trial.finish(load, worker, server)
    print(trial.summary)
    assert trial.summary.retried > 0


async def test_a7_effects_whose_server_is_killed_end_once(nursery: Nursery, trial: Trial) -> None:
    """A7: between lease and answer, and between a completion's commit and its answer."""
    load = Load(trial.addresses, trial.seed, "v", POSTING)
    load.start()
    worker = await nursery.start_worker(trial.address)
    for place in PLACES:
        server = await trial.start(crash_at=place)
        assert await server.wait() == -signal.SIGKILL
    server = await trial.start()
    await server.wait_ready()
    await trial.finish(load, worker, server)
