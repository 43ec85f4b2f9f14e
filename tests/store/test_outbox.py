"""What workers in processes of their own may do: leases, steps, failures, dead letters, streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest

from durachart.runtime.commands import (
    Caller,
    DeleteInstance,
    EffectError,
    FailEffect,
    FinishEffect,
    RecordStep,
    ReviveEffect,
    StopEffect,
)
from durachart.runtime.effect_views import LeasedEffect
from durachart.runtime.effects.outbox import MAX_STEPS, Outbox
from durachart.runtime.effects.reads import EffectReads
from durachart.runtime.effects.stream import EffectStream, Work
from durachart.runtime.errors import (
    DurachartError,
    EffectNotFound,
    EffectNotRetryable,
    InstanceNotFound,
    InvalidArgument,
    LeaseLost,
    PageTokenInvalid,
    RequestIdReused,
)
from tests.store.conftest import StoreMaker
from tests.store.runtimes import ADA, Service, serving
from tests.store.stored_rows import created, effect
from tests.store.stored_rows import key as rows_key
from tests.unit.runtime.samples import key

PAY = ["payments.charge"]
LEASE = timedelta(seconds=30)
WORKER = Caller("worker")
BOOM = EffectError("BOOM", "It broke.")


@pytest.fixture
def outbox(service: Service) -> Outbox:
    return service.runtime.outbox


async def _go(service: Service, name: str = "j-1") -> None:
    await service.send("GO", of=key(name), create_if_missing=True)


async def _lease(outbox: Outbox, worker: str = "w") -> LeasedEffect:
    (leased,) = await outbox.lease(PAY, 1, worker, LEASE)
    return leased


def _place(leased: LeasedEffect) -> tuple[Any, str, str]:
    return leased.key, leased.effect_id, leased.lease_token


async def _discard(outbox: Outbox) -> LeasedEffect:
    leased = await _lease(outbox)
    assert await outbox.fail(FailEffect(*_place(leased), BOOM, final=True), WORKER) is None
    return leased


# --- failures ---------------------------------------------------------------------------------------------


async def test_a_failure_reported_twice_is_one_failure(service: Service, outbox: Outbox) -> None:
    await _go(service)
    first = await _lease(outbox)
    command = FailEffect(*_place(first), BOOM, delay_ms=5_000)
    retry_at = await outbox.fail(command, WORKER)
    assert retry_at is not None
    assert await outbox.fail(command, WORKER) == retry_at
    with pytest.raises(LeaseLost):
        await outbox.fail(command._replace(final=True), WORKER)
    service.clock.now += 5_000
    second = await _lease(outbox)
    with pytest.raises(LeaseLost):
        await outbox.fail(command, WORKER)
    last = FailEffect(*_place(second), BOOM)
    assert await outbox.fail(last, WORKER) is None
    assert await outbox.fail(last, WORKER) is None
    with pytest.raises(LeaseLost):
        await outbox.finish(FinishEffect(*_place(second), "completed"), WORKER)
    causes = [entry.event_type for entry in await service.journal() if entry.cause == "effect"]
    assert causes == ["REFUSED"]


async def test_two_ends_at_the_same_moment_are_one(service: Service, outbox: Outbox) -> None:
    await _go(service)
    leased = await _lease(outbox)
    done = FinishEffect(*_place(leased), "completed", '{"receipt":"r"}')
    failed = FailEffect(*_place(leased), BOOM, final=True)
    answers = await asyncio.gather(
        *(outbox.finish(done, WORKER) for _ in range(3)), outbox.fail(failed, WORKER), return_exceptions=True
    )
    assert answers[:3] == [None, None, None]
    assert isinstance(answers[3], LeaseLost)
    assert [entry.event_type for entry in await service.journal()] == ["", "GO", "PAID"]


async def test_a_failure_of_a_cancelled_effect_is_journaled_and_lost(
    service: Service, outbox: Outbox
) -> None:
    await _go(service)
    leased = await _lease(outbox)
    await service.send("LEAVE")
    with pytest.raises(LeaseLost):
        await outbox.fail(FailEffect(*_place(leased), BOOM), WORKER)
    assert (await service.journal())[-1].reason == "LEASE_LOST"


async def test_an_effect_that_does_not_exist_is_nobodys_to_end(service: Service, outbox: Outbox) -> None:
    await _go(service)
    with pytest.raises(LeaseLost):
        await outbox.fail(FailEffect(key(), "nobody", "1.x", BOOM), WORKER)
    with pytest.raises(LeaseLost):
        await outbox.record_step(RecordStep(key(), "nobody", "1.x", "s", "started"))
    assert await outbox.extend(key(), "nobody", "1.x", LEASE) is None


# --- steps ------------------------------------------------------------------------------------------------


async def test_steps_reach_the_next_attempt(service: Service, outbox: Outbox) -> None:
    """D3: a completed step is handed to the next attempt, whoever makes it."""
    await _go(service)
    first = await _lease(outbox, "w1")
    await outbox.record_step(RecordStep(*_place(first), "count", "completed", '{"n":1}'))
    await outbox.record_step(RecordStep(*_place(first), "send", "started"))
    service.clock.now += 31_000
    second = await _lease(outbox, "w2")
    assert [(step.name, step.state, step.attempt, step.output_json) for step in second.steps] == [
        ("count", "completed", 1, '{"n":1}'),
        ("send", "started", 1, ""),
    ]
    with pytest.raises(LeaseLost):
        await outbox.record_step(RecordStep(*_place(first), "send", "completed"))
    details = await service.runtime.effects.details(key(), first.effect_id)
    assert [(each.worker_id, each.outcome) for each in details.attempts] == [("w1", "lost"), ("w2", "")]


async def test_an_effect_has_a_bounded_number_of_steps(service: Service, outbox: Outbox) -> None:
    await _go(service)
    leased = await _lease(outbox)
    for n in range(MAX_STEPS):
        await outbox.record_step(RecordStep(*_place(leased), f"s{n}", "started"))
    with pytest.raises(InvalidArgument, match="cannot have more"):
        await outbox.record_step(RecordStep(*_place(leased), "one more", "started"))
    await outbox.record_step(RecordStep(*_place(leased), "s7", "completed"))


@pytest.mark.parametrize("output", ["{", "nan", '"' + "x" * 256 * 1024 + '"'])
async def test_a_step_yields_json_of_a_bounded_size(service: Service, outbox: Outbox, output: str) -> None:
    await _go(service)
    leased = await _lease(outbox)
    with pytest.raises(InvalidArgument):
        await outbox.record_step(RecordStep(*_place(leased), "s", "completed", output))


async def test_an_attempt_that_its_worker_breaks_off_does_not_count(service: Service, outbox: Outbox) -> None:
    await _go(service)
    interrupted = EffectError("INTERRUPTED", "The worker was shut down.")
    for attempt in range(1, 6):
        leased = await _lease(outbox)
        assert leased.attempt == attempt
        assert await outbox.fail(FailEffect(*_place(leased), interrupted, 0), WORKER) is not None
    leased = await _lease(outbox)
    assert await outbox.fail(FailEffect(*_place(leased), interrupted, final=True), WORKER) is None


# --- dead letters -----------------------------------------------------------------------------------------


async def test_a_dead_letter_is_tried_again_and_the_machine_hears_of_it(
    service: Service, outbox: Outbox
) -> None:
    """D4, D10: a failed effect is kept, and given back by an operator."""
    await _go(service)
    dead = await _discard(outbox)
    before = await service.runtime.instances.get(key())
    revived = await outbox.revive(ReviveEffect(key(), dead.effect_id, "r-1"), ADA)
    assert (revived.state, revived.attempt, revived.max_attempts) == ("available", 1, 3)
    after = await service.runtime.instances.get(key())
    assert after.version == before.version + 1
    assert [running.effect_id for running in after.running_effects] == [dead.effect_id]
    entry = (await service.journal())[-1]
    assert (entry.cause, entry.event_type, entry.actor, entry.outcome) == ("effect", "", "ada", "accepted")
    again = await _lease(outbox, "w2")
    assert (again.effect_id, again.attempt, again.max_attempts) == (dead.effect_id, 2, 3)
    await outbox.finish(FinishEffect(*_place(again), "completed", '{"receipt":"r"}'), WORKER)
    record = await service.runtime.effects.details(key(), dead.effect_id)
    assert [attempt.outcome for attempt in record.attempts] == ["failed", "completed"]
    assert record.state == "completed"


async def test_a_retry_asked_for_twice_is_one(service: Service, outbox: Outbox) -> None:
    await _go(service)
    dead = await _discard(outbox)
    command = ReviveEffect(key(), dead.effect_id, "r-1")
    first, second = await asyncio.gather(outbox.revive(command, ADA), outbox.revive(command, ADA))
    assert first == second
    leased = await _lease(outbox)
    await outbox.fail(FailEffect(*_place(leased), BOOM, final=True), WORKER)
    later = await outbox.revive(command, ADA)
    assert (later.state, later.attempt, later.max_attempts) == ("available", 1, 3)
    assert (await service.runtime.effects.details(key(), dead.effect_id)).state == "discarded"
    with pytest.raises(RequestIdReused):
        await service.send("GO", request_id="r-1")


@pytest.mark.parametrize("request_id", ["r" * 129, "r\0"])
async def test_a_retry_under_an_id_that_cannot_be_kept_is_refused(outbox: Outbox, request_id: str) -> None:
    with pytest.raises(InvalidArgument):
        await outbox.revive(ReviveEffect(key(), "e-1", request_id), ADA)


async def test_a_refused_retry_is_journaled_and_refused_the_same_way_again(
    service: Service, outbox: Outbox
) -> None:
    await _go(service)
    leased = await _lease(outbox)
    command = ReviveEffect(key(), leased.effect_id, "r-1")
    with pytest.raises(EffectNotRetryable) as refused:
        await outbox.revive(command, ADA)
    await outbox.fail(FailEffect(*_place(leased), BOOM, final=True), WORKER)
    with pytest.raises(EffectNotRetryable) as replayed:
        await outbox.revive(command, ADA)
    assert replayed.value.replayed
    assert replayed.value.message == refused.value.message
    assert replayed.value.effect_id == leased.effect_id
    assert [entry.reason for entry in await service.journal()] == ["", "", "EFFECT_NOT_RETRYABLE", ""]


async def test_what_ended_at_the_same_moment_can_be_given_back_or_says_so(
    service: Service, outbox: Outbox
) -> None:
    await _go(service)
    leased = await _lease(outbox)
    finish = FinishEffect(*_place(leased), "failed", error=BOOM)
    _, answer = await asyncio.gather(
        outbox.finish(finish, WORKER),
        outbox.revive(ReviveEffect(key(), leased.effect_id), ADA),
        return_exceptions=True,
    )
    assert isinstance(answer, EffectNotRetryable)
    assert (await outbox.revive(ReviveEffect(key(), leased.effect_id), ADA)).state == "available"


async def test_a_revived_effect_can_be_stopped_at_the_same_moment(service: Service, outbox: Outbox) -> None:
    await _go(service)
    dead = await _discard(outbox)
    heard: list[str] = []
    service.runtime.on_effect_end(lambda of, effect_id, state: heard.append(state))
    await asyncio.gather(
        outbox.revive(ReviveEffect(key(), dead.effect_id), ADA),
        service.runtime.stop_effect(StopEffect(key(), dead.effect_id), ADA),
    )
    assert (await service.runtime.effects.details(key(), dead.effect_id)).state == "cancelled"
    assert heard == ["cancelled"]
    assert await outbox.lease(PAY, 1, "w", LEASE) == []


async def test_nothing_is_given_back_to_an_instance_that_was_deleted(
    service: Service, outbox: Outbox
) -> None:
    await _go(service)
    dead = await _discard(outbox)
    await service.runtime.delete_instance(DeleteInstance(key()), ADA)
    with pytest.raises(EffectNotRetryable, match="was deleted"):
        await outbox.revive(ReviveEffect(key(), dead.effect_id), ADA)
    await service.create()
    with pytest.raises(EffectNotRetryable, match="another one"):
        await outbox.revive(ReviveEffect(key(), dead.effect_id), ADA)
    with pytest.raises(EffectNotFound):
        await outbox.revive(ReviveEffect(key(), "nobody"), ADA)
    with pytest.raises(InstanceNotFound):
        await outbox.revive(ReviveEffect(key("nobody"), "nobody"), ADA)


# --- reading ----------------------------------------------------------------------------------------------


async def test_lists_are_paged_and_their_tokens_belong_to_them(service: Service) -> None:
    for n in range(5):
        await _go(service, f"j-{n}")
    reads: EffectReads = service.runtime.effects
    found: list[str] = []
    token = ""
    while True:
        page = await reads.list("", machine_id="job", page_size=2, page_token=token)
        found += [record.key.instance_id for record in page.items]
        assert all(record.attempts == () for record in page.items)
        if not (token := page.next_page_token):
            break
        with pytest.raises(PageTokenInvalid):
            await reads.list("", machine_id="job", state="discarded", page_token=token)
    assert sorted(found) == [f"j-{n}" for n in range(5)]
    with pytest.raises(InvalidArgument):
        await reads.list("", instance_id="j-1")
    with pytest.raises(EffectNotFound):
        await reads.details(key(), "nobody")


# --- waiting ----------------------------------------------------------------------------------------------


async def test_a_wait_ends_with_the_first_effect_that_comes(service: Service, outbox: Outbox) -> None:
    waiting = [asyncio.create_task(outbox.take(PAY, 1, f"w{n}", LEASE, LEASE)) for n in range(2)]
    await _go(service, "a")
    await _go(service, "b")
    (first,), (second,) = await asyncio.gather(*waiting)
    assert {first.key, second.key} == {key("a"), key("b")}


async def test_a_wait_ends_when_the_server_drains(outbox: Outbox) -> None:
    waiting = asyncio.create_task(outbox.take(PAY, 1, "w", LEASE, timedelta(hours=1)))
    await asyncio.sleep(0)
    outbox.drain()
    assert await waiting == []
    assert await outbox.take(PAY, 1, "w", LEASE, timedelta(hours=1)) == []


async def test_what_was_leased_for_a_caller_that_went_away_is_given_back(make_store: StoreMaker) -> None:
    async with serving(make_store) as service:
        await _go(service)
        leasing = asyncio.create_task(service.runtime.outbox.lease(PAY, 1, "gone", LEASE))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        leasing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leasing
        await service.runtime.outbox.stop()
        leased = await _lease(service.runtime.outbox)
        record = await service.runtime.effects.details(key(), leased.effect_id)
        assert leased.max_attempts - leased.attempt == 1, "what never reached a worker does not count"
        assert [attempt.worker_id for attempt in record.attempts] == ["gone", "w"]


async def test_an_effect_that_cannot_be_handed_out_loses_no_attempt(service: Service, outbox: Outbox) -> None:
    writes = created(rows_key())
    writes.effects.append(effect(rows_key(), max_attempts=1))  # of a machine that is not there
    await service.store.commit(writes)
    for _ in range(3):
        assert await outbox.lease(PAY, 1, "w", LEASE) == []
        assert await service.store.next_effect_at(PAY) == service.clock.now + 60_000
        service.clock.now += 60_000
    record = await service.runtime.effects.details(rows_key(), "e-1")
    assert record.state == "retryable"
    assert record.max_attempts - record.attempt == 1
    assert {attempt.error_reason for attempt in record.attempts} == {"INTERRUPTED"}


# --- streams ----------------------------------------------------------------------------------------------


@pytest.fixture
async def stream(outbox: Outbox) -> AsyncIterator[tuple[EffectStream, AsyncGenerator[Work, None]]]:
    made = EffectStream(outbox, PAY, "w", LEASE)
    async with aclosing(made.work()) as work:
        yield made, work


async def test_a_stream_leases_no_more_than_it_has_credits_for(
    service: Service, outbox: Outbox, stream: tuple[EffectStream, AsyncGenerator[Work, None]]
) -> None:
    opened, work = stream
    for name in "abc":
        await _go(service, name)
    opened.add_credits(2)
    assert len((await anext(work)).effects) == 2
    waiting = asyncio.ensure_future(anext(work))
    await asyncio.sleep(0)
    assert len(await outbox.lease(PAY, 5, "other", LEASE)) == 1
    opened.add_credits(1)
    await _go(service, "d")
    assert [leased.key for leased in (await waiting).effects] == [key("d")]


async def test_a_stream_tells_of_cancellations_of_what_it_sent_and_of_nothing_else(
    service: Service, outbox: Outbox, stream: tuple[EffectStream, AsyncGenerator[Work, None]]
) -> None:
    opened, work = stream
    await _go(service, "a")
    other = await _lease(outbox, "other")
    await _go(service, "b")
    await _go(service, "c")
    opened.add_credits(2)
    sent = (await anext(work)).effects
    assert len(sent) == 2
    await service.send("LEAVE", of=other.key)
    await outbox.finish(FinishEffect(*_place(sent[0]), "completed", '{"receipt":"r"}'), WORKER)
    await service.send("LEAVE", of=sent[1].key)
    assert (await anext(work)).cancelled == ((sent[1].key, sent[1].effect_id),)


async def test_a_stream_without_credits_to_come_ends_with_its_last_effect(
    service: Service, outbox: Outbox, stream: tuple[EffectStream, AsyncGenerator[Work, None]]
) -> None:
    opened, work = stream
    await _go(service)
    opened.add_credits(1)
    opened.close_credits()
    (leased,) = (await anext(work)).effects
    ending = asyncio.ensure_future(anext(work, None))
    await outbox.finish(FinishEffect(*_place(leased), "completed", '{"receipt":"r"}'), WORKER)
    assert await ending is None


async def test_a_stream_ends_with_what_failed_its_requests(
    stream: tuple[EffectStream, AsyncGenerator[Work, None]],
) -> None:
    opened, work = stream
    waiting = asyncio.ensure_future(anext(work))
    await asyncio.sleep(0)
    opened.close_credits(DurachartError("no such credit"))
    with pytest.raises(DurachartError, match="no such credit"):
        await waiting
