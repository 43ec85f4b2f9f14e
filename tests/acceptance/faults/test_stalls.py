"""A server that is halted and goes on: what was due meanwhile happens once, late and never early."""

from __future__ import annotations

import signal

import pytest

from tests.acceptance.faults.kill_cycles import Trial
from tests.acceptance.faults.ledger import ALARM_MS
from tests.acceptance.faults.load import Load, Shape
from tests.acceptance.faults.stalls import wait_halted, wait_overdue

pytestmark = pytest.mark.asyncio(loop_scope="session")

LEASE_MS = 300
# Calls give up while the server is halted, which is for longer than that, and ask again.
IMPATIENT = Shape(timeout_ms=ALARM_MS - 50)
PLACES = (
    "commit.inside:20",
    "commit.after:20",
    "reply.set:20",
    "effect.leased:3",
    "effect.returned:3",
    "timer.before:2",
    "timer.after:2",
)


async def test_a_server_halted_at_any_instant_goes_on_where_it_was(trial: Trial) -> None:
    """Leases run out and timers come due while it is halted."""
    server = await trial.start(lease_ms=LEASE_MS)
    await server.wait_ready()
    load = Load(trial.addresses, trial.seed, "s", IMPATIENT)
    load.start()
    for _ in range(3):
        await load.wait_calls(150)
        server.send_signal(signal.SIGSTOP)
        await wait_halted(server)
        await wait_overdue(trial)
        server.send_signal(signal.SIGCONT)
    await load.wait_calls(150)
    await trial.finish(load, server)
    assert "DEADLINE_EXCEEDED" in {code for code, _ in load.history.failures}


async def test_a_server_halted_where_it_matters_goes_on_where_it_was(trial: Trial) -> None:
    """Between a commit and its answer, between a lease and the end of its effect, around a timer."""
    load = Load(trial.addresses, trial.seed, "p", IMPATIENT)
    load.start()
    for place in PLACES:
        server = await trial.start(crash_at=f"{place}:stop", lease_ms=LEASE_MS)
        await server.wait_ready()
        await wait_halted(server)
        await wait_overdue(trial)
        server.send_signal(signal.SIGCONT)
        await load.wait_calls(100)
        assert await server.stop() == 0
    server = await trial.start(lease_ms=LEASE_MS)
    await server.wait_ready()
    await trial.finish(load, server)
