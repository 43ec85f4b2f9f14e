"""Deleting instances: all that runs for them ends in the same transaction, and all concerned hear of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from durachart.runtime.commands import Caller, DeleteInstance, FinishEffect, StopEffect
from durachart.runtime.errors import (
    InstanceNotFound,
    LeaseLost,
    RequestIdReused,
    VersionConflict,
)
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.views import View, WatchDeleted, WatchFilter, WatchSynced, WatchTransition
from durachart.store.chain import first_broken
from durachart.store.interface import Store
from tests.store.runtimes import ADA, Service, serving
from tests.store.test_watches import Watching, watching
from tests.unit.runtime.samples import key

StoreMaker = Callable[[], Store]


async def _delete(service: Service, **given: Any) -> Any:
    return await service.runtime.delete_instance(DeleteInstance(key(), **given), ADA)


async def test_a_deleted_instance_is_gone_and_its_journal_says_so(service: Service) -> None:
    """A8: the deletion is a row like any other."""
    await service.create(labels={"team": "red"})
    sent = await service.send("GO", view=View.BASIC)
    deleted = await _delete(service, expected_version=1, request_id="d")
    assert deleted.state == sent.state
    assert not deleted.replayed
    with pytest.raises(InstanceNotFound):
        await service.runtime.instances.get(key())
    with pytest.raises(InstanceNotFound):
        await service.send("ADD")
    with pytest.raises(InstanceNotFound):
        await _delete(service)
    assert (await service.runtime.instances.list("")).items == ()
    last = (await service.journal())[-1]
    assert (last.seq, last.cause, last.outcome, last.actor, last.request_id) == (
        3,
        "delete",
        "accepted",
        "ada",
        "d",
    )
    assert (last.from_version, last.to_version, last.from_value_json, last.to_value_json) == (
        1,
        2,
        '"working"',
        "",
    )
    assert (last.expected_version, last.uid) == (1, sent.state.uid)


async def test_timers_and_effects_end_with_their_instance(service: Service) -> None:
    await service.create()
    await service.send("GO")
    leased = (await _lease(service))[0]
    ends: list[tuple[str, str]] = []
    service.runtime.on_effect_end(lambda _key, effect_id, state: ends.append((effect_id, state)))
    await _delete(service)
    assert ends == [(leased.effect_id, "cancelled")]
    assert await service.store.next_due() is None
    assert await _lease(service) == []
    record = await service.runtime.get_effect(key(), leased.effect_id)
    assert record is not None
    assert (record.state, record.error_reason) == ("cancelled", "DELETED")
    with pytest.raises(LeaseLost):
        await service.runtime.finish_effect(_completed(leased), Caller("w"))


async def test_a_late_end_of_an_effect_does_not_reach_the_next_incarnation(service: Service) -> None:
    await service.create()
    await service.send("GO")
    leased = (await _lease(service))[0]
    await _delete(service)
    await service.create()
    with pytest.raises(LeaseLost):
        await service.runtime.finish_effect(_completed(leased), Caller("w"))
    assert len(await service.journal()) == 4


async def test_an_instance_of_the_same_name_is_another_one_in_the_same_journal(service: Service) -> None:
    first = await service.create()
    await service.send("ADD")
    await _delete(service)
    second = await service.create(labels={"team": "blue"})
    assert second.state.uid != first.state.uid
    assert second.state.version == 0
    assert (await service.send("ADD", {"by": 5})).state.version == 1
    rows = [entry.row for entry in await service.store.list_journal(key(), from_seq=1, limit=10)]
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5]
    assert first_broken(rows) is None


async def test_a_deletion_sent_again_gets_the_same_answer(make_store: StoreMaker) -> None:
    async with serving(make_store) as service:
        await service.create(labels={"team": "red"})
        await service.send("GO")
        deleted = await _delete(service, request_id="d", purge=True)
        again = await _delete(service, request_id="d", purge=True)
        assert again == deleted._replace(replayed=True)
        with pytest.raises(RequestIdReused):
            await _delete(service, request_id="d")
        await service.create()
    async with serving(make_store) as service:
        assert await _delete(service, request_id="d", purge=True) == again
        assert (await service.runtime.instances.get(key())).version == 0


async def test_a_deletion_expects_a_version(service: Service) -> None:
    """A6: a conflict shows expected and found."""
    await service.create()
    for replayed in (False, True):
        with pytest.raises(VersionConflict) as conflict:
            await _delete(service, expected_version=4, request_id="d")
        assert (conflict.value.expected_version, conflict.value.actual_version) == (4, 0)
        assert conflict.value.replayed is replayed
    assert (await service.journal())[-1].reason == "VERSION_CONFLICT"


async def test_answers_to_a_deleted_instance_are_kept(service: Service) -> None:
    await service.create(labels={"team": "red"}, request_id="c")
    service.clock.now += 1_000
    sent = await service.send("GO", request_id="s")
    await _delete(service)
    assert await service.send("GO", request_id="s") == sent._replace(replayed=True)
    await service.create()
    assert await service.send("GO", request_id="s") == sent._replace(replayed=True)


async def test_purging_leaves_the_deletion_alone(service: Service) -> None:
    await service.create(request_id="c")
    await service.send("GO", request_id="s")
    leased = (await _lease(service))[0]
    await service.runtime.stop_effect(StopEffect(key(), request_id="x"), ADA)
    await _delete(service, purge=True, request_id="d")
    (row,) = await service.journal()
    assert (row.seq, row.cause) == (4, "delete")
    assert await service.runtime.get_effect(key(), leased.effect_id) is None
    # Its request ids may be used anew, but for that of the deletion.
    assert (await service.create(request_id="c")).replayed is False
    await service.send("GO", request_id="s")
    assert [entry.seq for entry in await service.journal()] == [4, 5, 6]
    with pytest.raises(RequestIdReused):
        await service.send("ADD", request_id="d")
    assert len(await _lease(service)) == 1


async def test_purging_takes_earlier_incarnations_along(service: Service) -> None:
    await service.create()
    await service.send("GO")
    leased = (await _lease(service))[0]
    await _delete(service)
    await service.create()
    await _delete(service, purge=True)
    assert [entry.cause for entry in await service.journal()] == ["delete"]
    assert await service.runtime.get_effect(key(), leased.effect_id) is None


async def test_an_instance_lives_several_times_in_one_transaction(service: Service) -> None:
    """D7: what is asked together is judged one after the other."""
    await service.create()
    await service.send("GO")
    deleted, created, sent, deleted_again, last = await asyncio.gather(
        _delete(service),
        service.create(labels={"n": "2"}),
        service.send("GO"),
        _delete(service, purge=True),
        service.create(labels={"n": "3"}),
    )
    assert [each.state.version for each in (deleted, created, sent)] == [1, 0, 1]
    assert deleted_again.state.uid == sent.state.uid != deleted.state.uid
    assert dict(last.state.labels) == {"n": "3"}
    assert await service.runtime.instances.get(key()) == last.state
    assert [entry.cause for entry in await service.journal()] == ["delete", "create"]
    assert await service.store.next_due() is None
    assert await _lease(service) == []


async def test_what_is_created_and_deleted_at_once_leaves_no_instance(service: Service) -> None:
    await asyncio.gather(service.create(), service.send("GO"), _delete(service))
    assert [entry.cause for entry in await service.journal()] == ["create", "event", "delete"]
    assert await service.store.next_due() is None
    assert await _lease(service) == []
    with pytest.raises(InstanceNotFound):
        await service.runtime.instances.get(key())


@pytest.mark.parametrize("remembered", [8_192, 1])
@pytest.mark.parametrize("by_machine", [False, True])
async def test_a_watch_hears_of_the_deletion_and_of_the_next_incarnation(
    make_store: StoreMaker, remembered: int, by_machine: bool
) -> None:
    """Live, from memory, and from the journal."""
    what: dict[str, Any] = {"filter": WatchFilter("", "job")} if by_machine else {"instances": (key(),)}
    async with serving(make_store, RuntimeSettings(log_entries=remembered)) as service:
        first = await service.create()
        async with watching(service, **what) as batches:
            watch = Watching(batches)
            token = (await watch.until(WatchSynced))[-1].resume_token
            await _delete(service)
            second = await service.create()
            await service.send("ADD")
            live: list[Any] = [await watch.next() for _ in range(3)]
        async with watching(service, **what, resume_token=token) as batches:
            watch = Watching(batches)
            caught_up: list[Any] = [await watch.next() for _ in range(3)]
        assert caught_up == live
        gone, created, moved = live
        assert isinstance(gone, WatchDeleted)
        assert (gone.key, gone.uid) == (key(), first.state.uid)
        assert gone.entry == (await service.journal())[1]
        assert isinstance(created, WatchTransition)
        assert isinstance(moved, WatchTransition)
        assert (created.state, moved.state.version) == (second.state, 1)
        async with watching(service, **what, resume_token=gone.resume_token) as batches:
            assert await Watching(batches).next() == created


async def test_a_deleted_instance_counts_as_finished(service: Service) -> None:
    await service.create(key("a"))
    await service.create()
    async with watching(service, instances=(key("a"), key()), end_on_final=True) as batches:
        watch = Watching(batches)
        await watch.until(WatchSynced)
        await _delete(service)
        gone = await watch.next()
        await service.runtime.delete_instance(DeleteInstance(key("a")), ADA)
        assert isinstance(await watch.next(), WatchDeleted)
        with pytest.raises(StopAsyncIteration):
            await watch.next()
    # Whoever comes back with the token has heard of the first one.
    async with watching(
        service, instances=(key("a"), key()), end_on_final=True, resume_token=gone.resume_token
    ) as batches:
        watch = Watching(batches)
        assert isinstance(await watch.next(), WatchDeleted)
        assert isinstance(await watch.next(), WatchSynced)
        with pytest.raises(StopAsyncIteration):
            await watch.next()


async def _lease(service: Service) -> list[Any]:
    return await service.runtime.lease_effects(
        ["payments.charge"], limit=10, holder="w", lease=timedelta(seconds=30)
    )


def _completed(leased: Any) -> FinishEffect:
    return FinishEffect(
        leased.key, leased.effect_id, leased.lease_token, "completed", '{"receipt":"r"}', None
    )
