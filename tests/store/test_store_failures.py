"""A database that fails: what was asked is done once or not at all, and who can wait hears nothing of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from durachart.runtime.commands import Caller, DeleteInstance
from durachart.runtime.errors import EventNotAllowed, StoreUnavailable
from durachart.runtime.queue.doubt import Patience
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.views import WatchSynced
from durachart.store.errors import StoreFailed
from durachart.store.interface import CommitResult, Loaded, Store, Wanted, Writes
from durachart.store.keys import InstanceKey
from tests.store.runtimes import ADA, Service, serving
from tests.store.test_watches import Watching, watching
from tests.unit.runtime.samples import key

StoreMaker = Callable[[], Store]
QUICK = RuntimeSettings(store_retry_first=timedelta(), store_retry_longest=timedelta())


class FailingStore:
    """Fails as often as it is told: before or after what it was asked has been done.

    Attributes:
        commits: How many were begun.
        rows: How many rows of the journal each of them had.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.loads = 0
        self.before = 0
        self.after = 0
        self.looks = 0
        self.commits = 0
        self.rows: list[int] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.committing = asyncio.Event()
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.loading = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def load(self, wanted: Wanted) -> Loaded:
        if self.loads:
            self.loads -= 1
            raise StoreFailed("it did not load")
        loaded = await self._store.load(wanted)
        if not self.may_load.is_set():
            self.loading.set()
            await self.may_load.wait()
        return loaded

    async def commit(self, writes: Writes) -> CommitResult:
        self.commits += 1
        self.rows.append(len(writes.journal))
        if not self.go_on.is_set():
            self.committing.set()
            await self.go_on.wait()
        if self.before:
            self.before -= 1
            raise StoreFailed("it did not begin")
        done = await self._store.commit(writes)
        if self.after:
            self.after -= 1
            raise StoreFailed("it did not say")
        return done

    async def list_journal(self, of: InstanceKey, **given: Any) -> Any:
        if self.looks:
            self.looks -= 1
            raise StoreFailed("it did not read")
        return await self._store.list_journal(of, **given)


@asynccontextmanager
async def failing(
    make_store: StoreMaker, settings: RuntimeSettings = QUICK
) -> AsyncIterator[tuple[Service, FailingStore]]:
    async with serving(lambda: FailingStore(make_store()), settings) as service:  # type: ignore[arg-type, return-value]
        store: Any = service.store
        yield service, store


async def _n(service: Service, of: InstanceKey | None = None) -> int:
    number: int = (await service.context(of))["n"]
    return number


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("what", ["loads", "before", "after"])
async def test_a_failure_in_passing_is_not_noticed(make_store: StoreMaker, what: str, times: int) -> None:
    """B8: a failed load or commit is tried again, and what was asked is done once."""
    async with failing(make_store) as (service, store):
        await service.create()
        await service.create(key("other"))
        for number in range(3):
            setattr(store, what, times)
            service.runtime._cache.evict(key())
            accepted, refused, other = await asyncio.gather(
                service.send("ADD"),
                service.send("NOPE", request_id=f"r{number}"),
                service.send("ADD", {"by": 2}, of=key("other")),
                return_exceptions=True,
            )
            assert not isinstance(accepted, BaseException)
            assert accepted.state.version == number + 1
            assert isinstance(refused, EventNotAllowed)
            assert not refused.replayed
            assert not isinstance(other, BaseException)
            assert other.state.version == number + 1
            setattr(store, what, 0)
        assert (await _n(service), await _n(service, key("other"))) == (3, 6)
        causes = [(entry.cause, entry.outcome) for entry in await service.journal()]
        assert causes == [("create", "accepted"), *[("event", "accepted"), ("event", "refused")] * 3]


async def test_what_is_on_disk_is_answered_as_it_was_judged(make_store: StoreMaker) -> None:
    """B8: nobody is told that an answer was replayed, and watchers hear of it once."""
    async with failing(make_store) as (service, store):
        await service.create()
        async with watching(service, instances=(key(),)) as batches:
            watch = Watching(batches)
            await watch.until(WatchSynced)
            ends: list[str] = []
            service.runtime.on_effect_end(lambda _key, _effect, state: ends.append(state))
            store.after, store.looks = 1, 2
            went = await service.send("GO", request_id="r")
            store.after = 1
            left = await service.send("LEAVE")
            assert ends == ["cancelled"]
            assert (went.replayed, went.state.version, left.state.version) == (False, 1, 2)
            assert [frame.state for frame in await watch.transitions(2)] == [went.state, left.state]
        assert await service.send("GO", request_id="r") == went._replace(replayed=True)


