"""Every test of a store runs on every store there is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from durachart.store.interface import Store
from durachart.store.postgres.store import PostgresStore
from durachart.store.postgres.target import parse_target
from durachart.store.sqlite.store import SqliteStore
from tests.postgres import PostgresServer
from tests.store.runtimes import Service, serving

StoreMaker = Callable[[], Store]


@pytest.fixture(params=["sqlite", "postgres"])
async def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreMaker]:
    """Makes stores, not opened yet, of one database."""
    if request.param == "sqlite":
        yield lambda: SqliteStore(tmp_path / "store.db")
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = await server.create_store()
    yield lambda: PostgresStore(parse_target(url))
    await server.drop_database(url)


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
