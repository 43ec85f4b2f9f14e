"""Several nodes on one PostgreSQL: what one does reaches whoever waits for it on the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from durachart.runtime.commands import DeleteInstance, StopEffect
from durachart.runtime.errors import ResumeTokenInvalid
from durachart.runtime.opaque import ResumePoint, ResumeTokens
from durachart.runtime.runtime import Runtime
from durachart.runtime.views import (
    WatchDeleted,
    WatchFilter,
    WatchSnapshot,
    WatchSynced,
    WatchTransition,
)
from durachart.runtime.watch import snapshots
from durachart.store.keys import InstanceKey
from durachart.store.postgres.store import PostgresSettings, PostgresStore
from durachart.store.postgres.target import parse_target
from tests.postgres import PostgresServer
from tests.store.runtimes import ADA, Service
from tests.store.test_watches import Watching, watching
from tests.unit.runtime.samples import SimulatedClock, job_json, key

JOBS = WatchFilter("", "job")


@asynccontextmanager
async def _nodes(url: str, count: int, *, doorbell: bool = True) -> AsyncIterator[list[Service]]:
    async with AsyncExitStack() as stack:
        clock = SimulatedClock()
        nodes = []
        for _ in range(count):
            store = PostgresStore(parse_target(url), PostgresSettings(pool_size=4, doorbell=doorbell))
            runtime = await stack.enter_async_context(Runtime(store, clock=clock).running())
            nodes.append(Service(runtime, store, clock))
        await nodes[0].runtime.publish(job_json(), ADA)
        yield nodes


@pytest.fixture
async def url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """A database with tables and without rows."""
    made = await postgres_server.create_store()
    yield made
    await postgres_server.drop_database(made)


@pytest.fixture(params=["doorbell", "no doorbell"])
async def nodes(request: pytest.FixtureRequest, url: str) -> AsyncIterator[list[Service]]:
    """Two nodes; where no doorbell rings, they find by themselves what the other did."""
    async with _nodes(url, 2, doorbell=request.param == "doorbell") as both:
        yield both


def _versions(frames: list[Any], of: InstanceKey) -> list[int]:
    return [
        frame.state.version
        for frame in frames
        if isinstance(frame, WatchTransition | WatchSnapshot) and frame.state.key == of
    ]


async def _until_versions(watch: Watching, wanted: dict[InstanceKey, int]) -> list[Any]:
    """Frames until every instance has been shown at its version."""
    frames: list[Any] = []
    missing = dict(wanted)
    while missing:
        frame = await watch.next()
        frames.append(frame)
        if isinstance(frame, WatchTransition | WatchSnapshot):
            of = frame.state.key
            if of in missing and frame.state.version >= missing[of]:
                del missing[of]
    return frames


async def test_watchers_on_every_node_see_what_all_nodes_do(nodes: list[Service]) -> None:
    """F8: whoever takes an event, every watcher gets it once, in order, without a gap."""
    keys = [key(f"j-{n}") for n in range(4)]
    async with AsyncExitStack() as stack:
        watches = []
        for node in nodes:
            batches = await stack.enter_async_context(watching(node, filter=JOBS))
            watch = Watching(batches)
            await watch.until(WatchSynced)
            watches.append(watch)
        for number, of in enumerate(keys):
            await nodes[number % 2].create(of)
        await asyncio.gather(*(nodes[n % 2].send("ADD", of=keys[n // 2 % 4]) for n in range(80)))
        for watch in watches:
            frames = await _until_versions(watch, dict.fromkeys(keys, 20))
            for of in keys:
                assert _versions(frames, of) == list(range(21))
            revisions = [frame.entry.revision for frame in frames if isinstance(frame, WatchTransition)]
            assert revisions == sorted(revisions)


async def test_a_doorbell_that_breaks_costs_no_event(url: str) -> None:
    async with _nodes(url, 2) as (a, b):
        await a.create()
        async with watching(b, instances=(key(),)) as batches:
            watch = Watching(batches)
            await watch.until(WatchSynced)
            store: Any = b.store
            for version in range(1, 31):
                if version % 10 == 5:
                    store.bell.break_off()
                await a.send("ADD")
            frames = await _until_versions(watch, {key(): 30})
            assert _versions(frames, key()) == list(range(1, 31))


async def test_a_snapshot_taken_amid_transactions_fits_what_follows(url: str) -> None:
    """A cut shows rows beyond where the log is final; nothing of it is told of again, nor anything missed."""
    async with _nodes(url, 2) as (a, b):
        await a.create(key("moved"))
        await a.create(key("gone"))
        held = await asyncpg.connect(url)
        transaction = held.transaction()
        await transaction.start()
        await held.execute("SELECT pg_current_xact_id()")
        for _ in range(3):
            await a.send("ADD", of=key("moved"))
        await a.runtime.delete_instance(DeleteInstance(key("gone")), ADA)
        async with watching(b, filter=JOBS) as every, watching(b, instances=(key("moved"),)) as one:
            watches = [Watching(every), Watching(one)]
            for watch in watches:
                frames = await watch.until(WatchSynced)
                assert _versions(frames, key("moved")) == [3]
                assert _versions(frames, key("gone")) == []
            await b.send("ADD", of=key("moved"))
            await transaction.rollback()
            await held.close()
            await a.send("ADD", of=key("moved"))
            for watch in watches:
                frames = await _until_versions(watch, {key("moved"): 5})
                assert _versions(frames, key("moved")) == [4, 5]
                assert not any(isinstance(frame, WatchDeleted) for frame in frames)


async def test_what_is_ahead_of_a_page_is_told_if_the_page_does_not_show_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instances of pages before this one, which have moved since, or were created."""
    monkeypatch.setattr(snapshots, "_PER_PAGE", 1)
    async with _nodes(url, 2) as (a, b), watching(b, filter=JOBS) as batches:
        await a.create(key("a"))
        await a.create(key("m"))
        await a.create(key("z"))
        watch = Watching(batches)
        assert _versions([await watch.next()], key("a")) == [0]
        shown = await watch.next()
        assert _versions([shown], key("m")) == [0]
        held = await asyncpg.connect(url)
        transaction = held.transaction()
        await transaction.start()
        await held.execute("SELECT pg_current_xact_id()")
        await a.send("ADD", of=key("a"))
        await a.create(key("b"))
        await a.send("ADD", of=key("b"))
        async with watching(a, filter=JOBS, resume_token=shown.resume_token) as resumed:
            watches = [watch, Watching(resumed)]
            for each in watches:
                frames = await each.until(WatchSynced)
                assert _versions(frames, key("z")) == [0]
                assert _versions(frames, key("b")) == []
            await transaction.rollback()
            await held.close()
            await a.send("ADD", of=key("a"))
            await a.send("ADD", of=key("b"))
            for each in watches:
                frames = await _until_versions(each, {key("a"): 2, key("b"): 2})
                assert _versions(frames, key("a")) == [1, 2]
                assert _versions(frames, key("b")) == [0, 1, 2]


