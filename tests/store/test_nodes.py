"""Which nodes share a database, and which of them has the text of a generation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from durachart.runtime.nodes import Nodes, RelayRow
from durachart.store.keys import InstanceKey, shard
from durachart.store.postgres.store import PostgresStore
from durachart.store.postgres.target import parse_target
from durachart.store.sqlite.store import SqliteStore
from tests.postgres import PostgresServer

KEY = InstanceKey("", "canvas", "c-1")


@pytest.fixture
async def url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    made = await postgres_server.create_store()
    yield made
    await postgres_server.drop_database(made)


async def opened(url: str, stack: AsyncExitStack) -> PostgresStore:
    store = PostgresStore(parse_target(url))
    await store.open()
    stack.push_async_callback(store.close)
    return store


async def give(postgres: PostgresServer, url: str, holder: str, attempt: int) -> None:
    """Let an effect be run by ``holder``."""
    await postgres.execute(
        "DELETE FROM effects; INSERT INTO effects (shard, namespace, machine_id, instance_id, effect_id, uid,"
        " version, ordinal, type, handler, params, cancel_on_exit, machine_version, traceparent,"
        " created_at_ms,"
        " max_attempts, state, attempt, scheduled_at_ms, lease_holder, lease_token, lease_epoch) VALUES"
        f" ({shard(KEY)}, '', 'canvas', 'c-1', 'e-1', 'u', 1, 0, 'generate', 'llm.generate', '{{}}', true, 1,"
        f" '', 0, 3, 'running', {attempt}, 0, '{holder}', '1.x', 1)",
        url.rpartition("/")[2],
    )


async def test_the_node_that_a_lease_names_is_found_while_its_own_lease_lasts(
    postgres_server: PostgresServer, url: str
) -> None:
    async with AsyncExitStack() as stack:
        store, other = [await opened(url, stack) for _ in range(2)]
        assert await store.read_relay_secret() == await other.read_relay_secret() != ""
        first, second = Nodes(store, node_id="n-1"), Nodes(other, node_id="n-2")
        await give(postgres_server, url, first.holder, 1)
        assert await second.find_relay(KEY, "e-1") is None, "it is not registered yet"
        async with first.registered("host:1"):
            async with asyncio.timeout(30):
                while (found := await second.find_relay(KEY, "e-1")) is None:
                    pass  # the database is asked again
            assert found == RelayRow("n-1", "host:1", 1)
            assert await first.find_relay(KEY, "e-1") is None, "its own text is not another node's"
        assert await second.find_relay(KEY, "e-1") is None
        await store.register_node("n-1", "host:1", lease_ms=-1)
        assert await second.find_relay(KEY, "e-1") is None, "its lease has run out"


async def test_text_that_a_worker_brings_belongs_to_one_node_for_each_attempt(
    postgres_server: PostgresServer, url: str
) -> None:
    async with AsyncExitStack() as stack:
        stores = [await opened(url, stack) for _ in range(2)]
        first, second = [Nodes(store, node_id=f"n-{number}") for number, store in enumerate(stores, 1)]
        for number, store in enumerate(stores, 1):
            await store.register_node(f"n-{number}", f"host:{number}", lease_ms=60_000)
        await give(postgres_server, url, "a worker", 1)
        assert await second.find_relay(KEY, "e-1") is None
        claims = await asyncio.gather(*(node.claim_feed(KEY, "e-1", 1) for node in (first, second)))
        assert sorted(claims) == [False, True]
        owner, other = (first, second) if claims[0] else (second, first)
        assert await owner.claim_feed(KEY, "e-1", 1)
        found = await other.find_relay(KEY, "e-1")
        assert found is not None
        assert (found.node_id, found.attempt) == (owner.node_id, 1)
        # The next attempt's may be brought to another one; what comes late of the one before changes nothing.
        await give(postgres_server, url, "a worker", 2)
        assert await owner.find_relay(KEY, "e-1") is None
        assert await other.claim_feed(KEY, "e-1", 2)
        assert not await owner.claim_feed(KEY, "e-1", 1)
        await owner.release_feed(KEY, "e-1", 1)
        found = await owner.find_relay(KEY, "e-1")
        assert found is not None
        assert (found.node_id, found.attempt) == (other.node_id, 2)
        await other.release_feed(KEY, "e-1", 2)
        assert await owner.find_relay(KEY, "e-1") is None


async def test_with_a_file_a_server_is_alone(tmp_path) -> None:  # type: ignore[no-untyped-def]
    store = SqliteStore(tmp_path / "durachart.db")
    await store.open()
    node = Nodes(store)
    async with node.registered("host:1"):
        assert await node.claim_feed(KEY, "e-1", 1)
        assert await node.find_relay(KEY, "e-1") is None
    assert await store.read_relay_secret() == ""
    await store.close()
