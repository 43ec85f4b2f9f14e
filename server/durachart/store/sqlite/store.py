"""The SQLite store: one file, one process."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from durachart.store.errors import StoreFailed, StoreNotOpened
from durachart.store.interface import (
    CommitResult,
    Expirable,
    HintListener,
    Leased,
    Loaded,
    Wanted,
    Writes,
)
from durachart.store.keys import InstanceKey
from durachart.store.migrate import upgrade
from durachart.store.nodes import RelayRow
from durachart.store.reads import Reads
from durachart.store.rows import EffectRow, MachineRow, StepRow, TimerRow
from durachart.store.sqlite import leases, retention
from durachart.store.sqlite import statements as sql
from durachart.store.sqlite.checkpoints import Checkpoints
from durachart.store.sqlite.commit import commit
from durachart.store.sqlite.loading import load
from durachart.store.sqlite.lock import FileLock
from durachart.store.sqlite.machines import insert_machine
from durachart.store.sqlite.threads import ConnectionThread, describe
from durachart.store.sqlite.timers import RELEASE_CLAIMS, claim

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SqliteSettings:
    """How the file is used.

    Attributes:
        busy_timeout_ms: How long to wait for another program's lock on the file, >= 0.
        readers: Connections that read beside the writer, >= 1.
        rows_between_copies: After how many written rows the write-ahead log is copied into the file, beside
            the writer, >= 1. A row touched by chance is about a page of the log.
        checkpoint_pages: At how many pages of 4 KiB the writer itself copies what is left of the write-ahead
            log into the file, so that the log begins anew; >= 1.
        cache_kib: What the writer keeps of the file in memory, >= 1.
        loader_cache_kib: The same of the connection that reads for the event path. SQLite forgets it at every
            commit, so it is for one batch.
    """

    busy_timeout_ms: int = 5_000
    readers: int = 4
    rows_between_copies: int = 4_000
    checkpoint_pages: int = 16_000
    cache_kib: int = 64 * 1024
    loader_cache_kib: int = 8 * 1024


def _new_uid() -> str:
    return secrets.token_hex(16)


def _new_secret() -> str:
    return secrets.token_hex(8)


class SqliteStore(Reads):
    """See ``Store``. One process at a time: a second one is refused when it opens the file."""

    exclusive = True
    system = "sqlite"

    def __init__(
        self,
        path: Path,
        settings: SqliteSettings | None = None,
        *,
        new_uid: Callable[[], str] = _new_uid,
        new_secret: Callable[[], str] = _new_secret,
    ) -> None:
        """Keep everything in one file.

        Args:
            path: The file; made, in an existing directory, when it does not exist.
            settings: None: as they are by default.
            new_uid: Makes the identity of a new database, 32 characters.
            new_secret: Makes the random part of a lease token.
        """
        self._path = path
        self._settings = settings or SqliteSettings()
        self._new_uid = new_uid
        self._new_secret = new_secret
        self._uid = ""
        self._newest_revision = 0
        self._uncertain = False
        self._cut_after: InstanceKey | None = None
        self._lock = FileLock(path.with_name(f"{path.name}.lock"))
        self._writer = ConnectionThread("durachart-writer", self._connect)
        self._loader = ConnectionThread("durachart-loader", self._connect_reading)
        self._copier = ConnectionThread("durachart-checkpoints", self._connect_copying)
        self._checkpoints = Checkpoints(self._copier, self._writer, self._settings.rows_between_copies)
        super().__init__(self._reading_engine(), _describe)

    @property
    def uid(self) -> str:
        """See ``Store``."""
        return self._uid

    async def open(self) -> None:
        """See ``Store``."""
        self._lock.acquire()
        try:
            await asyncio.to_thread(self._migrate)
            for thread in (self._writer, self._loader, self._copier):
                thread.start()
            self._uid, self._newest_revision = await self._writer.run(self._introduce)
        except BaseException as error:
            await self.close()
            if isinstance(error, StoreFailed):
                raise StoreNotOpened(f"cannot open {self._path}: {error}") from error
            raise

    async def close(self) -> None:
        """See ``Store``."""
        # The writer last: whoever closes the file last copies the log into it and removes it.
        for thread in (self._copier, self._loader):
            await thread.stop()
        await self._engine.dispose()
        await self._writer.stop()
        self._lock.release()

    def listen(self, listener: HintListener) -> None:
        """See ``Store``. There are no others."""

    # --- the event path ---

    async def load(self, wanted: Wanted) -> Loaded:
        """See ``Store``."""
        if wanted.effects:
            # What is under way may end them.
            return await self._writer.run(lambda connection: load(connection, wanted))
        # Beside a transaction that is written: what that one changes is known to whoever judges on it.
        return await self._loader.run(lambda connection: load(connection, wanted))

    def commit(self, writes: Writes) -> Awaitable[CommitResult]:
        """See ``Store``. Begins at once, whether or not it is awaited."""

        def job(connection: sqlite3.Connection) -> CommitResult:
            if self._uncertain:
                (newest,) = connection.execute(sql.SELECT_NEWEST_REVISION.sql).fetchone()
                self._newest_revision = max(newest or 0, self._newest_revision)
            self._uncertain = True  # a commit that fails may be on disk
            result = commit(connection, writes, self._newest_revision)
            self._uncertain = False
            if not result.stale:
                self._newest_revision += len(writes.journal)
            return result

        self._checkpoints.look()
        return self._writer.submit(job)

    # --- machines and effects ---

    async def insert_machine(self, row: MachineRow) -> tuple[MachineRow, bool]:
        """See ``Store``."""
        return await self._writer.run(lambda connection: insert_machine(connection, row))

    async def lease_effects(
        self, handlers: Sequence[str], *, limit: int, holder: str, now_ms: int, until_ms: int
    ) -> list[Leased]:
        """See ``Store``."""
        return await self._writer.run(
            partial(
                leases.lease,
                handlers=handlers,
                limit=limit,
                holder=holder,
                now_ms=now_ms,
                until_ms=until_ms,
                new_secret=self._new_secret,
            )
        )

    async def extend_lease(
        self, key: InstanceKey, effect_id: str, lease_token: str, *, until_ms: int
    ) -> EffectRow | None:
        """See ``Store``."""
        return await self._writer.run(
            lambda connection: leases.extend(connection, key, effect_id, lease_token, until_ms=until_ms)
        )

    async def retry_effect(
        self,
        key: InstanceKey,
        effect_id: str,
        lease_token: str,
        *,
        now_ms: int,
        scheduled_at_ms: int,
        error: str,
        more_attempts: int = 0,
    ) -> EffectRow | None:
        """See ``Store``."""
        return await self._writer.run(
            partial(
                leases.retry,
                key=key,
                effect_id=effect_id,
                lease_token=lease_token,
                now_ms=now_ms,
                scheduled_at_ms=scheduled_at_ms,
                error=error,
                more_attempts=more_attempts,
            )
        )

    async def record_step(self, step: StepRow, lease_token: str) -> StepRow | None:
        """See ``Store``."""
        return await self._writer.run(lambda connection: leases.record_step(connection, step, lease_token))

    # --- timers and retention ---

    async def claim_due_timers(self, before_ms: int, limit: int, until_ms: int) -> list[TimerRow]:
        """See ``Store``."""
        return await self._writer.run(lambda connection: claim(connection, before_ms, limit, until_ms))

    async def expire(self, what: Expirable, before_ms: int, limit: int) -> int:
        """See ``Store``."""
        if what == "journal":
            return await self._cut_journals(before_ms, limit)
        return await self._writer.run(lambda connection: retention.expire(connection, what, before_ms, limit))

    async def _cut_journals(self, before_ms: int, limit: int) -> int:
        """Cut the journals of the next instances; where a call ends, the next one goes on."""
        found = await asyncio.to_thread(self._find_cuttable, before_ms, limit)
        done, removed = await self._writer.run(lambda connection: retention.cut(connection, found, before_ms))
        if done < len(found):
            self._cut_after = found[done - 1].key if done else self._cut_after
        else:
            self._cut_after = found[-1].key if len(found) == limit else None
        return removed

    def _find_cuttable(self, before_ms: int, limit: int) -> list[retention.Cuttable]:
        """On a connection of its own: it may look at every instance, and the writer must not wait."""
        uri = f"file:{quote(str(self._path))}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True)) as connection:
                return retention.find_cuttable(connection, before_ms, self._cut_after, limit)
        except sqlite3.Error as error:
            raise StoreFailed(describe(error)) from error

    # --- nodes: there is one ---

    async def read_relay_secret(self) -> str:
        """See ``NodeTable``."""
        return ""

    async def register_node(self, node_id: str, address: str, *, lease_ms: int) -> None:
        """See ``NodeTable``."""

    async def remove_node(self, node_id: str) -> None:
        """See ``NodeTable``."""

    async def claim_feed(self, key: InstanceKey, effect_id: str, attempt: int, node_id: str) -> str:
        """See ``NodeTable``."""
        return node_id

    async def release_feed(self, key: InstanceKey, effect_id: str, attempt: int, node_id: str) -> None:
        """See ``NodeTable``."""

    async def find_relay(self, key: InstanceKey, effect_id: str) -> RelayRow | None:
        """See ``NodeTable``."""
        return None

    # --- opening ---

    def _migrate(self) -> None:
        """Make the file, and bring its schema up to date in one transaction."""
        try:
            with closing(sqlite3.connect(self._path)) as connection:
                connection.execute(f"PRAGMA busy_timeout = {self._settings.busy_timeout_ms}")
                # Kept in the file; says no when the file is read-only or no database.
                mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
                if mode != "wal":
                    raise StoreNotOpened(
                        f"cannot open {self._path}: its file system does not support SQLite's write-ahead log"
                    )
            engine = self._migrating_engine()
            try:
                with engine.begin() as connection_in_transaction:
                    upgrade(connection_in_transaction, str(self._path))
            finally:
                engine.dispose()
        except sqlite3.Error as error:
            raise StoreNotOpened(f"cannot open {self._path}: {describe(error)}") from error
        except SQLAlchemyError as error:
            raise StoreNotOpened(f"cannot open {self._path}: {_describe(error)}") from error

    def _introduce(self, connection: sqlite3.Connection) -> tuple[str, int]:
        """The store's uid and newest revision; a new store is given its uid."""
        connection.execute("BEGIN IMMEDIATE")
        # A server's own workers have ended with the process that had this file before: their effects need not
        # wait until the leases run out. Workers in processes of their own may be at work still.
        connection.execute(sql.RELEASE_LEASES.sql)
        connection.execute(RELEASE_CLAIMS.sql)
        connection.execute(sql.INSERT_INFO.sql, sql.INSERT_INFO.bind(name="uid", value=self._new_uid()))
        connection.execute("COMMIT")
        (uid,) = connection.execute(sql.SELECT_INFO.sql, ("uid",)).fetchone()
        (newest,) = connection.execute(sql.SELECT_NEWEST_REVISION.sql).fetchone()
        # The newest rows may have been removed; a revision is never given twice.
        compacted = connection.execute(sql.SELECT_INFO.sql, ("compacted_revision",)).fetchone()
        return uid, max(newest or 0, 0 if compacted is None else int(compacted[0]))

    def _connect(self) -> sqlite3.Connection:
        """The writer's connection; transactions are begun and ended by its jobs."""
        return self._opened(
            f"busy_timeout = {self._settings.busy_timeout_ms}",
            # An acknowledged commit survives the loss of power, not only of the process.
            "synchronous = FULL",
            f"wal_autocheckpoint = {self._settings.checkpoint_pages}",
            f"cache_size = {-self._settings.cache_kib}",
            "temp_store = MEMORY",
        )

    def _connect_reading(self) -> sqlite3.Connection:
        """The connection that reads for the event path."""
        return self._opened(
            f"busy_timeout = {self._settings.busy_timeout_ms}",
            f"cache_size = {-self._settings.loader_cache_kib}",
            "query_only = ON",
        )

    def _connect_copying(self) -> sqlite3.Connection:
        """The connection that copies the log; it waits for nobody."""
        return self._opened("busy_timeout = 0", "synchronous = FULL")

    def _opened(self, *pragmas: str) -> sqlite3.Connection:
        """A connection that begins no transaction by itself."""
        connection = sqlite3.connect(self._path, isolation_level=None, cached_statements=512)
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _migrating_engine(self) -> Engine:
        engine = create_engine(URL.create("sqlite", database=str(self._path)))
        _begin_explicitly(engine, "BEGIN IMMEDIATE", [f"busy_timeout = {self._settings.busy_timeout_ms}"])
        return engine

    def _reading_engine(self) -> AsyncEngine:
        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(self._path)),
            pool_size=self._settings.readers,
            max_overflow=0,
        )
        _begin_explicitly(
            engine.sync_engine,
            "BEGIN",
            [f"busy_timeout = {self._settings.busy_timeout_ms}", "query_only = ON"],
        )
        return engine


def _begin_explicitly(engine: Engine, begin: str, pragmas: Sequence[str]) -> None:
    """Make transactions real: the driver would begin one at the first write, and none for reads and DDL."""

    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))


def _describe(error: SQLAlchemyError) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else None
    return describe(cause) if isinstance(cause, sqlite3.Error) else f"the database failed: {error}"
