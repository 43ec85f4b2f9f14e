"""The PostgreSQL store: one database, many nodes."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from durachart.store.errors import StoreFailed, StoreNotOpened
from durachart.store.interface import (
    CommitResult,
    Expirable,
    Hint,
    HintListener,
    Leased,
    Loaded,
    LogMatch,
    LogPage,
    StoredInstance,
    Wanted,
    Writes,
)
from durachart.store.keys import InstanceKey
from durachart.store.migrate import upgrade
from durachart.store.nodes import RelayRow
from durachart.store.postgres import leases, nodes, retention, timers
from durachart.store.postgres.bell import Bell, PostgresBell
from durachart.store.postgres.commit import commit
from durachart.store.postgres.connections import MIGRATION_LOCK, connect, prepare
from durachart.store.postgres.failures import FAILURES, describe, describe_opening
from durachart.store.postgres.load import load
from durachart.store.postgres.machines import insert_machine
from durachart.store.postgres.revisions import FINAL_REVISION
from durachart.store.postgres.sessions import Sessions
from durachart.store.postgres.tail import read_tail
from durachart.store.postgres.target import PostgresTarget
from durachart.store.reads import Reads
from durachart.store.rows import EffectRow, MachineRow, StepRow, TimerRow

_log = logging.getLogger(__name__)

_OLDEST_SERVER: Final = 13
_CLOSING_S: Final = 5.0
"""How long the end waits for a database that does not answer."""
_final_revision: Final = text(f"SELECT {FINAL_REVISION}")


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """How the database is used.

    Attributes:
        pool_size: Connections for the event path and leases, >= 1; the URL's own number goes before it.
        readers: Connections for reads beside them, >= 1.
        connect_timeout_s: How long a connection may take to be made, in seconds.
        command_timeout_s: How long a statement may take before it is given up, in seconds: a network that
            swallows everything must not stop the server for ever.
        doorbell: Whether nodes tell each other at once what they did; without it they look every now and
            then.
    """

    pool_size: int = 8
    readers: int = 4
    connect_timeout_s: float = 10.0
    command_timeout_s: float = 30.0
    doorbell: bool = True


def _new_uid() -> str:
    return secrets.token_hex(16)


async def _keep(_connection: asyncpg.Connection) -> None:
    """Nothing is left on a connection that was given back, so nothing has to be reset."""


class PostgresStore(Reads):
    """See ``Store``. Any number of them may have the database open."""

    exclusive = False
    system = "postgresql"

    def __init__(
        self,
        target: PostgresTarget,
        settings: PostgresSettings | None = None,
        *,
        bell: Bell | None = None,
        new_uid: Callable[[], str] = _new_uid,
    ) -> None:
        """Keep everything in one database.

        Args:
            target: Which one; it exists, and its user may make tables in it.
            settings: None: as they are by default.
            bell: How nodes tell each other what they did; None: through the database.
            new_uid: Makes the identity of a new database, 32 characters.
        """
        self._target = target
        self._settings = settings or PostgresSettings()
        self._new_uid = new_uid
        self._uid = ""
        self._pool: asyncpg.Pool | None = None
        self._sessions = Sessions()
        # Where cutting journals goes on.
        self._cut_after: InstanceKey | None = None
        self.bell: Final[Bell] = bell or PostgresBell(self._connect)
        super().__init__(self._reading_engine(), describe, _read_final_revision)

    @property
    def uid(self) -> str:
        """See ``Store``."""
        return self._uid

    async def open(self) -> None:
        """See ``Store``."""
        try:
            await self._require_fit()
            await self._migrate()
            size = self._target.pool_size or self._settings.pool_size
            self._pool = await asyncpg.create_pool(
                min_size=1,
                max_size=size,
                connect=lambda *_, **__: self._connect(),
                init=self._prepare,
                reset=_keep,
            )
            self._uid = await self._introduce()
        except BaseException as error:
            await self.close()
            if isinstance(error, StoreNotOpened):
                raise
            if isinstance(error, FAILURES):
                raise StoreNotOpened(describe_opening(error, self._target)) from error
            raise
        if self._settings.doorbell:
            self.bell.start(self._uid)

    async def close(self) -> None:
        """See ``Store``."""
        await self.bell.close()
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(_CLOSING_S):
                    await pool.close()
            except FAILURES:
                pool.terminate()
        await self._engine.dispose()

    def listen(self, listener: HintListener) -> None:
        """See ``Store``."""
        self.bell.listen(listener)

    # --- the event path ---

    async def load(self, wanted: Wanted) -> Loaded:
        """See ``Store``."""
        async with self._connection() as connection:
            return await load(connection, wanted)

    async def commit(self, writes: Writes) -> CommitResult:
        """See ``Store``."""
        async with self._connection() as connection:
            result = await commit(connection, writes)
        self._ring(_hints(writes))
        return result

    async def get_instance(self, key: InstanceKey) -> StoredInstance | None:
        """See ``Store``. Asked for at every GetState, so it takes the shorter way."""
        return (await self.load(Wanted([key]))).instances.get(key)

    async def read_log(self, after: int, limit: int, match: LogMatch, known: Sequence[int] = ()) -> LogPage:
        """See ``Store``. The whole log is what the tail of a node reads, so that takes the shorter way."""
        if match.keys is not None or match.machine is not None:
            return await super().read_log(after, limit, match, known)
        async with self._connection() as connection:
            return await read_tail(connection, after, limit, known)

    # --- machines ---

    async def insert_machine(self, row: MachineRow) -> tuple[MachineRow, bool]:
        """See ``Store``."""
        async with self._connection() as connection:
            stored, is_new = await insert_machine(connection, row)
        if is_new:
            self._ring(Hint.MACHINES)
        return stored, is_new

    # --- effects ---

    async def lease_effects(
        self, handlers: Sequence[str], *, limit: int, holder: str, now_ms: int, until_ms: int
    ) -> list[Leased]:
        """See ``Store``."""
        async with self._connection() as connection:
            return await leases.lease(
                connection, handlers, limit=limit, holder=holder, now_ms=now_ms, until_ms=until_ms
            )

    async def extend_lease(
        self, key: InstanceKey, effect_id: str, lease_token: str, *, until_ms: int
    ) -> EffectRow | None:
        """See ``Store``."""
        async with self._connection() as connection:
            return await leases.extend(connection, key, effect_id, lease_token, until_ms=until_ms)

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
        async with self._connection() as connection:
            row = await leases.retry(
                connection,
                key,
                effect_id,
                lease_token,
                now_ms=now_ms,
                scheduled_at_ms=scheduled_at_ms,
                error=error,
                more_attempts=more_attempts,
            )
        if row is not None:
            self._ring(Hint.EFFECTS)
        return row

    async def record_step(self, step: StepRow, lease_token: str) -> StepRow | None:
        """See ``Store``."""
        async with self._connection() as connection:
            return await leases.record_step(connection, step, lease_token)

    # --- timers ---

    async def claim_due_timers(self, before_ms: int, limit: int, until_ms: int) -> list[TimerRow]:
        """See ``Store``."""
        async with self._connection() as connection:
            return await timers.claim(connection, before_ms, limit, until_ms)

    async def next_due(self) -> int | None:
        """See ``Store``."""
        async with self._connection() as connection:
            return await timers.next_due(connection)

    # --- retention ---

    async def expire(self, what: Expirable, before_ms: int, limit: int) -> int:
        """See ``Store``."""
        async with self._connection() as connection:
            if what != "journal":
                return await retention.expire(connection, what, before_ms, limit)
            cut = await retention.cut_journals(connection, before_ms, self._cut_after, limit)
        self._cut_after = cut.after
        return cut.removed

    # --- nodes ---

    async def read_relay_secret(self) -> str:
        """See ``NodeTable``."""
        async with self._connection() as connection:
            return await nodes.read_relay_secret(connection)

    async def register_node(self, node_id: str, address: str, *, lease_ms: int) -> None:
        """See ``NodeTable``."""
        async with self._connection() as connection:
            await nodes.register(connection, node_id, address, lease_ms=lease_ms)

    async def remove_node(self, node_id: str) -> None:
        """See ``NodeTable``."""
        async with self._connection() as connection:
            await nodes.remove(connection, node_id)

    async def claim_feed(self, key: InstanceKey, effect_id: str, attempt: int, node_id: str) -> str:
        """See ``NodeTable``."""
        async with self._connection() as connection:
            return await nodes.claim_feed(connection, key, effect_id, attempt, node_id)

    async def release_feed(self, key: InstanceKey, effect_id: str, attempt: int, node_id: str) -> None:
        """See ``NodeTable``."""
        async with self._connection() as connection:
            await nodes.release_feed(connection, key, effect_id, attempt, node_id)

    async def find_relay(self, key: InstanceKey, effect_id: str) -> RelayRow | None:
        """See ``NodeTable``."""
        async with self._connection() as connection:
            return await nodes.find_relay(connection, key, effect_id)

    # --- connections ---

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        if self._pool is None:
            raise StoreFailed("the database is closed")
        try:
            async with self._pool.acquire() as connection:
                await self._sessions.settle(connection)
                pid = connection.get_server_pid()
                try:
                    yield connection
                finally:
                    if _is_lost(connection):
                        self._sessions.lose(pid)
        except FAILURES as error:
            raise StoreFailed(describe(error)) from error

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.connect() as connection:
                yield connection
        except FAILURES as error:
            raise StoreFailed(describe(error)) from error

    async def _prepare(self, connection: asyncpg.Connection) -> None:
        await prepare(connection)
        await self._sessions.note(connection)

    def _ring(self, hints: Hint) -> None:
        if hints and self._settings.doorbell:
            self.bell.ring(hints)

    async def _connect(self) -> asyncpg.Connection:
        return await connect(
            self._target,
            connect_timeout_s=self._settings.connect_timeout_s,
            command_timeout_s=self._settings.command_timeout_s,
        )

    async def _connect_patiently(self) -> asyncpg.Connection:
        """A connection whose statements may take as long as they need: migrations do."""
        return await connect(
            self._target, connect_timeout_s=self._settings.connect_timeout_s, command_timeout_s=None
        )

    def _reading_engine(self) -> AsyncEngine:
        return create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect,
            pool_size=self._settings.readers,
            max_overflow=0,
            # One that broke while it was idle is found before it is used.
            pool_pre_ping=True,
            isolation_level="REPEATABLE READ",
            execution_options={"postgresql_readonly": True},
        )

    # --- opening ---

    async def _require_fit(self) -> None:
        """Raise unless the server can hold a store."""
        connection = await self._connect()
        try:
            version = connection.get_server_version()
            if version.major < _OLDEST_SERVER:
                raise StoreNotOpened(
                    f"cannot open the database {self._target.shown}: the server is PostgreSQL"
                    f" {version.major}; {_OLDEST_SERVER} or later is needed"
                )
            encoding = await connection.fetchval("SHOW server_encoding")
            if encoding != "UTF8":
                raise StoreNotOpened(
                    f"cannot open the database {self._target.shown}: its encoding is {encoding}; make one"
                    " with UTF8"
                )
            if await connection.fetchval("SHOW fsync") == "off":
                _log.warning(
                    "the database runs with fsync off: what is acknowledged may be lost when it loses power"
                )
        finally:
            await connection.close()

    async def _migrate(self) -> None:
        """Bring the schema up to date in one transaction; of several nodes one does it, the others wait."""
        engine = create_async_engine("postgresql+asyncpg://", async_creator=self._connect_patiently)
        try:
            async with engine.begin() as connection:
                await connection.execute(
                    text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK}
                )
                await connection.run_sync(upgrade, self._target.shown)
                insert = text("INSERT INTO store_info VALUES (:name, :value) ON CONFLICT DO NOTHING")
                await connection.execute(insert, {"name": "uid", "value": self._new_uid()})
                await connection.execute(insert, {"name": "revision_offset", "value": "0"})
                # Made once, with the database; whoever can read it can call nodes as one of them.
                await connection.execute(insert, {"name": "relay_secret", "value": secrets.token_hex(32)})
        finally:
            await engine.dispose()

    async def _introduce(self) -> str:
        async with self._connection() as connection:
            uid: str = await connection.fetchval("SELECT value FROM store_info WHERE name = 'uid'")
            return uid


def _is_lost(connection: asyncpg.Connection) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # the pool has taken note of it already
        return True


async def _read_final_revision(connection: AsyncConnection) -> int:
    found: int = (await connection.execute(_final_revision)).scalar_one()
    return found


def _hints(writes: Writes) -> Hint:
    hints = Hint(0)
    if writes.journal:
        hints |= Hint.LOG
    if writes.effects or writes.revivals:
        hints |= Hint.EFFECTS
    if writes.ends:
        hints |= Hint.ENDS
    if writes.timers:
        hints |= Hint.TIMERS
    return hints
