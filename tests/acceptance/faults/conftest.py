"""One nursery for all tests of the package: what it imports takes seconds."""

from __future__ import annotations

import random
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.acceptance.faults.evidence import sqlite_engine
from tests.acceptance.faults.kill_cycles import Trial
from tests.acceptance.faults.servers import Nursery


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def nursery(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nursery]:
    """Starts servers."""
    async with Nursery.open(tmp_path_factory.mktemp("servers")) as nursery:
        yield nursery


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def published(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory, to be copied, that knows the ledger and nothing else."""
    directory = tmp_path_factory.mktemp("published") / "data"
    path = directory / "durachart.db"
    await Trial(nursery, lambda: sqlite_engine(path), ["--data-dir", str(directory)], 0).publish()
    return directory


@pytest_asyncio.fixture(loop_scope="session")
async def trial(nursery: Nursery, published: Path, tmp_path: Path) -> AsyncIterator[Trial]:
    """An empty database that knows the ledger, and no server yet; what it left running is killed."""
    seed = random.randrange(2**32)
    # Shown when a test fails.
    print(f"seed {seed}")
    directory = tmp_path / "data"
    shutil.copytree(published, directory)
    path = directory / "durachart.db"
    try:
        yield Trial(nursery, lambda: sqlite_engine(path), ["--data-dir", str(directory)], seed)
    finally:
        await nursery.kill_all()
