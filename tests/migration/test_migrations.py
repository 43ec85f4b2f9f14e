"""Migrations: every older database opens, a newer one is refused with a sentence."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from durachart.store.errors import StoreNotOpened, StoreTooNew
from durachart.store.migrate import HEAD, upgrade
from durachart.store.schema import metadata
from durachart.store.sqlite.store import SqliteStore


def test_migrations_make_the_schema_the_code_uses(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'fresh.db'}")
    with engine.begin() as connection:
        upgrade(connection, "fresh.db")
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_head_that_is_looked_for_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", "durachart.store:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_a_second_upgrade_changes_nothing(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'fresh.db'}")
    for _ in range(2):
        with engine.begin() as connection:
            upgrade(connection, "fresh.db")
            assert MigrationContext.configure(connection).get_current_revision() == HEAD
    engine.dispose()


async def test_reopening_keeps_the_stores_identity(tmp_path: Path) -> None:
    uids = set()
    for _ in range(2):
        store = SqliteStore(tmp_path / "kept.db")
        await store.open()
        uids.add(store.uid)
        await store.close()
    assert len(uids) == 1


async def test_a_database_of_a_newer_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "newer.db"
    store = SqliteStore(path)
    await store.open()
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StoreTooNew, match=r"newer\.db has schema 9999.*a newer release wrote it"):
        await store.open()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 1000)
    with pytest.raises(StoreNotOpened, match="not a SQLite database"):
        await SqliteStore(path).open()
    assert path.read_text().startswith("dear diary")


async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreNotOpened, match="missing"):
        await SqliteStore(tmp_path / "missing" / "d.db").open()
