"""Commands that come while a transaction is under way are judged on what it will have written."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest

from durachart.runtime.commands import DeleteInstance
from durachart.runtime.errors import DeadlineExceeded, EventNotAllowed, StoreUnavailable, VersionConflict
from durachart.runtime.settings import RuntimeSettings
from tests.store.runtimes import ADA, Service, serving
from tests.store.test_store_failures import QUICK, FailingStore, StoreMaker, failing
from tests.unit.runtime.samples import key


async def judged_during(
    service: Service, store: FailingStore, first: Coroutine[Any, Any, Any], *others: Coroutine[Any, Any, Any]
) -> list[asyncio.Task[Any]]:
    """Begin ``first``, hold its commit up, and have the others judged meanwhile."""
    store.go_on.clear()
    store.committing.clear()
    tasks = [asyncio.create_task(first)]
    await store.committing.wait()
    tasks += [asyncio.create_task(other) for other in others]
    # Each offers its command in its first turn; then they are judged, some of them once they are loaded.
    await asyncio.sleep(0)
    queue = service.runtime._queue
    while queue._waiting or queue.depth < len(others):  # noqa: ASYNC110 - the queue tells nobody
        await asyncio.sleep(0)
    return tasks


async def test_what_comes_during_a_commit_goes_on_from_it_in_the_next(make_store: StoreMaker) -> None:
    async with failing(make_store) as (service, store):
        await service.create()
        before = store.commits
        tasks = await judged_during(service, store, *(service.send("ADD") for _ in range(4)))
        assert not any(task.done() for task in tasks)
        store.go_on.set()
        answers = await asyncio.gather(*tasks)
        assert [answer.state.version for answer in answers] == [1, 2, 3, 4]
        assert store.commits == before + 2
        assert (await service.context())["n"] == 4


async def test_a_refusal_is_judged_on_what_is_under_way_and_answered_after_it(make_store: StoreMaker) -> None:
    async with failing(make_store) as (service, store):
        await service.create()
        tasks = await judged_during(
            service, store, service.send("ADD"), service.send("ADD", expected_version=0), service.send("NOPE")
        )
        assert not any(task.done() for task in tasks)
        store.go_on.set()
        _, conflict, refused = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(conflict, VersionConflict)
        assert conflict.actual_version == 1
        assert isinstance(refused, EventNotAllowed)
        seen = [(entry.seq, entry.outcome) for entry in await service.journal()]
        assert seen == [(1, "accepted"), (2, "accepted"), (3, "refused"), (4, "refused")]


@pytest.mark.parametrize("what", ["before", "after"])
async def test_a_commit_that_fails_takes_what_was_judged_on_it_along(
    make_store: StoreMaker, what: str
) -> None:
    async with failing(make_store) as (service, store):
        await service.create()
        setattr(store, what, 1)
        adding = [service.send("ADD", request_id=f"r{number}") for number in range(4)]
        tasks = await judged_during(service, store, *adding)
        store.go_on.set()
        answers = await asyncio.gather(*tasks)
        assert sorted(answer.state.version for answer in answers) == [1, 2, 3, 4]
        assert not any(answer.replayed for answer in answers)
        assert [entry.to_version for entry in await service.journal()] == [0, 1, 2, 3, 4]


async def test_what_was_judged_on_a_lost_transaction_is_judged_without_it(make_store: StoreMaker) -> None:
    impatient = RuntimeSettings(
        store_patience=timedelta(), store_retry_first=timedelta(), store_retry_longest=timedelta()
    )
    async with failing(make_store, impatient) as (service, store):
        await service.create()
        store.before = 1
        soon = asyncio.get_running_loop().time() + 60
        patient = service.send("ADD", {"by": 2}, caller=ADA._replace(deadline=soon))
        tasks = await judged_during(service, store, service.send("ADD", {"by": 5}), patient)
        store.go_on.set()
        lost, kept = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(lost, StoreUnavailable)
        assert not isinstance(kept, BaseException)
        assert kept.state.version == 1
        assert (await service.context())["n"] == 2


async def test_a_request_repeated_while_its_first_is_under_way_gets_the_same_answer(
    make_store: StoreMaker,
) -> None:
    async with failing(make_store) as (service, store):
        await service.create()
        tasks = await judged_during(
            service, store, service.send("ADD", request_id="r"), service.send("ADD", request_id="r")
        )
        store.go_on.set()
        first, again = await asyncio.gather(*tasks)
        assert (first.state.version, again.state.version) == (1, 1)
        assert (first.replayed, again.replayed) == (False, True)
        assert (await service.context())["n"] == 1


async def test_a_deletion_repeated_while_its_first_is_under_way_gets_the_same_answer(
    make_store: StoreMaker,
) -> None:
    async with failing(make_store) as (service, store):
        await service.create()

        def deleting() -> Coroutine[Any, Any, Any]:
            return service.runtime.delete_instance(DeleteInstance(key(), request_id="r"), ADA)

        tasks = await judged_during(service, store, deleting(), deleting())
        store.go_on.set()
        first, again = await asyncio.gather(*tasks)
        assert (first.replayed, again.replayed) == (False, True)
        assert first.state == again.state


async def test_an_old_request_is_known_when_what_it_asked_for_is_gone(make_store: StoreMaker) -> None:
    async with failing(make_store) as (service, store):
        await service.create()
        await service.send("ADD", request_id="old")
        deleting = service.runtime.delete_instance(DeleteInstance(key()), ADA)
        tasks = await judged_during(service, store, deleting, service.send("ADD", request_id="old"))
        store.go_on.set()
        _, again = await asyncio.gather(*tasks)
        assert (again.state.version, again.replayed) == (1, True)


async def test_nothing_that_is_not_on_disk_is_read(make_store: StoreMaker) -> None:
    async with failing(make_store) as (service, store):
        await service.create()
        tasks = await judged_during(service, store, service.send("ADD"), service.send("ADD"))
        assert (await service.context())["n"] == 0
        store.go_on.set()
        await asyncio.gather(*tasks)
        assert (await service.context())["n"] == 2


async def test_what_was_judged_for_nobody_who_waits_is_not_written(make_store: StoreMaker) -> None:
    async with failing(make_store) as (service, store):
        await service.create()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 0.5
        first, gone, late, last = await judged_during(
            service,
            store,
            service.send("ADD"),
            service.send("ADD", {"by": 10}),
            service.send("ADD", {"by": 100}, caller=ADA._replace(deadline=deadline)),
            service.send("ADD"),
        )
        gone.cancel()
        loop.call_at(deadline + 0.01, store.go_on.set)
        with pytest.raises(DeadlineExceeded):
            await late
        assert [(await task).state.version for task in (first, last)] == [1, 2]
        assert (await service.context())["n"] == 2


async def test_an_instance_that_is_forgotten_while_others_are_loaded_is_still_there(
    make_store: StoreMaker,
) -> None:
    """What was under way is on disk and in memory, and may leave memory before a load has ended."""
    async with failing(make_store) as (service, store):
        await service.create()
        await service.create(key("cold"))
        service.runtime._cache.evict(key("cold"))
        store.go_on.clear()
        first = asyncio.create_task(service.send("ADD"))
        await store.committing.wait()
        store.may_load.clear()
        second = asyncio.create_task(service.send("ADD"))
        cold = asyncio.create_task(service.send("ADD", of=key("cold")))
        await store.loading.wait()
        store.go_on.set()
        await first
        service.runtime._cache.evict(key())
        store.may_load.set()
        assert (await second).state.version == 2
        assert (await cold).state.version == 1


async def test_what_is_loaded_while_a_transaction_is_written_holds_after_it(make_store: StoreMaker) -> None:
    """Loads need not wait for the transaction under way: it changes nothing that is loaded beside it."""
    async with failing(make_store) as (service, store):
        await service.create()
        await service.create(key("cold"))
        await service.send("ADD", of=key("cold"), request_id="r")
        service.runtime._cache.evict(key("cold"))
        adding = [service.send("ADD", of=key("cold"), request_id=name) for name in ("r", "s")]
        tasks = await judged_during(service, store, service.send("ADD"), *adding)
        store.go_on.set()
        _, again, new = await asyncio.gather(*tasks)
        assert (again.state.version, again.replayed) == (1, True)
        assert (new.state.version, new.replayed) == (2, False)
        assert [entry.to_version for entry in await service.journal(key("cold"))] == [0, 1, 2]


@pytest.mark.parametrize(("behind", "transactions"), [(15, [15]), (63, [32, 31]), (255, [128, 127])])
async def test_a_burst_behind_a_transaction_is_written_in_two_of_one_size(
    make_store: StoreMaker, behind: int, transactions: list[int]
) -> None:
    """So that the judge and the disk are busy at once; and what is little is written together."""
    async with failing(make_store) as (service, store):
        await service.create()
        store.go_on.clear()
        store.rows.clear()
        first = asyncio.create_task(service.send("ADD"))
        await store.committing.wait()
        burst = [asyncio.create_task(service.send("ADD")) for _ in range(behind)]
        queue = service.runtime._queue
        # Until all were offered, and some of them are judged.
        while queue.depth < behind or len(queue._waiting) == behind:  # noqa: ASYNC110 - the queue tells nobody
            await asyncio.sleep(0)
        store.go_on.set()
        await asyncio.gather(first, *burst)
        assert store.rows == [1, *transactions]
        assert (await service.context())["n"] == 1 + behind


async def test_what_waits_for_its_definition_is_not_overtaken(make_store: StoreMaker) -> None:
    """Also when the definition comes while a later command of the instance is being loaded."""
    async with failing(make_store) as (service, _):
        await service.create()
    async with serving(lambda: FailingStore(make_store()), QUICK, published=False) as service:  # type: ignore[arg-type, return-value]
        registry = service.runtime._registry
        store: Any = service.store
        load, asked, may_load = registry.load, asyncio.Event(), asyncio.Event()

        async def slow(machine_id: str, version: int) -> Any:
            asked.set()
            await may_load.wait()
            return await load(machine_id, version)

        registry.load = slow  # type: ignore[method-assign]
        first = asyncio.create_task(service.send("ADD"))
        await asked.wait()
        store.may_load.clear()
        store.loading.clear()
        second = asyncio.create_task(service.send("ADD"))
        await store.loading.wait()
        may_load.set()
        while registry.get("job", 1) is None:  # noqa: ASYNC110 - the registry tells nobody
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        store.may_load.set()
        assert [(await task).state.version for task in (first, second)] == [1, 2]
