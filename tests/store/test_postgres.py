"""What only a database with many nodes can do, or suffer."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from durachart.store.chain import sealed
from durachart.store.errors import StoreFailed, StoreNotOpened, StoreTooNew
from durachart.store.interface import NO_JOURNAL, LogMatch, LogPage, Wanted, Writes
from durachart.store.keys import InstanceKey
from durachart.store.postgres.revisions import MAX_ROWS, PLACE_BITS
from durachart.store.postgres.store import PostgresSettings, PostgresStore
from durachart.store.postgres.target import parse_target
from durachart.store.schema import metadata
from tests.postgres import GUARDED_PASSWORD, GUARDED_USER, NoPostgres, PostgresServer, postgres
from tests.store.stored_rows import (
    created,
    effect,
    end,
    instance,
    journal,
    key,
    machine,
    moved,
    request,
    timer,
    wait_final,
)


@pytest.fixture
async def url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """A database with tables and without rows."""
    made = await postgres_server.create_store()
    yield made
    await postgres_server.drop_database(made)


@pytest.fixture
async def stores(url: str) -> AsyncIterator[list[PostgresStore]]:
    """Three nodes' stores of one database."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(3):
            store = PostgresStore(parse_target(url), PostgresSettings(pool_size=2, readers=1, doorbell=False))
            await store.open()
            stack.push_async_callback(store.close)
            made.append(store)
        yield made


# --- agreeing ---


async def _attempt(store: PostgresStore, keys: list[InstanceKey], request_id: str) -> int:
    """Judge on what is stored, and commit: a step of some instances, created where they are not there."""
    loaded = await store.load(Wanted(keys))
    writes = Writes()
    for of in keys:
        head = loaded.heads.get(of, NO_JOURNAL)
        stored = loaded.instances.get(of)
        version = 0 if stored is None else stored.row.version + 1
        row = journal(of, head.seq + 1, to_version=version, prev_hash=head.hash, context=request_id)
        row = sealed(row._replace(hash=b""))
        writes.journal.append(row)
        if stored is None:
            writes.inserts.append(instance(of))
        else:
            writes.updates.append(moved(of, version).updates[0])
        writes.requests.append(request(of, request_id, row.seq))
    result = await store.commit(writes)
    return len(keys) - len(result.stale)


async def test_nodes_that_race_agree_on_every_journal(stores: list[PostgresStore]) -> None:
    """F8: what a node judged holds only on what is current; nothing is lost, applied twice or moved."""
    keys = [key(f"{n}") for n in range(8)]
    chosen = random.Random(1)
    steps = Counter[int]()

    async def node(number: int) -> None:
        for step in range(40):
            some = chosen.sample(keys, chosen.randint(1, 5))
            steps[number] += await _attempt(stores[number % 3], some, f"{number}/{step}")

    await asyncio.gather(*(node(number) for number in range(6)))
    written = 0
    for of in keys:
        entries = await stores[0].list_journal(of, from_seq=1, limit=1_000)
        written += len(entries)
        assert [entry.row.seq for entry in entries] == list(range(1, len(entries) + 1))
        assert [entry.row.to_version for entry in entries] == list(range(len(entries)))
        revisions = [entry.revision for entry in entries]
        assert revisions == sorted(set(revisions))
        hashes = [b"", *(entry.row.hash for entry in entries)]
        assert [entry.row.prev_hash for entry in entries] == hashes[:-1]
        assert len({entry.row.context for entry in entries}) == len(entries)
    assert written == steps.total() > 100


async def test_whoever_reads_the_log_as_it_grows_misses_nothing(stores: list[PostgresStore]) -> None:
    """Transactions become visible in another order than they began in; what is final does not."""
    done = asyncio.Event()
    committed: list[int] = []

    async def write(number: int) -> None:
        for step in range(30):
            result = await stores[number % 3].commit(
                created(*(key(f"{number}-{step}-{n}") for n in range(3)))
            )
            committed.extend(result.revisions)

    async def read() -> list[int]:
        seen: list[int] = []
        after = 0
        while True:
            last = done.is_set()
            page = await stores[0].read_log(after, 7, LogMatch())
            seen.extend(entry.revision for entry in page.entries)
            after = page.through
            if last and not page.entries and after >= max(committed):
                return seen

    reading = asyncio.create_task(read())
    await asyncio.gather(*(write(number) for number in range(6)))
    done.set()
    seen = await reading
    assert seen == sorted(committed)
    assert len(seen) == 540


