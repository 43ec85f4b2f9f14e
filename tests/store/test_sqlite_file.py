"""What only a file can do: be locked, be full, be read-only, outlive its process."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from durachart.store.chain import first_broken
from durachart.store.errors import StoreFailed, StoreInUse, StoreNotOpened
from durachart.store.interface import CommitResult, Wanted, Writes
from durachart.store.sqlite import loading
from durachart.store.sqlite import store as sqlite_store
from durachart.store.sqlite.commit import commit
from durachart.store.sqlite.store import SqliteSettings, SqliteStore
from tests.processes import PATIENCE_S
from tests.store.stored_rows import created, instance, journal, key, moved

CHILD = Path(__file__).with_name("writing_child.py")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "store.db", SqliteSettings(busy_timeout_ms=50))
    await made.open()
    yield made
    await made.close()


def _child(path: Path, repository: Path) -> subprocess.Popen[str]:
    search = os.pathsep.join([str(repository), str(repository / "server")])
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": search},
    )


async def test_a_second_store_on_the_file_is_refused_by_name(store: SqliteStore, tmp_path: Path) -> None:
    with pytest.raises(StoreInUse, match=rf"process {os.getpid()} has the database .*store\.db open"):
        await SqliteStore(tmp_path / "store.db").open()
    await store.commit(created(key()))


async def test_sigkill_loses_nothing_acknowledged_and_frees_the_file(
    tmp_path: Path, repository: Path
) -> None:
    path = tmp_path / "killed.db"
    for _ in range(3):
        with _child(path, repository) as child:
            assert child.stdout is not None
            acknowledged = [int(child.stdout.readline()) for _ in range(25)]
            with pytest.raises(StoreInUse, match=f"process {child.pid} has the database"):
                await SqliteStore(path).open()
            child.kill()
            acknowledged.extend(int(line) for line in child.stdout if line.strip())
        store = SqliteStore(path)
        await store.open()
        stored = await store.get_instance(key())
        assert stored is not None
        # The last commit may be on disk without having been acknowledged; none is half there.
        assert stored.row.version in (acknowledged[-1], acknowledged[-1] + 1)
        entries = await store.list_journal(key(), from_seq=1, limit=10_000)
        assert [entry.row.seq for entry in entries] == list(range(1, stored.row.version + 2))
        assert [entry.revision for entry in entries] == [entry.row.seq for entry in entries]
        await store.close()
        for name in (path, *tmp_path.glob("killed.db-*")):
            name.unlink(missing_ok=True)


async def test_a_full_disk_fails_the_commit_alone_and_passes(store: SqliteStore) -> None:
    await store.commit(created(key()))

    def set_limit(connection: sqlite3.Connection, pages: int) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    (used,) = await store._writer.run(lambda connection: connection.execute("PRAGMA page_count").fetchone())
    await store._writer.run(lambda connection: set_limit(connection, used))
    with pytest.raises(StoreFailed, match="disk is full; free some space"):
        await store.commit(moved(key(), 1, context="x" * 100_000))
    stored = await store.get_instance(key())
    assert stored is not None
    assert stored.row.version == 0
    await store._writer.run(lambda connection: set_limit(connection, 1_000_000))
    result = await store.commit(moved(key(), 1, context="x" * 100_000))
    assert (list(result.revisions), result.stale) == ([2], frozenset())


async def test_large_contexts_are_loaded_as_they_are_and_hold_the_loop_up_for_nothing(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["", "x" * 8_182, "x" * 8_183, "é🙂" * 8_192, r"\\" * 120_000, r"\u0000" * 120_000]
    contexts = {key(f"o-{n}"): f'{{"a":"{text}"}}' for n, text in enumerate(texts)}
    for of, context in contexts.items():
        await store.commit(Writes(journal=[journal(of)], inserts=[instance(of, context=context)]))
    parsed: list[int] = []

    def loads(text: str) -> Any:
        parsed.append(len(text))
        return orjson.loads(text)

    monkeypatch.setattr(loading, "orjson", SimpleNamespace(loads=loads, dumps=orjson.dumps))
    wanted = (key("unknown"), *contexts)
    loaded = await store.load(Wanted(wanted, (), ()))
    assert {of: found.row.context for of, found in loaded.instances.items()} == contexts
    assert sum(parsed) < 20_000, "while it is parsed nothing else runs"


def _copied_version(path: Path) -> int:
    """Of the instance, as the file says it without its log."""
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
        found = connection.execute("SELECT version FROM instances").fetchone()
    return -1 if found is None else int(found[0])


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(
            SqliteSettings(rows_between_copies=20, checkpoint_pages=1_000_000), id="beside-the-writer"
        ),
        pytest.param(SqliteSettings(rows_between_copies=10**9, checkpoint_pages=50), id="by-the-writer"),
    ],
)
async def test_the_log_is_copied_into_the_file_while_it_is_written(
    tmp_path: Path, settings: SqliteSettings
) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path, settings)
    await store.open()
    await store.commit(created(key()))
    version = 0
    async with asyncio.timeout(PATIENCE_S):
        while _copied_version(path) < 50:
            version += 1
            await store.commit(moved(key(), version))
    await store.close()
    assert _copied_version(path) == version, "whoever closes the file last leaves no log behind"
    assert not path.with_name("store.db-wal").exists()


async def test_another_programs_lock_fails_the_commit_alone_and_passes(
    store: SqliteStore, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreFailed, match="another program holds a lock"):
            await store.commit(created(key()))
        other.execute("ROLLBACK")
    assert list((await store.commit(created(key()))).revisions) == [1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to read-only files")
async def test_a_read_only_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    made = SqliteStore(path)
    await made.open()
    await made.close()
    path.chmod(0o444)
    with pytest.raises(StoreNotOpened, match="read-only; make it writable"):
        await SqliteStore(path).open()


async def test_a_caller_that_goes_away_does_not_undo_its_commit(store: SqliteStore) -> None:
    committing = asyncio.ensure_future(store.commit(created(key())))
    await asyncio.sleep(0)
    committing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await committing
    # The writer takes one job after the other, so this one comes after the commit.
    result = await store.commit(moved(key(), 1))
    assert (list(result.revisions), result.stale) == ([2], frozenset())


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    made = SqliteStore(tmp_path / "store.db")
    await made.open()
    await made.close()
    await made.close()
    with pytest.raises(StoreFailed, match="the database is closed"):
        await made.commit(created(key()))


async def test_a_commit_waits_for_the_disk(store: SqliteStore) -> None:
    pragmas = await store._writer.run(
        lambda connection: [
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
        ]
    )
    assert pragmas == ["wal", 2]


async def test_the_chain_shows_a_row_that_was_tampered_with(store: SqliteStore, tmp_path: Path) -> None:
    writes = created(key())
    for seq in (2, 3, 4):
        writes.journal.append(journal(key(), seq, before=writes.journal[-1]))
    await store.commit(writes)
    entries = await store.list_journal(key(), from_seq=1, limit=10)
    assert first_broken(entry.row for entry in entries) is None
    with closing(sqlite3.connect(tmp_path / "store.db")) as other:
        other.execute("UPDATE journal SET actor = 'mallory' WHERE seq = 2")
        other.commit()
    entries = await store.list_journal(key(), from_seq=1, limit=10)
    broken = first_broken(entry.row for entry in entries)
    assert broken is not None
    assert broken.seq == 2


async def test_a_commit_that_failed_at_its_end_gives_no_revision_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be on disk although it was reported as failed."""

    def committed_then_failed(connection: sqlite3.Connection, writes: Writes, newest: int) -> CommitResult:
        commit(connection, writes, newest)
        raise sqlite3.OperationalError("the disk failed at the end")

    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    try:
        monkeypatch.setattr(sqlite_store, "commit", committed_then_failed)
        with pytest.raises(StoreFailed):
            await store.commit(Writes(journal=[journal(key("a"), 1)]))
        monkeypatch.undo()
        done = await store.commit(Writes(journal=[journal(key("b"), 1)]))
        assert (list(done.revisions), await store.newest_revision()) == ([2], 2)
    finally:
        await store.close()
