"""A server killed under load loses nothing, does nothing twice, and fires nothing early."""

from __future__ import annotations

import pytest

from tests.acceptance.faults.kill_cycles import Trial, places
from tests.acceptance.faults.load import Load

pytestmark = pytest.mark.asyncio(loop_scope="session")

CYCLES = 40


async def test_a7_nothing_is_lost_or_done_twice_when_the_server_is_killed_forty_times(trial: Trial) -> None:
    """A7: half of the kills come at random instants, the others at every crash point."""
    await trial.round(Load(trial.addresses, trial.seed, "k"), places(CYCLES, trial.chance))
    print(trial.summary)
    assert trial.summary.cycles == CYCLES
    assert trial.summary.repeated > 0
