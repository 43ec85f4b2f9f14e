"""What one node remembers, another may have moved: no answer follows from what is not current."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from durachart.runtime.commands import DeleteInstance, FinishEffect, FireTimer, StopEffect
from durachart.runtime.errors import (
    EventNotAllowed,
    InstanceNotFound,
    LeaseLost,
    Overloaded,
    RequestIdReused,
    VersionConflict,
    WatchCompacted,
)
from durachart.runtime.runtime import Runtime
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.views import WatchSynced
from durachart.store.interface import CommitResult, LogPage, Store, Writes
from tests.store.conftest import StoreMaker
from tests.store.runtimes import ADA, Service
from tests.store.test_watches import Watching, watching
from tests.unit.runtime.samples import SimulatedClock, job_json, key


class SharedStore:
    """The store of one of several nodes, in one process; of one file, whoever opened it first closes it."""

    exclusive = False

    def __init__(self, store: Store, *, first: bool) -> None:
        self._store = store
        self._first = first
        self.commits = 0
        self.before_commit: Any = None
        self.before_read_log: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def open(self) -> None:
        if self._first:
            await self._store.open()

    async def close(self) -> None:
        if self._first:
            await self._store.close()

    async def commit(self, writes: Writes) -> CommitResult:
        self.commits += 1
        if self.before_commit is not None:
            await self.before_commit()
        return await self._store.commit(writes)

    async def read_log(self, *args: Any, **kwargs: Any) -> LogPage:
        if self.before_read_log is not None:
            await self.before_read_log(kwargs.get("known", ()))
        return await self._store.read_log(*args, **kwargs)


@asynccontextmanager
async def _nodes(
    make_store: StoreMaker, settings: RuntimeSettings | None = None
) -> AsyncIterator[tuple[Service, Service]]:
    store = make_store()
    clock = SimulatedClock()
    other = SharedStore(store, first=False) if store.exclusive else SharedStore(make_store(), first=True)
    stores: list[Any] = [SharedStore(store, first=True), other]
    a, b = (Runtime(each, settings, clock=clock) for each in stores)
    async with a.running(), b.running():
        await a.publish(job_json(), ADA)
        yield Service(a, stores[0], clock), Service(b, stores[1], clock)


@pytest.fixture
async def nodes(make_store: StoreMaker) -> AsyncIterator[tuple[Service, Service]]:
    async with _nodes(make_store) as both:
        yield both


async def test_any_node_takes_any_event(nodes: tuple[Service, Service]) -> None:
    """Nobody who expected no version hears of the other node."""
    a, b = nodes
    await a.create()
    for number in range(6):
        assert (await nodes[number % 2].send("ADD")).state.version == number + 1
    assert await a.context() == await b.context() == {"n": 6, "who": None}
    answers = await asyncio.gather(*(nodes[number % 2].send("ADD") for number in range(40)))
    assert sorted(answer.state.version for answer in answers) == list(range(7, 47))
    with pytest.raises(VersionConflict) as conflict:
        await b.send("ADD", expected_version=6)
    assert conflict.value.actual_version == 46


async def test_a_refusal_is_judged_on_the_current_version(nodes: tuple[Service, Service]) -> None:
    a, b = nodes
    await a.create()
    await b.send("NOTE", {"who": "b"})
    await a.send("GO")
    assert (await b.send("LEAVE")).state.version == 3
    with pytest.raises(EventNotAllowed) as refused:
        await a.send("LEAVE")
    assert refused.value.version == 3


async def test_an_instance_that_another_node_deleted_is_gone_everywhere(
    nodes: tuple[Service, Service],
) -> None:
    a, b = nodes
    first = await a.create()
    await b.send("GO")
    await a.runtime.delete_instance(DeleteInstance(key()), ADA)
    with pytest.raises(InstanceNotFound):
        await b.send("LEAVE")
    second = await a.create()
    assert (await b.send("ADD")).state.uid == second.state.uid != first.state.uid


async def test_what_commits_nothing_is_not_answered_from_memory(nodes: tuple[Service, Service]) -> None:
    a, b = nodes
    await a.create()
    went = await a.send("GO", request_id="r")
    # The other node gets to know it before the effect is leased.
    await b.runtime.stop_effect(StopEffect(key(), effect_id="none"), ADA)
    (leased,) = await a.runtime.lease_effects(
        ["payments.charge"], limit=1, holder="w", lease=timedelta(seconds=30)
    )
    with pytest.raises(LeaseLost):
        await b.runtime.finish_effect(
            FinishEffect(key(), leased.effect_id, "1.wrong", "completed", "{}"), ADA
        )
    stopped = await b.runtime.stop_effect(StopEffect(key(), request_id="s"), ADA)
    assert (stopped.stopped, stopped.effect_id) == (True, leased.effect_id)
    # Now the first node has it running in memory.
    again = await a.runtime.stop_effect(StopEffect(key()), ADA)
    assert (again.stopped, again.state.version) == (False, 2)
    with pytest.raises(RequestIdReused):
        await b.send("ADD", request_id="r")
    assert await b.send("GO", request_id="r") == went._replace(replayed=True)


async def test_a_stop_that_finds_nothing_in_memory_looks_at_the_database(
    nodes: tuple[Service, Service],
) -> None:
    a, b = nodes
    await a.create()
    await b.send("ADD")
    await a.send("GO")
    # To the second node nothing runs, as far as it remembers; its answer would be recorded.
    stopped = await b.runtime.stop_effect(StopEffect(key(), request_id="s"), ADA)
    assert stopped.stopped
    assert (await b.runtime.stop_effect(StopEffect(key(), request_id="s"), ADA)) == stopped


async def test_a_timer_that_another_node_armed_fires(nodes: tuple[Service, Service]) -> None:
    a, b = nodes
    await a.create()
    await b.send("ADD")
    await a.send("GO")
    a.clock.now += 60_000
    (due,) = await b.runtime.timers.due(10)
    fire = FireTimer(due.key, due.uid, due.timer_key, due.sequence)
    assert await b.runtime.timers.fire(fire)
    assert not await a.runtime.timers.fire(fire)
    assert (await a.runtime.instances.get(key())).value_json == '"late"'


async def test_who_never_comes_first_is_told_to_come_back(nodes: tuple[Service, Service]) -> None:
    a, b = nodes
    await a.create()

    async def faster() -> None:
        await b.send("ADD")

    store: Any = a.store
    store.before_commit = faster
    with pytest.raises(Overloaded):
        await a.send("ADD")
    store.before_commit = None
    assert (await a.send("ADD")).changed


async def test_what_one_node_knows_is_asked_of_the_database_once(nodes: tuple[Service, Service]) -> None:
    """A lost race costs one more round, not more."""
    a, b = nodes
    await a.create()
    await b.send("ADD")
    await a.send("ADD")
    store: Any = b.store
    store.commits = 0
    await b.send("ADD")
    assert store.commits == 2
    await b.send("ADD")
    assert store.commits == 3


@pytest.mark.parametrize("sender", [0, 1])
async def test_a_node_that_retention_overtook_says_so_to_who_watches_there(
    make_store: StoreMaker, sender: int
) -> None:
    """Whoever made the changes: they are gone before the node has read the log that far."""
    settings = RuntimeSettings(snapshot_every=2, whole_context_bytes=0)
    async with _nodes(make_store, settings) as nodes:
        watched = nodes[0]
        await watched.create()
        async with watching(watched, instances=(key(),)) as batches:
            watch = Watching(batches)
            await watch.until(WatchSynced)
            reads, held = asyncio.Event(), asyncio.Event()

            async def hold(known: Sequence[int]) -> None:
                reads.set()
                await held.wait()

            watched.store.before_read_log = hold  # type: ignore[attr-defined]
            await asyncio.wait_for(reads.wait(), 30)
            for _ in range(20):
                await nodes[sender].send("ADD")
            watched.clock.now += 10_000_000
            assert await nodes[1].runtime.expire("journal", timedelta(seconds=1), 100)
            held.set()
            with pytest.raises(WatchCompacted) as refused:
                await asyncio.wait_for(watch.transitions(20), 30)
        async with watching(
            watched, instances=(key(),), resume_token=refused.value.oldest_resume_token
        ) as batches:
            frames = await Watching(batches).until(WatchSynced)
    assert frames[-2].state.version == 20  # type: ignore[union-attr]


async def test_changes_that_are_dropped_while_the_log_is_read_are_not_missed(
    make_store: StoreMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """A node keeps only so many of its own changes until the log is final."""
    async with _nodes(make_store) as (node, _):
        node.runtime._tail._max_kept = 4
        await node.create()
        async with watching(node, instances=(key(),)) as batches:
            watch = Watching(batches)
            await watch.until(WatchSynced)
            reads, held = asyncio.Event(), asyncio.Event()

            async def hold(known: Sequence[int]) -> None:
                if known:
                    reads.set()
                    await held.wait()

            node.store.before_read_log = hold  # type: ignore[attr-defined]
            sent = 0
            while not reads.is_set():
                sent = (await node.send("ADD")).state.version
            for _ in range(19):
                sent = (await node.send("ADD")).state.version
            held.set()
            found = await asyncio.wait_for(watch.transitions(sent), 30)
        assert [frame.state.version for frame in found] == list(range(1, sent + 1))
    assert "log not read" not in caplog.text