async def test_a_running_transaction_holds_back_what_is_final_and_nothing_else(
    url: str, stores: list[PostgresStore]
) -> None:
    store = stores[0]
    connection = await asyncpg.connect(url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SELECT pg_current_xact_id()")
        before = await store.newest_revision()
        (revision,) = (await store.commit(created(key()))).revisions
        assert await store.newest_revision() == before < revision
        assert (await store.read_log(0, 10, LogMatch())).entries == []
        for match in (LogMatch(keys=frozenset([key()])), LogMatch(machine=("", "order"))):
            assert await store.read_log(0, 10, match) == LogPage([], before)
        page = await store.get_instances([key()])
        assert [stored.row.key for stored in page.instances] == [key()]
        assert (page.revision, page.ahead) == (before, {key(): revision})
        page = await store.list_instances("", "order", "", ("", ""), 10)
        assert (page.revision, page.ahead) == (before, {key(): revision})
        await transaction.rollback()
    finally:
        await connection.close()
    await wait_final(store, revision)
    page = await store.get_instances([key()])
    assert page.revision >= revision
    assert page.ahead == {}
    assert [entry.revision for entry in (await store.read_log(0, 10, LogMatch())).entries] == [revision]


async def test_of_a_batch_only_what_is_outdated_is_left_out(stores: list[PostgresStore]) -> None:
    one, two = stores[:2]
    await one.commit(created(key("a"), key("b")))
    await two.commit(moved(key("a"), 1))
    both = moved(key("a"), 1)
    other = moved(key("b"), 1)
    both.journal += other.journal
    both.updates += other.updates
    both.effects += [effect(key("a"), "of-a"), effect(key("b"), "of-b")]
    both.timers += [timer(key("a")), timer(key("b"))]
    both.requests += [request(key("a")), request(key("b"))]
    result = await one.commit(both)
    assert result.stale == {key("a")}
    assert [bool(revision) for revision in result.revisions] == [False, True]
    loaded = await two.load(
        Wanted([key("a"), key("b")], [(key("a"), "r-1"), (key("b"), "r-1")], [(key("a"), "of-a")])
    )
    assert [loaded.instances[key(name)].row.version for name in "ab"] == [1, 1]
    assert [row.effect_id for row in loaded.instances[key("b")].effects] == ["of-b"]
    assert loaded.effects == {}
    assert list(loaded.requests) == [(key("b"), "r-1")]
    assert [row.key for row in await two.due_timers(10_000, 10)] == [key("b")]


async def test_an_answer_without_a_row_holds_only_on_what_it_was_judged_on(
    stores: list[PostgresStore],
) -> None:
    one, two = stores[:2]
    await one.commit(created(key()))
    await two.commit(moved(key(), 1))
    assert (await one.commit(Writes(requests=[request(key(), seq=1)]))).stale == {key()}
    assert (await one.commit(Writes(requests=[request(key(), seq=2)]))).stale == frozenset()


async def test_an_effect_goes_to_one_node(stores: list[PostgresStore]) -> None:
    writes = created(key())
    writes.effects.extend(effect(key(), f"e-{n:02}") for n in range(60))
    await stores[0].commit(writes)
    found = await asyncio.gather(
        *(
            store.lease_effects(
                ["payments.charge"], limit=7, holder=f"w{number}", now_ms=1_000, until_ms=2_000
            )
            for number, store in enumerate(stores * 4)
        )
    )
    leased = [one.row.effect_id for some in found for one in some]
    assert len(leased) == len(set(leased)) > 40
    rest = await stores[0].lease_effects(
        ["payments.charge"], limit=99, holder="w", now_ms=1_000, until_ms=2_000
    )
    assert sorted([*leased, *(one.row.effect_id for one in rest)]) == [f"e-{n:02}" for n in range(60)]


async def test_a_due_timer_is_taken_on_by_one_node_until_its_claim_ends(stores: list[PostgresStore]) -> None:
    writes = created(key())
    writes.timers.extend(timer(key(), f"t-{n:02}", 5_000, n) for n in range(30))
    await stores[0].commit(writes)
    found = await asyncio.gather(*(store.claim_due_timers(5_000, 2, 9_000) for store in stores * 3))
    claimed = [row.timer_key for some in found for row in some]
    assert len(claimed) == len(set(claimed)) == 18
    assert await stores[0].next_due() == 5_000
    await stores[0].claim_due_timers(5_000, 99, 9_000)
    assert await stores[1].claim_due_timers(8_999, 99, 99_000) == []
    assert await stores[1].next_due() == 9_000
    assert len(await stores[1].claim_due_timers(9_000, 99, 99_000)) == 30


async def test_an_effect_that_is_cancelled_while_it_is_leased_leaves_no_attempt_open(
    stores: list[PostgresStore],
) -> None:
    """The node that cancels does not know that another one has just begun an attempt."""
    one, two = stores[:2]
    writes = created(key())
    writes.effects.append(effect(key()))
    await one.commit(writes)
    await two.lease_effects(["payments.charge"], limit=1, holder="w", now_ms=1_500, until_ms=9_000)
    cancelled = Writes(journal=[journal(key(), 2)], ends=[end(effect(key()), "cancelled", lease_token=None)])
    assert (await one.commit(cancelled)).stale == frozenset()
    details = await two.get_effect_details(key(), "e-1")
    assert details is not None
    assert [(row.outcome, row.ended_at_ms) for row in details.attempts] == [("cancelled", 2_000)]


async def test_two_nodes_that_publish_the_same_machine_store_one_version(stores: list[PostgresStore]) -> None:
    found = await asyncio.gather(
        *(store.insert_machine(machine(content_hash=name)) for store in stores for name in ("a", "b", "a"))
    )
    assert Counter(is_new for _, is_new in found)[True] == 2
    assert {row.version for row, _ in found} == {1, 2}


# --- revisions ---


async def test_a_copy_restored_where_transactions_have_lower_ids_goes_on_after_it(url: str) -> None:
    """What ``pg_dump`` made in an old cluster holds revisions that a new one would reach much later."""
    store = PostgresStore(parse_target(url))
    await store.open()
    await store.commit(created(key("a")))
    await store.close()
    connection = await asyncpg.connect(url)
    far = 1 << 50
    await connection.execute("UPDATE journal SET revision = $1", far)
    await connection.close()
    store = PostgresStore(parse_target(url))
    await store.open()
    assert await store.newest_revision() >= far
    (after,) = (await store.commit(created(key("b")))).revisions
    assert far < after < far + (1_000 << PLACE_BITS)
    await wait_final(store, after)
    page = await store.read_log(0, 10, LogMatch())
    assert [entry.revision for entry in page.entries] == [far, after]
    await store.close()
    # It was raised once.
    store = PostgresStore(parse_target(url))
    await store.open()
    (last,) = (await store.commit(created(key("c")))).revisions
    assert after < last < far + (1_000 << PLACE_BITS)
    await store.close()


async def test_rows_of_a_batch_that_cannot_be_ordered_are_refused(stores: list[PostgresStore]) -> None:
    rows = [journal(key(), 1)] * (MAX_ROWS + 1)
    with pytest.raises(ValueError, match="at most 65535"):
        await stores[0].commit(Writes(journal=rows))


# --- opening ---


async def test_nodes_that_start_at_once_migrate_once(postgres_server: PostgresServer) -> None:
    name = await postgres_server.create_database()
    made = [PostgresStore(parse_target(postgres_server.url(name))) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in made))
    assert len({store.uid for store in made}) == 1
    assert len(made[0].uid) == 32
    await asyncio.gather(*(store.close() for store in made))
    await postgres_server.drop_database(name)


