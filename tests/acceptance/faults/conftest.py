"""One nursery for all tests of the package: what it imports takes seconds."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.acceptance.faults.evidence import sqlite_engine
from tests.acceptance.faults.kill_cycles import Trial
from tests.acceptance.faults.servers import Nursery, free_port


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def nursery(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nursery]:
    """Starts servers."""
    async with Nursery.open(tmp_path_factory.mktemp("servers")) as nursery:
        yield nursery


@pytest_asyncio.fixture(loop_scope="session")
async def trial(nursery: Nursery, tmp_path: Path) -> AsyncIterator[Trial]:
    """An empty database that knows the ledger, and no server yet; what it left running is killed."""
    seed = random.randrange(2**32)
    # Shown when a test fails.
    print(f"seed {seed}")
    path = tmp_path / "data" / "durachart.db"
    trial = Trial(nursery, lambda: sqlite_engine(path), ["--data-dir", str(path.parent)], free_port(), seed)
    await trial.publish()
    try:
        yield trial
    finally:
        await nursery.kill_all()
