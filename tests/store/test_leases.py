"""Leases: an effect has one holder at a time, and never none for good."""

from __future__ import annotations

from durachart.store.interface import Leased, Store, Writes
from tests.store.stored_rows import created, effect, end, journal, key

CHARGE = ["payments.charge"]


async def _with(store: Store, *effects: str, **given: object) -> None:
    writes = created(key())
    writes.effects.extend(
        effect(key(), name, ordinal=n, **{"scheduled_at_ms": 1_000 + n, **given})
        for n, name in enumerate(effects)
    )
    await store.commit(writes)


async def _lease(store: Store, now_ms: int, *, limit: int = 10, holder: str = "w") -> list[Leased]:
    return await store.lease_effects(
        CHARGE, limit=limit, holder=holder, now_ms=now_ms, until_ms=now_ms + 1_000
    )


async def test_those_that_wait_longest_are_leased_first(store: Store) -> None:
    await _with(store, "a", "b", "c")
    first = await _lease(store, 5_000, limit=2)
    assert [leased.row.effect_id for leased in first] == ["a", "b"]
    assert [leased.row.effect_id for leased in await _lease(store, 5_000)] == ["c"]
    assert await _lease(store, 5_000) == []


async def test_a_lease_begins_an_attempt(store: Store) -> None:
    await _with(store, "a")
    ((row, exhausted),) = await _lease(store, 5_000, holder="w1")
    assert not exhausted
    assert (row.state, row.attempt, row.lease_holder, row.scheduled_at_ms) == ("running", 1, "w1", 6_000)
    assert row.lease_token.startswith("1.")
    assert await store.get_effect(key(), "a") == row


async def test_nothing_is_leased_before_its_time_or_for_another_handler(store: Store) -> None:
    await _with(store, "a", scheduled_at_ms=9_000)
    assert await _lease(store, 8_999) == []
    assert await store.next_effect_at(CHARGE) == 9_000
    assert await store.next_effect_at(["mail.send"]) is None
    assert await store.lease_effects(["mail.send"], limit=1, holder="w", now_ms=9_000, until_ms=9_001) == []


async def test_a_lease_that_ran_out_passes_on_with_a_higher_epoch(store: Store) -> None:
    await _with(store, "a")
    ((first, _),) = await _lease(store, 5_000)
    assert await _lease(store, 5_999) == []
    ((second, _),) = await _lease(store, 6_000)
    assert (second.attempt, second.lease_epoch) == (2, first.lease_epoch + 1)
    assert await store.extend_lease(key(), "a", first.lease_token, until_ms=9_000) is None
    extended = await store.extend_lease(key(), "a", second.lease_token, until_ms=9_000)
    assert extended == second._replace(scheduled_at_ms=9_000)
    assert await _lease(store, 8_999) == []


async def test_the_last_attempt_is_not_counted_up_when_its_lease_runs_out(store: Store) -> None:
    await _with(store, "a", max_attempts=1)
    await _lease(store, 5_000)
    ((row, exhausted),) = await _lease(store, 6_000)
    assert exhausted
    assert (row.attempt, row.lease_epoch) == (1, 2)


async def test_a_failed_attempt_is_given_back_for_later(store: Store) -> None:
    await _with(store, "a")
    ((row, _),) = await _lease(store, 5_000)
    retried = await store.retry_effect(
        key(), "a", row.lease_token, now_ms=5_500, scheduled_at_ms=7_000, error='{"reason":"X"}'
    )
    assert retried is not None
    assert (retried.state, retried.lease_token, retried.error) == ("retryable", "", '{"reason":"X"}')
    assert await store.extend_lease(key(), "a", row.lease_token, until_ms=9_000) is None
    assert (
        await store.retry_effect(key(), "a", row.lease_token, now_ms=1, scheduled_at_ms=1, error="{}") is None
    )
    assert await _lease(store, 6_999) == []
    ((again, _),) = await _lease(store, 7_000)
    assert again.attempt == 2


async def test_what_has_ended_is_never_leased(store: Store) -> None:
    await _with(store, "a", "b")
    ((row, _),) = await _lease(store, 5_000, limit=1)
    await store.commit(Writes(journal=[journal(key(), 2)], ends=[end(row, "cancelled", lease_token=None)]))
    assert [leased.row.effect_id for leased in await _lease(store, 50_000)] == ["b"]
    assert await store.extend_lease(key(), "a", row.lease_token, until_ms=90_000) is None
    assert (
        await store.retry_effect(key(), "a", row.lease_token, now_ms=1, scheduled_at_ms=1, error="{}") is None
    )