async def test_migrations_make_the_schema_the_code_uses(url: str) -> None:
    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))

    engine = create_async_engine(url.replace("postgresql", "postgresql+asyncpg", 1))
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def _opening(url: str) -> str:
    store = PostgresStore(parse_target(url), PostgresSettings(connect_timeout_s=5))
    with pytest.raises(StoreNotOpened) as refused:
        await store.open()
    assert GUARDED_PASSWORD not in str(refused.value)
    return str(refused.value)


async def test_a_database_that_cannot_be_opened_is_named_with_what_to_do(
    postgres_server: PostgresServer, url: str
) -> None:
    name = url.rpartition("/")[2]
    port = postgres_server.port
    assert await _opening(f"postgresql://x:{GUARDED_PASSWORD}@127.0.0.1:1/d") == (
        "cannot open the database 127.0.0.1:1/d: connection refused; "
        "see that PostgreSQL runs and listens there"
    )
    assert "its host is not known" in await _opening("postgresql://no.such.host.invalid/d")
    assert await _opening(postgres_server.url("none")) == (
        f"cannot open the database 127.0.0.1:{port}/none: it does not exist; make it with: "
        "createdb --encoding UTF8 none"
    )
    await postgres_server.execute(
        f"DO $$ BEGIN CREATE ROLE {GUARDED_USER} LOGIN PASSWORD '{GUARDED_PASSWORD}';"
        " EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    wrong = await _opening(f"postgresql://{GUARDED_USER}:wrong@127.0.0.1:{port}/{name}")
    assert "user or password was refused" in wrong
    assert "PGPASSWORD" in wrong
    empty = await postgres_server.create_database()
    denied = await _opening(f"postgresql://{GUARDED_USER}:{GUARDED_PASSWORD}@127.0.0.1:{port}/{empty}")
    assert "its user may not make tables" in denied
    await postgres_server.drop_database(empty)
    await postgres_server.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    assert "its encoding is LATIN1" in await _opening(postgres_server.url("latin"))
    await postgres_server.drop_database("latin")
    await postgres_server.execute("UPDATE alembic_version SET version_num = '9999'", name)
    store = PostgresStore(parse_target(url))
    with pytest.raises(StoreTooNew, match="schema 9999, which this release does not know"):
        await store.open()


# --- a server that goes away ---


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """One that may be killed."""
    try:
        with postgres() as server:
            yield server
    except NoPostgres as error:
        pytest.skip(str(error))


async def test_a_database_that_was_killed_is_used_again_once_it_is_back(own_server: PostgresServer) -> None:
    store = PostgresStore(parse_target(await own_server.create_store()))
    await store.open()
    await store.commit(created(key()))
    await store.get_instances([key()])
    own_server.kill()
    for use in (
        lambda: store.commit(moved(key(), 1)),
        lambda: store.load(Wanted([key()])),
        lambda: store.get_instances([key()]),
        store.newest_revision,
    ):
        with pytest.raises(StoreFailed, match="database"):
            await use()
    await asyncio.to_thread(own_server.start)
    assert (await store.commit(moved(key(), 1))).stale == frozenset()
    page = await store.get_instances([key()])
    assert page.instances[0].row.version == 1
    await store.close()


async def test_what_a_lost_connection_was_to_commit_is_decided_before_anybody_looks(url: str) -> None:
    """The session waits for a lock, and would commit when everybody had been told that it had not."""
    store = PostgresStore(parse_target(url), PostgresSettings(pool_size=2, doorbell=False))
    await store.open()
    await store.commit(created(key()))
    held = await asyncpg.connect(url)
    waits = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with held.transaction():
        await held.execute("SELECT FROM instances FOR UPDATE")
        committing = asyncio.ensure_future(store.commit(moved(key(), 1)))
        while (pid := await held.fetchval(waits)) is None:
            pass
        pool: Any = store._pool
        (broken,) = [
            holder._con for holder in pool._holders if holder._con and holder._con.get_server_pid() == pid
        ]
        broken.terminate()
        with pytest.raises(StoreFailed):
            await committing
        loaded = await store.load(Wanted([key()]))
        assert loaded.instances[key()].row.version == 0
        assert await held.fetchval(waits) is None
    assert (await store.commit(moved(key(), 1))).stale == frozenset()
    await held.close()
    await store.close()


async def test_sessions_that_an_operator_ends_are_replaced(own_server: PostgresServer) -> None:
    url = await own_server.create_store()
    store = PostgresStore(parse_target(url))
    await store.open()
    await store.commit(created(key()))
    await store.get_instances([key()])
    await own_server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'durachart'"
    )
    version = 0
    while version == 0:
        try:
            version = 0 if (await store.commit(moved(key(), 1))).stale else 1
        except StoreFailed as error:
            assert "shut down" in str(error) or "connection" in str(error)  # noqa: PT017 - either may be first
    assert (await store.get_instances([key()])).instances[0].row.version == 1
    await store.close()
