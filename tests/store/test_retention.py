"""What was kept long enough goes, a bounded piece at a time; what is needed stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from durachart.runtime.commands import (
    CreateInstance,
    DeleteInstance,
    FinishEffect,
    FireTimer,
    SendEvent,
    StopEffect,
)
from durachart.runtime.errors import (
    EventNotAllowed,
    InstanceExists,
    InstanceFinished,
    InstanceNotFound,
    PayloadInvalid,
    StoreUnavailable,
    WatchCompacted,
)
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.views import WatchSpec, WatchTransition
from durachart.store.chain import first_broken
from durachart.store.interface import Expirable
from durachart.store.keys import InstanceKey
from durachart.store.postgres import retention as postgres_retention
from durachart.store.schema import (
    effect_attempts,
    effect_steps,
    effects,
    instances,
    journal,
    requests,
    timers,
    tombstones,
)
from durachart.store.sqlite import retention as sqlite_retention
from tests.store.conftest import StoreMaker
from tests.store.runtimes import ADA, Service, serving
from tests.unit.runtime.samples import key

DAY = timedelta(days=1)
DAY_MS = 86_400_000
_TABLES = (instances, journal, timers, effects, effect_attempts, effect_steps, requests, tombstones)


@pytest.fixture
async def service(make_store: StoreMaker) -> AsyncIterator[Service]:
    """Contexts are kept as patches, whole ones every fifth version."""
    bounds = RuntimeSettings(whole_context_bytes=0, snapshot_every=5)
    async with serving(make_store, bounds) as running:
        yield running


async def counts(service: Service, of: InstanceKey | None = None) -> dict[str, int]:
    """Rows of every table that has some."""
    store: Any = service.store
    found = {}
    async with store._reading() as connection:
        for table in _TABLES:
            statement = select(func.count()).select_from(table)
            if of is not None:
                statement = statement.where(table.c.instance_id == of.instance_id)
            found[table.name] = (await connection.execute(statement)).scalar_one()
    return {name: number for name, number in found.items() if number}


async def expire_all(service: Service, *kinds: Expirable, age: timedelta = DAY, limit: int = 100) -> int:
    """Everything of these kinds, batch after batch; returns in how many batches."""
    batches = 0
    for what in kinds or ("requests", "effects", "instances", "deleted"):
        while True:
            batches += 1
            if not await service.runtime.expire(what, age, limit):
                break
    return batches


async def finish(service: Service, of: InstanceKey) -> None:
    """A whole life: created, charged by a worker, done; its mail sent."""
    await service.create(of, '{"who":"' + "ada " * 50 + '"}', request_id="r-create")
    await service.send("GO", None, of, request_id="r-go")
    await run_effect(service, of, "payments.charge", '{"receipt":"abc"}')
    await run_effect(service, of, "mail.send", "")


async def run_effect(service: Service, of: InstanceKey, handler: str, output: str) -> None:
    leased = await service.runtime.lease_effects([handler], limit=1, holder="w", lease=timedelta(seconds=30))
    (effect,) = leased
    assert effect.key == of
    end = FinishEffect(of, effect.effect_id, effect.lease_token, "completed", output)
    await service.runtime.finish_effect(end, ADA)


async def test_a_finished_instance_goes_with_all_that_is_its_own(service: Service) -> None:
    """D6: completed executions expire, by default after seven days."""
    await finish(service, key("done"))
    await service.create(key("living"), request_id="r")
    service.clock.now += DAY_MS - 1
    await expire_all(service, "instances", "deleted")
    assert "instances" in await counts(service, key("done"))
    service.clock.now += 2
    await expire_all(service, "instances", "deleted")
    assert await counts(service, key("done")) == {}
    assert await counts(service) == {"instances": 1, "journal": 1, "requests": 1}
    with pytest.raises(InstanceNotFound):
        await service.runtime.instances.get(key("done"))
    assert (await service.create(key("done"))).state.version == 0


async def test_an_instance_that_is_asked_of_or_has_work_left_has_not_finished(service: Service) -> None:
    await service.create(key("a"))
    await service.send("GO", None, key("a"))
    await run_effect(service, key("a"), "payments.charge", '{"receipt":"abc"}')
    service.clock.now += 2 * DAY_MS
    await expire_all(service)
    assert (await service.runtime.instances.get(key("a"))).status == "done", "its mail was not sent yet"
    await run_effect(service, key("a"), "mail.send", "")
    await expire_all(service)
    assert (await service.runtime.instances.get(key("a"))).status == "done", "its effect ended just now"
    service.clock.now += DAY_MS - 10
    with pytest.raises(InstanceFinished):
        await service.send("GO", None, key("a"), request_id="late")
    service.clock.now += 20
    await expire_all(service)
    with pytest.raises(InstanceFinished) as again:
        await service.send("GO", None, key("a"), request_id="late")
    assert again.value.replayed
    service.clock.now += DAY_MS
    await expire_all(service)
    assert await counts(service) == {}


async def test_what_a_deleted_instance_left_goes_and_its_successor_stays(service: Service) -> None:
    await finish(service, key("a"))
    await service.runtime.delete_instance(DeleteInstance(key("a"), request_id="r-delete"), ADA)
    service.clock.now += DAY_MS // 2
    await service.create(key("a"), request_id="r-anew")
    await service.send("GO", None, key("a"))
    service.clock.now += DAY_MS // 2 + 1
    await expire_all(service)
    rows = await service.journal(key("a"))
    assert [row.cause for row in rows] == ["create", "event"]
    assert rows[0].seq > 1
    assert await counts(service) == {"instances": 1, "journal": 2, "timers": 1, "effects": 1, "requests": 1}
    await service.send("LEAVE", None, key("a"))


async def test_request_ids_are_forgotten_after_their_window(service: Service) -> None:
    await service.create(key("a"), request_id="r")
    service.clock.now += DAY_MS
    await expire_all(service, "requests")
    assert (await service.create(key("a"), request_id="r")).replayed
    service.clock.now += 1
    await expire_all(service, "requests")
    with pytest.raises(InstanceExists):
        await service.create(key("a"), request_id="r")


async def test_effects_that_ended_go_and_those_that_have_not_stay(service: Service) -> None:
    await service.create(key("a"))
    await service.send("GO", None, key("a"))
    await service.send("LEAVE", None, key("a"))
    service.clock.now += DAY_MS // 2
    await service.send("GO", None, key("a"))
    service.clock.now += DAY_MS // 2 + 1
    await expire_all(service, "effects")
    assert (await counts(service))["effects"] == 1
    await run_effect(service, key("a"), "payments.charge", '{"receipt":"abc"}')


async def test_a_journal_is_cut_before_a_whole_context_and_goes_on(service: Service) -> None:
    await service.create(key("a"), '{"who":"' + "ada " * 50 + '"}')
    for _ in range(23):
        await service.send("ADD", None, key("a"))
    service.clock.now += DAY_MS + 1
    for _ in range(3):
        await service.send("ADD", None, key("a"))
    state = await service.runtime.instances.get(key("a"))
    await expire_all(service, "journal")
    rows = [entry.row for entry in await service.store.list_journal(key("a"), from_seq=1, limit=100)]
    # Version 20 is in row 21, the newest whole context that is old enough.
    assert [row.seq for row in rows] == list(range(21, 28))
    assert rows[0].context is not None
    assert first_broken(rows) is None
    assert await service.runtime.instances.get(key("a")) == state
    await service.send("ADD", None, key("a"))
    assert await expire_all(service, "journal") == 1, "there was nothing more"
    assert len(await service.journal(key("a"))) == 8


async def test_a_row_that_answers_a_request_is_not_cut(service: Service) -> None:
    await service.create(key("a"), '{"who":"' + "ada " * 50 + '"}')
    for number in range(23):
        await service.send("ADD", None, key("a"), request_id="r" if number == 7 else "")
    service.clock.now += DAY_MS + 1
    await expire_all(service, "journal")
    answer = await service.send("ADD", None, key("a"), request_id="r")
    assert (answer.replayed, answer.state.version) == (True, 8)
    assert (await service.journal(key("a")))[0].seq == 6


async def test_a_watch_from_before_what_was_removed_is_told(service: Service) -> None:
    spec = WatchSpec(instances=(key("living"),))
    await service.create(key("living"))
    old = await _token(service, spec)
    await finish(service, key("done"))
    service.clock.now += DAY_MS + 1
    await service.send("ADD", None, key("living"))
    await expire_all(service)
    with pytest.raises(WatchCompacted) as told:
        await anext(service.runtime.watch(spec._replace(resume_token=old), ADA))
    watch = service.runtime.watch(spec._replace(resume_token=told.value.oldest_resume_token), ADA)
    (transition,) = await anext(watch)
    await watch.aclose()
    assert isinstance(transition, WatchTransition)
    assert transition.state.version == 1


async def _token(service: Service, spec: WatchSpec) -> str:
    watch = service.runtime.watch(spec, ADA)
    await anext(watch)
    (synced,) = await anext(watch)
    await watch.aclose()
    return synced.resume_token


async def test_a_revision_is_never_given_twice_after_the_newest_rows_went(make_store: StoreMaker) -> None:
    async with serving(make_store) as service:
        await finish(service, key("a"))
        newest = await service.store.newest_revision()
        service.clock.now += DAY_MS + 1
        await expire_all(service)
        assert await service.store.newest_revision() >= newest
        later = service.clock
    async with serving(make_store, clock=later) as service:
        await service.create(key("b"))
        (row,) = await service.journal(key("b"))
        assert row.revision > newest


async def test_an_instance_removed_under_a_cached_copy_is_gone_for_its_callers(service: Service) -> None:
    """A refusal is judged on what is stored, not on what was removed meanwhile."""
    await finish(service, key("a"))
    service.clock.now += DAY_MS + 1
    before_ms = service.clock.now - DAY_MS
    # The runtime is not told, as on the node that did not remove it.
    assert await service.store.expire("instances", before_ms, 10) == 1
    assert await service.store.expire("deleted", before_ms, 10) == 1
    with pytest.raises(InstanceNotFound):
        await service.runtime.stop_effect(StopEffect(key("a"), request_id="r-stop"), ADA)
    with pytest.raises(InstanceNotFound):
        await service.send("GO", None, key("a"))
    assert await counts(service) == {}


@pytest.mark.parametrize("request_id", ["", "r-anew"])
async def test_a_name_is_free_as_soon_as_its_instance_is_removed(service: Service, request_id: str) -> None:
    """A creation is not refused because of an instance that is only remembered."""
    await finish(service, key("a"))
    service.clock.now += DAY_MS + 1
    before_ms = service.clock.now - DAY_MS
    assert await service.store.expire("instances", before_ms, 10) == 1
    created = await service.create(key("a"), request_id=request_id)
    assert (created.state.version, created.replayed) == (0, False)
    assert await service.store.expire("deleted", before_ms, 10) == 1
    assert [entry.cause for entry in await service.journal(key("a"))] == ["create"]
    with pytest.raises(InstanceExists):
        await service.create(key("a"))


async def test_creations_that_were_refused_and_made_nothing_are_removed_too(service: Service) -> None:
    for name in ("a", "b"):
        for number in range(3):
            with pytest.raises(PayloadInvalid):
                await service.create(key(name), "[", request_id=f"r-{number}")
    await asyncio.gather(*(_refused(service, key("c")) for _ in range(5)))
    service.clock.now += DAY_MS + 1
    await service.create(key("b"))
    await service.send("ADD", None, key("b"))
    await expire_all(service)
    assert await counts(service) == {"instances": 1, "journal": 2}
    assert [entry.seq for entry in await service.journal(key("b"))] == [4, 5]
    with pytest.raises(InstanceNotFound):
        await service.journal(key("a"))
    assert (await service.create(key("a"))).state.version == 0
    assert [entry.seq for entry in await service.journal(key("a"))] == [1]


async def _refused(service: Service, of: InstanceKey) -> None:
    with pytest.raises(PayloadInvalid):
        await service.create(of, "[")


async def test_who_read_an_instance_before_it_was_removed_does_not_bring_it_back(service: Service) -> None:
    await finish(service, key("a"))
    service.clock.now += DAY_MS + 1
    cache = service.runtime._cache
    seat = cache.get(key("a"))
    assert seat is not None
    assert await service.runtime.expire("instances", DAY, 10) == 1
    cache.put(key("a"), seat)
    with pytest.raises(InstanceNotFound):
        await service.runtime.instances.get(key("a"))


async def test_each_batch_is_bounded_and_events_go_on_between_them(service: Service) -> None:
    for number in range(25):
        await finish(service, key(f"done-{number}"))
    service.clock.now += DAY_MS + 1
    await service.create(key("living"))
    for expected in (10, 10, 5):
        assert await service.runtime.expire("instances", DAY, 10) == expected
        await service.send("ADD", None, key("living"))
    while await service.runtime.expire("deleted", DAY, 10):
        await service.send("ADD", None, key("living"))
    await expire_all(service, "effects")
    remaining = await counts(service)
    assert set(remaining) <= {"instances", "journal", "requests"}
    assert remaining["instances"] == 1
    assert (await service.runtime.instances.get(key("living"))).version >= 3


async def test_a_long_journal_goes_piece_by_piece_and_the_tombstone_last(make_store: StoreMaker) -> None:
    """No transaction removes more than some thousand rows, however long a life was."""
    async with serving(make_store, RuntimeSettings(whole_context_bytes=4096)) as service:
        await service.create(key("a"))
        for _ in range(25):
            await asyncio.gather(*(service.send("ADD", None, key("a")) for _ in range(200)))
        await service.send("GO", None, key("a"))
        await run_effect(service, key("a"), "payments.charge", '{"receipt":"abc"}')
        await run_effect(service, key("a"), "mail.send", "")
        service.clock.now += DAY_MS + 1
        assert await service.runtime.expire("instances", DAY, 10) == 1
        before = (await counts(service)).get("journal", 0)
        batches = 0
        while await service.runtime.expire("deleted", DAY, 10):
            remaining = await counts(service)
            assert before - remaining.get("journal", 0) <= 1_000
            assert remaining.get("tombstones", 0) == (1 if remaining else 0)
            before = remaining.get("journal", 0)
            batches += 1
        assert batches > 5
        assert await counts(service) == {}


async def _made_anew(service: Service, of: InstanceKey) -> None:
    """An instance that is made while an earlier one is removed keeps all that is its own."""
    await service.create(of, request_id="r-anew")
    await service.send("ADD", None, of)
    while await service.runtime.expire("deleted", DAY, 1):
        pass
    first, second = await service.journal(of)
    assert (first.cause, second.cause, second.seq) == ("create", "event", first.seq + 1)
    assert (await service.create(of, request_id="r-anew")).replayed


@pytest.mark.parametrize("more", [0, 1])
async def test_what_is_made_while_the_last_rows_are_removed_is_not_removed_with_them(
    service: Service, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    """However many rows one transaction removes: also as many as there are."""
    await finish(service, key("a"))
    service.clock.now += DAY_MS + 1
    assert await service.runtime.expire("instances", DAY, 10) == 1
    rows = (await counts(service))["journal"]
    for module in (sqlite_retention, postgres_retention):
        monkeypatch.setattr(module, "_ROWS", rows + more)
    assert await service.runtime.expire("deleted", DAY, 10) == 1
    await _made_anew(service, key("a"))


async def test_refusals_and_lives_of_one_instant_go_in_their_order(service: Service) -> None:
    """Whatever is removed first, the numbers of the journal do not begin anew under a tombstone."""

    async def refused(of: InstanceKey) -> None:
        with pytest.raises(PayloadInvalid):
            await service.create(of, "[")

    delete = DeleteInstance(key("a"), request_id="r-delete")
    await asyncio.gather(
        refused(key("a")), service.create(key("a")), service.runtime.delete_instance(delete, ADA)
    )
    service.clock.now += DAY_MS + 1
    assert await service.runtime.expire("deleted", DAY, 1) == 1
    await _made_anew(service, key("a"))


async def test_refusals_that_never_end_are_kept_for_their_time_only(service: Service) -> None:
    for _ in range(20):
        await _refused(service, key("a"))
        service.clock.now += DAY_MS // 4
        await expire_all(service)
        assert (await counts(service))["journal"] <= 5


async def test_what_is_made_asked_and_deleted_in_one_transaction_is_answered(service: Service) -> None:
    await service.create(key("other"))  # so that its machine is at hand
    of = key("a")
    commands = (CreateInstance(of), SendEvent(of, "NOPE"), CreateInstance(of), DeleteInstance(of))
    replies = await asyncio.gather(*(service.runtime._queue.offer(each, ADA) for each in commands))
    errors = [type(reply.verdict.error) for reply in replies]
    assert errors == [type(None), EventNotAllowed, InstanceExists, type(None)]
    assert [entry.outcome for entry in await service.journal(of)] == [
        "accepted",
        "refused",
        "refused",
        "accepted",
    ]


async def test_an_answer_that_is_purged_while_it_is_asked_for_again_may_be_asked_once_more(
    service: Service,
) -> None:
    of = key("a")
    await service.create(of, request_id="r")
    purge = service.runtime.delete_instance(DeleteInstance(of, purge=True), ADA)
    again = service.create(of, request_id="r")
    _, answer = await asyncio.gather(purge, again, return_exceptions=True)
    assert isinstance(answer, StoreUnavailable) or not isinstance(answer, BaseException), answer
    assert (await service.create(of, request_id="r")).state.version == 0


async def test_timers_of_a_living_instance_stay(service: Service) -> None:
    await service.create(key("a"))
    await service.send("GO", None, key("a"))
    service.clock.now += 30 * DAY_MS
    await expire_all(service, "requests", "effects", "instances", "deleted", "journal")
    (due,) = await service.runtime.timers.due(10)
    assert await service.runtime.timers.fire(FireTimer(due.key, due.uid, due.timer_key, due.sequence))