async def test_a_watch_goes_on_at_another_node(nodes: list[Service]) -> None:
    a, b = nodes
    await a.create()
    async with watching(a, instances=(key(),)) as batches:
        watch = Watching(batches)
        await watch.until(WatchSynced)
        for _ in range(5):
            await a.send("ADD")
        third = (await watch.transitions(3))[-1]
    async with watching(b, instances=(key(),), resume_token=third.resume_token) as batches:
        assert _versions(await _until_versions(Watching(batches), {key(): 5}), key()) == [4, 5]
    ahead = ResumeTokens(b.store.uid).make(ResumePoint(1 << 60))
    with pytest.raises(ResumeTokenInvalid):
        async with watching(b, instances=(key(),), resume_token=ahead) as batches:
            await anext(batches)


async def test_a_watch_that_ends_with_its_instance_tells_of_its_end(url: str) -> None:
    """The end is stored before the log is final up to it; the watch waits for it."""
    async with _nodes(url, 2) as (a, b):
        await a.create()
        await a.send("GO")
        async with watching(b, instances=(key(),), end_on_final=True) as batches:
            token = (await Watching(batches).until(WatchSynced))[-1].resume_token
        held = await asyncpg.connect(url)
        transaction = held.transaction()
        await transaction.start()
        await held.execute("SELECT pg_current_xact_id()")
        await a.send("PAID", {"output": {"receipt": "abc"}})
        spec: dict[str, Any] = {"instances": (key(),), "end_on_final": True, "resume_token": token}
        async with watching(b, **spec) as batches:
            watch = Watching(batches)
            await watch.until(WatchSynced)
            await transaction.rollback()
            await held.close()
            (paid,) = await watch.transitions(1)
            assert paid.state.status == "done"
            with pytest.raises(StopAsyncIteration):
                await watch.next()