async def test_a_creation_and_a_deletion_are_found_on_disk_as_well(make_store: StoreMaker) -> None:
    async with failing(make_store) as (service, store):
        store.after = 1
        created = await service.create(input_json='{"who":"ada"}')
        store.after = 1
        deleted = await service.runtime.delete_instance(DeleteInstance(key(), purge=True), ADA)
        assert (created.replayed, deleted.replayed) == (False, False)
        assert deleted.state.uid == created.state.uid
        store.after = 1
        again = await asyncio.gather(
            service.create(), service.send("ADD"), service.runtime.delete_instance(DeleteInstance(key()), ADA)
        )
        assert [each.state.version for each in again] == [0, 1, 1]
        assert [entry.seq for entry in await service.journal()] == [2, 3, 4, 5]


async def test_a_commit_that_is_seen_late_is_not_done_twice(make_store: StoreMaker) -> None:
    """Across a network a failed commit may land after one has looked: what is judged again meets it."""

    class Late(FailingStore):
        """Its commits land when the next one begins."""

        held: Writes | None = None

        async def commit(self, writes: Writes) -> CommitResult:
            if self.before:
                self.before -= 1
                self.held = writes
                raise StoreFailed("it did not say")
            if self.held is not None:
                held, self.held = self.held, None
                await self._store.commit(held)
            return await self._store.commit(writes)

    async with serving(lambda: Late(make_store()), QUICK) as service:  # type: ignore[arg-type, return-value]
        store: Any = service.store
        await service.create()
        store.before = 1
        assert (await service.send("ADD")).state.version == 1
        assert await _n(service) == 1
        assert len(await service.journal()) == 2


async def test_callers_are_told_when_their_time_is_up(make_store: StoreMaker) -> None:
    """B8: UNAVAILABLE, with nothing half-written; those who wait longer are served."""
    async with failing(make_store) as (service, store):
        await service.create()
        store.before = 1_000_000
        loop = asyncio.get_running_loop()
        soon = Caller("ada", deadline=loop.time() + 0.05)
        later = asyncio.create_task(service.send("ADD", {"by": 2}))
        with pytest.raises(StoreUnavailable, match="did not begin"):
            await service.send("ADD", caller=soon)
        store.before = 0
        assert (await later).state.version == 1
        assert await _n(service) == 2


async def test_commands_without_deadline_wait_for_a_while(make_store: StoreMaker) -> None:
    async with failing(make_store, RuntimeSettings(store_patience=timedelta())) as (service, store):
        await service.create()
        store.before = 1
        with pytest.raises(StoreUnavailable):
            await service.send("ADD")
        store.loads = 1
        with pytest.raises(StoreUnavailable):
            await service.send("ADD")
        assert (await service.send("ADD")).state.version == 1
        assert json.loads((await service.runtime.instances.get(key())).context_json)["n"] == 1


async def test_a_server_that_is_shut_down_does_not_wait_for_the_database(make_store: StoreMaker) -> None:
    slow = RuntimeSettings(store_retry_first=timedelta(hours=1), store_retry_longest=timedelta(hours=1))
    async with failing(make_store, slow) as (service, store):
        await service.create()
        store.go_on.clear()
        sending = asyncio.create_task(service.send("ADD"))
        await store.committing.wait()
        service.runtime.drain()
        store.before = 1
        store.go_on.set()
        with pytest.raises(StoreUnavailable):
            await sending


def test_waits_grow_up_to_a_bound_and_are_drawn_from_all_of_it() -> None:
    """B8: exponential backoff with full jitter."""
    patience = Patience(RuntimeSettings(), 0.0, chance=lambda: 1.0)
    waits = [patience.next_wait() for _ in range(8)]
    assert waits == [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0]
    assert Patience(RuntimeSettings(), 0.0, chance=lambda: 0.5).next_wait() == 0.01


async def test_the_answer_to_a_repeated_request_reads_the_journal_alone(make_store: StoreMaker) -> None:
    """What the instance has from its creation on is known from judging."""
    async with failing(make_store) as (service, store):
        await service.create(labels={"a": "b"})
        first = await service.send("ADD", request_id="r")
        await service.send("ADD")
        reads: list[str] = []

        def reading(name: str) -> None:
            read = getattr(store, name)

            async def noted(*given: Any, **more: Any) -> Any:
                reads.append(name)
                return await read(*given, **more)

            setattr(store, name, noted)

        for name in ("list_journal", "read_results", "get_instance", "get_instances"):
            reading(name)
        assert await service.send("ADD", request_id="r") == first._replace(replayed=True)
        assert reads == ["list_journal"]
