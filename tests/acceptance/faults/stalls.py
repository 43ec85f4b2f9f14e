"""Processes that stand still, and what runs out meanwhile."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from sqlalchemy import select

from durachart.store.schema import effects, timers
from tests.acceptance.faults.evidence import opened
from tests.acceptance.faults.kill_cycles import Trial
from tests.acceptance.faults.ledger import ALARM_MS
from tests.acceptance.faults.servers import Server
from tests.processes import PATIENCE_S


async def wait_halted(server: Server) -> None:
    """Wait until the process does not run any more."""
    status = Path(f"/proc/{server.pid}/stat")
    async with asyncio.timeout(PATIENCE_S):
        while status.read_text().rpartition(")")[2].split()[0] not in "Tt":  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def wait_overdue(trial: Trial) -> None:
    """Wait until every lease and claim of now has run out, and every timer armed by now is due."""
    halted_at_ms = time.time() * 1000
    leased = select(effects.c.scheduled_at_ms).where(effects.c.finalized_at_ms.is_(None))
    claimed = select(timers.c.claimed_until_ms)
    async with opened(trial.engine()) as engine, engine.connect() as connection:
        ends = [end for one in (leased, claimed) for end in (await connection.execute(one)).scalars()]
    until_ms = max([halted_at_ms + ALARM_MS, *ends])
    while time.time() * 1000 <= until_ms:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
