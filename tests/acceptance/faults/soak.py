"""The kill cycles of the tests, for as long as one likes: ``make soak ARGS="--cycles 500 --seed 7"``.

Rounds of some cycles each work on one database; every round has instances of its own, and is checked at its
end. What contradicts is shown, the database and all logs are kept, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.acceptance.faults.evidence import sqlite_engine
from tests.acceptance.faults.kill_cycles import Trial, places
from tests.acceptance.faults.load import Load, Shape
from tests.acceptance.faults.servers import Nursery


async def soak(scratch: Path, cycles: int, seed: int, cycles_per_round: int, shape: Shape) -> None:
    """Run ``cycles`` cycles; raises AssertionError with what contradicts."""
    data = scratch / "data"
    began = time.monotonic()
    async with Nursery.open(scratch) as nursery:
        trial = Trial(
            nursery,
            lambda: sqlite_engine(data / "durachart.db"),
            ["--data-dir", str(data)],
            seed,
        )
        await trial.publish()
        number = 0
        while (left := cycles - trial.summary.cycles) > 0:
            load = Load(trial.addresses, trial.chance.randrange(2**32), f"r{number}", shape)
            await trial.round(load, places(min(left, cycles_per_round), trial.chance))
            number += 1
            print(f"{time.monotonic() - began:6.0f} s  {trial.summary}", flush=True)


def main() -> int:
    """Read the command line, soak, say how it went."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--cycles", type=int, default=500, help="how often the server is killed")
    parser.add_argument("--seed", type=int, default=None, help="repeats what another run left to chance")
    parser.add_argument("--round", type=int, default=20, help="cycles after which everything is checked")
    parser.add_argument("--rate", type=float, default=400.0, help="events per second that clients aim at")
    parser.add_argument("--writers", type=int, default=16, help="clients that each wait for their answers")
    given = parser.parse_args()
    seed = random.randrange(2**32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    scratch = Path(tempfile.mkdtemp(prefix="durachart-soak-"))
    shape = Shape(writers=given.writers, rate=given.rate)
    try:
        asyncio.run(soak(scratch, given.cycles, seed, given.round, shape))
    except AssertionError as error:
        print(f"{error}\nseed {seed}; database and logs are kept in {scratch}", file=sys.stderr)
        return 1
    shutil.rmtree(scratch)
    print("nothing was lost, done twice or early")
    return 0


if __name__ == "__main__":
    sys.exit(main())
