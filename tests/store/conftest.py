"""Every test of a store runs on every store there is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from durachart.store.interface import Store
from durachart.store.sqlite.store import SqliteStore
from tests.store.runtimes import Service, serving

StoreMaker = Callable[[], Store]


@pytest.fixture(params=["sqlite"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> StoreMaker:
    """Makes stores, not opened yet, of one database."""
    assert request.param == "sqlite"
    return lambda: SqliteStore(tmp_path / "store.db")


@pytest.fixture
async def store(make_store: StoreMaker) -> AsyncIterator[Store]:
    """An open, empty store."""
    made = make_store()
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def service(make_store: StoreMaker) -> AsyncIterator[Service]:
    """A runtime on an empty store, the sample machine published."""
    async with serving(make_store) as running:
        yield running