async def test_a_row_that_a_node_cannot_read_holds_up_nobody_else(url: str) -> None:
    async with _nodes(url, 2) as (a, b):
        await a.create(key("bad"))
        await a.create(key("good"))
        async with watching(b, instances=(key("good"),)) as batches:
            watch = Watching(batches)
            await watch.until(WatchSynced)
            held = await asyncpg.connect(url)
            # The log is not final, so not read, before the row is what it will be.
            async with held.transaction():
                await held.execute("SELECT pg_current_xact_id()")
                await a.send("ADD", of=key("bad"))
                await held.execute("UPDATE journal SET internals = '[' WHERE instance_id = 'bad'")
            await held.close()
            await a.send("ADD", of=key("good"))
            assert _versions(await _until_versions(watch, {key("good"): 1}), key("good")) == [1]


async def test_an_effect_is_stopped_from_any_node(nodes: list[Service]) -> None:
    """The worker that runs it hears of it, wherever it was stopped."""
    a, b = nodes
    await a.create()
    await a.send("GO")
    (leased,) = await a.runtime.lease_effects(
        ["payments.charge"], limit=1, holder="w", lease=timedelta(seconds=30)
    )
    told: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
    a.runtime.on_effect_end(lambda _, effect_id, state: told.set_result((effect_id, state)))
    assert (await b.runtime.stop_effect(StopEffect(key()), ADA)).stopped
    assert await told == (leased.effect_id, "cancelled")


async def test_effects_and_timers_of_one_node_wake_the_other(nodes: list[Service]) -> None:
    a, b = nodes
    await a.create()
    while await b.runtime.wait_effects(0) or await b.runtime.timers.wait(0):
        pass  # whatever rang before
    effects = asyncio.create_task(b.runtime.wait_effects())
    timers = asyncio.create_task(b.runtime.timers.wait())
    await a.send("GO")
    assert await effects
    assert await timers
    assert await b.runtime.timers.next_due_at() is not None
    assert len(await b.runtime.timers.due(10)) == 0


async def test_a_machine_published_on_one_node_is_the_latest_on_the_other(nodes: list[Service]) -> None:
    a, b = nodes
    assert (await b.create(key("before"))).state.machine_version == 1
    document = job_json().replace("Work that is charged for.", "Work that is paid for.")
    await a.runtime.publish(document, ADA)
    for number in range(10_000):
        if (await b.create(key(f"after-{number}"))).state.machine_version == 2:
            break
    else:
        pytest.fail("the other node never heard of it")


async def test_nobody_reads_the_log_while_nobody_watches(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with _nodes(url, 2) as (a, b):
        reads = 0
        store: Any = b.store
        read_log = store.read_log

        async def counted(*arguments: Any, **more: Any) -> Any:
            nonlocal reads
            reads += 1
            return await read_log(*arguments, **more)

        monkeypatch.setattr(store, "read_log", counted)
        await a.create()
        await b.send("ADD")
        assert reads == 0
        async with watching(b, instances=(key(),)) as batches:
            await Watching(batches).until(WatchSynced)
        reads = 0
        for _ in range(5):
            await a.send("ADD")
            await b.send("ADD")
        assert reads <= 1  # one may have been under way
