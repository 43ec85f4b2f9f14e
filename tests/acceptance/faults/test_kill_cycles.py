"""A server killed under load loses nothing, does nothing twice, and fires nothing early."""

from __future__ import annotations

import random
from pathlib import Path

from tests.acceptance.faults.evidence import sqlite_engine
from tests.acceptance.faults.kill_cycles import Trial, places
from tests.acceptance.faults.load import Load
from tests.acceptance.faults.servers import Nursery, free_port

CYCLES = 40


async def test_nothing_is_lost_or_done_twice_when_the_server_is_killed_forty_times(tmp_path: Path) -> None:
    """Half of the kills come at random instants, the others at every crash point."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    data = tmp_path / "data"
    async with Nursery.open(tmp_path) as nursery:
        trial = Trial(
            nursery,
            lambda: sqlite_engine(data / "durachart.db"),
            ["--data-dir", str(data)],
            free_port(),
            seed,
        )
        await trial.publish()
        load = Load(trial.address, seed, "k")
        await trial.round(load, places(CYCLES, trial.chance))
    print(trial.summary)
    assert trial.summary.cycles == CYCLES
    assert trial.summary.repeated > 0
