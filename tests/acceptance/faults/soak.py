"""The kill cycles of the tests, for as long as one likes: ``make soak ARGS="--cycles 500 --seed 7"``.

Rounds of some cycles each work on one database; every round has instances of its own, and is checked at its
end. Workers are killed too, and on PostgreSQL two nodes in turns, and now and then the database. What
contradicts is shown, the database and all logs are kept, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.acceptance.faults.evidence import postgres_engine, sqlite_engine
from tests.acceptance.faults.kill_cycles import Trial, places
from tests.acceptance.faults.load import Load, Shape
from tests.acceptance.faults.servers import Nursery
from tests.acceptance.faults.streams_soak import soak_streams
from tests.postgres import NoPostgres, PostgresServer

LEASE_MS = 1_000
WORKERS_PER_ROUND, DATABASES_PER_ROUND = 2, 2


@asynccontextmanager
async def on_sqlite(scratch: Path, seed: int) -> AsyncIterator[Trial]:
    """One server on one file."""
    data = scratch / "data"
    path = data / "durachart.db"
    async with Nursery.open(scratch) as nursery:
        yield Trial(nursery, lambda: sqlite_engine(path), ["--data-dir", str(data)], seed)


@asynccontextmanager
async def on_postgres(scratch: Path, seed: int) -> AsyncIterator[Trial]:
    """Two nodes on one database."""
    database = PostgresServer(fsync=True)
    try:
        await database.wait_ready()
        url = await database.create_store()
        async with Nursery.open(scratch) as nursery:
            yield Trial(
                nursery,
                lambda: postgres_engine(url),
                ["--db", url],
                seed,
                nodes=2,
                lease_ms=LEASE_MS,
                database=database,
            )
        database.remove()
    finally:
        # What went wrong can be looked at: its data stays.
        database.kill()


async def soak(scratch: Path, given: argparse.Namespace, seed: int) -> None:
    """Run the cycles that were asked for; raises AssertionError with what contradicts."""
    shape = Shape(writers=given.writers, rate=given.rate, posts=True)
    began = time.monotonic()
    many = given.store == "postgresql"
    async with (on_postgres if many else on_sqlite)(scratch, seed) as trial:
        await trial.publish()
        number = 0
        while (left := given.cycles - trial.summary.cycles) > 0:
            load = Load(trial.addresses, trial.chance.randrange(2**32), f"r{number}", shape)
            where = places(
                min(left, given.round),
                trial.chance,
                workers=WORKERS_PER_ROUND,
                databases=DATABASES_PER_ROUND if many else 0,
                on_postgres=many,
            )
            await trial.round(load, where)
            number += 1
            print(f"{time.monotonic() - began:6.0f} s  {trial.summary}", flush=True)


def main() -> int:
    """Read the command line, soak, say how it went."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--cycles", type=int, default=500, help="how often a process is killed")
    parser.add_argument("--seed", type=int, default=None, help="repeats what another run left to chance")
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite", help="what is beneath")
    parser.add_argument("--round", type=int, default=20, help="cycles after which everything is checked")
    parser.add_argument("--rate", type=float, default=400.0, help="events per second that clients aim at")
    parser.add_argument("--writers", type=int, default=16, help="clients that each wait for their answers")
    parser.add_argument(
        "--streams", action="store_true", help="watch and follow text through faults of all kinds"
    )
    given = parser.parse_args()
    seed = random.randrange(2**32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    scratch = Path(tempfile.mkdtemp(prefix="durachart-soak-"))
    try:
        asyncio.run((soak_streams if given.streams else soak)(scratch, given, seed))
    except (AssertionError, NoPostgres) as error:
        print(f"{error}\nseed {seed}; the files are kept in {scratch}", file=sys.stderr)
        return 1
    shutil.rmtree(scratch)
    print("nothing was lost, done twice or early")
    return 0


if __name__ == "__main__":
    sys.exit(main())
