"""A worker of its own for the ledger's effects: each takes a moment, in which it can be killed."""

from __future__ import annotations

import asyncio
import random
import sys
from datetime import timedelta

from durachart_client import Effect, Worker
from tests.acceptance.faults.ledger import POST_HANDLER

READY = "Ctrl-C ends it"
"""As a server says."""


async def work(address: str, lease_ms: int) -> None:
    """Run effects of a server until a signal asks it to end."""
    worker = Worker(address, lease=timedelta(milliseconds=lease_ms))

    @worker.effect(POST_HANDLER)
    async def post(effect: Effect) -> None:
        await asyncio.sleep(random.uniform(0, 0.05))
        # One piece with its end, so that a kill leaves no half of a line for the next log to be read on.
        sys.stderr.write(f"ran: post effect_id={effect.idempotency_key}\n")
        sys.stderr.flush()

    print(READY, flush=True)
    await worker.run()
