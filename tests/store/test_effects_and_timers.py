"""Effects and timers through the runtime: run after the commit, ended once, in the instance's own order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from durachart.runtime.commands import (
    Caller,
    EffectError,
    FinishEffect,
    FireTimer,
    RetryEffect,
    StopEffect,
)
from durachart.runtime.effect_views import EffectState, LeasedEffect
from durachart.runtime.errors import InstanceNotFound, InvalidArgument, LeaseLost, RequestIdReused
from durachart.store.interface import Store
from durachart.store.keys import InstanceKey
from tests.store.runtimes import ADA, Service, serving
from tests.unit.runtime.samples import START_MS, key

CHARGE = ["payments.charge"]
WORKER = Caller("worker")
LEASE = timedelta(seconds=30)


async def _lease(service: Service, handlers: list[str] | None = None) -> list[LeasedEffect]:
    return await service.runtime.lease_effects(handlers or CHARGE, limit=10, holder="w", lease=LEASE)


async def _leased(service: Service) -> LeasedEffect:
    await service.create()
    await service.send("GO")
    (leased,) = await _lease(service)
    return leased


def _finish(leased: LeasedEffect, outcome: str = "completed", output_json: str = "") -> FinishEffect:
    error = None if outcome == "completed" else EffectError("CARD_DECLINED", "The card was declined.")
    return FinishEffect(leased.key, leased.effect_id, leased.lease_token, outcome, output_json, error)  # type: ignore[arg-type]


async def test_a_leased_effect_is_all_its_worker_needs(service: Service) -> None:
    leased = await _leased(service)
    assert (leased.key, leased.type, leased.handler, leased.params_json, leased.attempt) == (
        key(),
        "charge",
        "payments.charge",
        '{"amount":1}',
        1,
    )
    assert leased.spec.done == "PAID"
    assert leased.lease_expires_at.timestamp() * 1000 == START_MS + 30_000
    state = await service.runtime.instances.get(key())
    (running,) = state.running_effects
    assert (running.effect_id, running.attempt, running.executing) == (leased.effect_id, 1, True)


async def test_a_completion_is_an_event_and_a_result(service: Service) -> None:
    leased = await _leased(service)
    ended: list[tuple[InstanceKey, str, EffectState]] = []
    unsubscribe = service.runtime.on_effect_end(lambda *end: ended.append(end))
    await service.runtime.finish_effect(_finish(leased, output_json='{"receipt":"abc"}'), WORKER)
    state = await service.runtime.instances.get(key())
    assert (state.value_json, state.version) == ('"finished"', 2)
    record = await service.runtime.get_effect(key(), leased.effect_id)
    assert record is not None
    assert (record.state, record.output_json) == ("completed", '{"receipt":"abc"}')
    assert ended == [(key(), leased.effect_id, "completed")]
    unsubscribe()
    entries = await service.journal()
    assert (entries[-1].actor, entries[-1].cause) == ("system", "effect")
    await service.runtime.finish_effect(_finish(leased, output_json='{"receipt":"abc"}'), WORKER)
    assert await service.journal() == entries


async def test_a_listener_that_fails_harms_nobody(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    leased = await _leased(service)
    heard: list[str] = []

    def fail(*_end: object) -> None:
        raise RuntimeError("listener")

    service.runtime.on_effect_end(fail)
    service.runtime.on_effect_end(lambda _key, effect_id, _state: heard.append(effect_id))
    await service.send("LEAVE")
    assert heard == [leased.effect_id]
    assert "effect listener failed" in caplog.text
    assert (await service.send("GO")).state.version == 3


async def test_completions_come_through_after_a_restart(make_store: Callable[[], Store]) -> None:
    async with serving(make_store) as service:
        leased = await _leased(service)
    async with serving(make_store) as service:
        await service.runtime.finish_effect(_finish(leased, output_json='{"receipt":"abc"}'), WORKER)
        assert (await service.runtime.instances.get(key())).value_json == '"finished"'
        await service.runtime.finish_effect(_finish(leased, output_json='{"receipt":"abc"}'), WORKER)


@pytest.mark.parametrize("output", ["{", "NaN", '"' + "x" * 2**20 + '"'])
async def test_an_output_that_cannot_be_kept_is_given_back(service: Service, output: str) -> None:
    leased = await _leased(service)
    with pytest.raises(InvalidArgument):
        await service.runtime.finish_effect(_finish(leased, output_json=output), WORKER)
    record = await service.runtime.get_effect(key(), leased.effect_id)
    assert record is not None
    assert record.state == "running"


async def test_a_lease_that_passed_on_is_lost_for_its_first_holder(service: Service) -> None:
    first = await _leased(service)
    service.clock.now += 30_000
    (second,) = await _lease(service)
    assert second.attempt == 2
    with pytest.raises(LeaseLost):
        await service.runtime.finish_effect(_finish(first), WORKER)
    assert not await service.runtime.extend_lease(key(), first.effect_id, first.lease_token, LEASE)
    with pytest.raises(LeaseLost):
        await service.runtime.retry_effect(
            RetryEffect(key(), first.effect_id, first.lease_token, EffectError("X", "x"), 0)
        )
    assert await service.runtime.extend_lease(key(), second.effect_id, second.lease_token, LEASE)
    await service.runtime.finish_effect(_finish(second, "failed"), WORKER)
    assert (await service.runtime.instances.get(key())).value_json == '"idle"'


async def test_an_effect_whose_last_attempt_was_lost_ends_as_failed(service: Service) -> None:
    await _leased(service)
    service.clock.now += 30_000
    assert len(await _lease(service)) == 1
    service.clock.now += 30_000
    assert await _lease(service) == []
    state = await service.runtime.instances.get(key())
    assert (state.value_json, state.running_effects) == ('"idle"', ())
    entry = (await service.journal())[-1]
    assert entry.event_type == "REFUSED"
    assert "ATTEMPTS_EXHAUSTED" in entry.data_json


async def test_a_retried_attempt_waits_and_rings(service: Service) -> None:
    leased = await _leased(service)
    await service.runtime.wait_effects(0)
    error = EffectError("BUSY", "Come back later.")
    await service.runtime.retry_effect(RetryEffect(key(), leased.effect_id, leased.lease_token, error, 5_000))
    assert await service.runtime.wait_effects(0)
    next_at = await service.runtime.next_effect_at(CHARGE)
    assert next_at is not None
    assert next_at.timestamp() * 1000 == START_MS + 5_000
    (running,) = (await service.runtime.instances.get(key())).running_effects
    assert (running.attempt, running.executing) == (1, False)
    assert await _lease(service) == []
    service.clock.now += 5_000
    (again,) = await _lease(service)
    assert again.attempt == 2


async def test_leaving_the_state_tells_the_worker_at_once(service: Service) -> None:
    leased = await _leased(service)
    ended: list[tuple[str, EffectState]] = []
    service.runtime.on_effect_end(lambda _key, effect_id, state: ended.append((effect_id, state)))
    await service.send("LEAVE")
    assert ended == [(leased.effect_id, "cancelled")]
    assert not await service.runtime.extend_lease(key(), leased.effect_id, leased.lease_token, LEASE)
    with pytest.raises(LeaseLost, match="was cancelled"):
        await service.runtime.finish_effect(_finish(leased, output_json='"late"'), WORKER)
    record = await service.runtime.latest_effect(key())
    assert record is not None
    assert (record.state, record.output_json) == ("cancelled", '"late"')
    entries = await service.journal()
    assert (entries[-1].outcome, entries[-1].reason) == ("refused", "LEASE_LOST")
    with pytest.raises(LeaseLost):
        await service.runtime.finish_effect(_finish(leased, output_json='"late"'), WORKER)
    assert await service.journal() == entries


async def test_an_effect_asked_for_and_cancelled_in_one_batch_was_never_to_be_run(service: Service) -> None:
    await service.create()
    await asyncio.gather(service.send("GO"), service.send("LEAVE"), service.send("GO"))
    record = await service.runtime.latest_effect(key())
    assert record is not None
    assert record.state == "available"
    assert len(await _lease(service)) == 1
    assert [len(entry.effects) for entry in await service.journal()] == [0, 1, 0, 1]


async def test_a_stop_ends_the_effect_once(service: Service) -> None:
    leased = await _leased(service)
    command = StopEffect(key(), request_id="r")
    first = await service.runtime.stop_effect(command, ADA)
    assert (first.stopped, first.effect_id, first.state.value_json) == (True, leased.effect_id, '"idle"')
    again = await service.runtime.stop_effect(command, ADA)
    assert again == first
    other = await service.runtime.stop_effect(StopEffect(key()), ADA)
    assert (other.stopped, other.effect_id) == (False, "")
    assert len(await service.journal()) == 3
    with pytest.raises(RequestIdReused):
        await service.runtime.stop_effect(StopEffect(key(), "x", request_id="r"), ADA)
    with pytest.raises(InstanceNotFound):
        await service.runtime.stop_effect(StopEffect(key("nobody")), ADA)


async def test_a_stop_that_found_nothing_stops_nothing_when_it_is_repeated(service: Service) -> None:
    await service.create()
    command = StopEffect(key(), request_id="r")
    first = await service.runtime.stop_effect(command, ADA)
    assert not first.stopped
    await service.send("GO")
    again = await service.runtime.stop_effect(command, ADA)
    assert again == first
    assert len((await service.runtime.instances.get(key())).running_effects) == 1


async def test_stop_generation_takes_generations_only(service: Service) -> None:
    await _leased(service)
    stopped = await service.runtime.stop_generation(StopEffect(key()), ADA)
    assert not stopped.stopped


async def test_a_completion_and_a_stop_in_one_batch_end_it_once(service: Service) -> None:
    leased = await _leased(service)
    answers = await asyncio.gather(
        service.runtime.stop_effect(StopEffect(key()), ADA),
        service.runtime.finish_effect(_finish(leased, output_json='{"receipt":""}'), WORKER),
        return_exceptions=True,
    )
    assert isinstance(answers[1], LeaseLost)
    assert (await service.runtime.instances.get(key())).value_json == '"idle"'


# --- timers ---------------------------------------------------------------------------------------------


async def test_a_timer_fires_once_and_not_early(service: Service) -> None:
    await service.create()
    await service.runtime.timers.wait(0)
    await service.send("GO")
    assert await service.runtime.timers.wait(0)
    next_at = await service.runtime.timers.next_due_at()
    assert next_at is not None
    assert next_at.timestamp() * 1000 == START_MS + 60_000
    assert await service.runtime.timers.due(10) == []
    service.clock.now += 60_000
    (due,) = await service.runtime.timers.due(10)
    command = FireTimer(due.key, due.uid, due.timer_key, due.sequence)
    assert await asyncio.gather(*(service.runtime.timers.fire(command) for _ in range(3))) == [
        True,
        False,
        False,
    ]
    assert (await service.runtime.instances.get(key())).value_json == '"late"'
    assert await service.runtime.timers.next_due_at() is None
    assert len(await service.journal()) == 3


async def test_timers_survive_a_restart_and_die_with_their_state(make_store: Callable[[], Store]) -> None:
    async with serving(make_store) as service:
        await service.create(key("stays"))
        await service.create(key("leaves"))
        await asyncio.gather(*(service.send("GO", of=key(name)) for name in ("stays", "leaves")))
        await service.send("LEAVE", of=key("leaves"))
        clock = service.clock
    clock.now += 60_000
    async with serving(make_store, clock=clock) as service:
        (due,) = await service.runtime.timers.due(10)
        assert due.key == key("stays")
        assert await service.runtime.timers.fire(FireTimer(due.key, due.uid, due.timer_key, due.sequence))
