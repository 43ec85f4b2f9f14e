"""Priorities, attempts, steps and dead letters: what is kept of effects beside their rows."""

from __future__ import annotations

from typing import Any

import pytest

from durachart.store.interface import (
    EffectMatch,
    EffectPosition,
    EffectRevival,
    Leased,
    Store,
    Writes,
)
from durachart.store.rows import EffectRow, StepRow
from tests.store.stored_rows import created, effect, end, journal, key

CHARGE = ["payments.charge"]
ERROR = '{"reason":"BUSY","message":"later"}'


async def _with(store: Store, *rows: EffectRow) -> None:
    writes = created(key())
    writes.effects.extend(rows)
    await store.commit(writes)


async def _lease(
    store: Store, now_ms: int, *, limit: int = 10, holder: str = "w", lease_ms: int = 1_000
) -> list[Leased]:
    return await store.lease_effects(
        CHARGE, limit=limit, holder=holder, now_ms=now_ms, until_ms=now_ms + lease_ms
    )


async def _attempts(store: Store, effect_id: str = "a") -> list[tuple[Any, ...]]:
    details = await store.get_effect_details(key(), effect_id)
    assert details is not None
    return [
        (row.attempt, row.lease_holder, row.started_at_ms, row.ended_at_ms, row.outcome, row.error)
        for row in details.attempts
    ]


def _step(name: str, state: str = "started", at_ms: int = 5_000, **given: Any) -> StepRow:
    ended = None if state == "started" else at_ms
    row = StepRow(*effect(key(), "a")[:5], name, 0, 1, state, None, None, at_ms, ended)
    return row._replace(**given)


async def test_effects_are_leased_by_priority_and_then_those_that_wait_longest(store: Store) -> None:
    """D10: prioritised recovery."""
    waiting = {"late": (3, 1_000), "b": (2, 1_002), "a": (2, 1_001), "first": (1, 1_003), "last": (4, 900)}
    await _with(
        store,
        *(
            effect(key(), name, ordinal=n, priority=priority, scheduled_at_ms=at_ms)
            for n, (name, (priority, at_ms)) in enumerate(waiting.items())
        ),
    )
    found = [leased.row.effect_id for leased in await _lease(store, 5_000, limit=3)]
    assert found == ["first", "a", "b"]
    assert [leased.row.effect_id for leased in await _lease(store, 5_000)] == ["late", "last"]
    assert await store.next_effect_at(CHARGE) == 6_000


async def test_the_next_instant_is_the_soonest_of_all_priorities(store: Store) -> None:
    await _with(
        store,
        effect(key(), "a", priority=1, scheduled_at_ms=9_000),
        effect(key(), "b", priority=4, scheduled_at_ms=8_000),
        effect(key(), "c", priority=4, scheduled_at_ms=1_000, finalized_at_ms=2_000, state="completed"),
    )
    assert await store.next_effect_at([*CHARGE, *(f"other.{n}" for n in range(60))]) == 8_000


async def test_each_attempt_is_kept_with_its_end(store: Store) -> None:
    """D2: started, completed, error."""
    await _with(store, effect(key(), "a", max_attempts=5))
    ((first, _),) = await _lease(store, 5_000, holder="w1")
    assert first.attempted_at_ms == 5_000
    assert await _attempts(store) == [(1, "w1", 5_000, None, "", None)]
    await store.retry_effect(key(), "a", first.lease_token, now_ms=5_500, scheduled_at_ms=5_600, error=ERROR)
    ((second, _),) = await _lease(store, 6_000, holder="w2")
    ((third, _),) = await _lease(store, 7_500, holder="w3")
    await store.commit(
        Writes(
            journal=[journal(key(), 2)],
            ends=[end(third, finalized_at_ms=8_000, outcome="completed")],
        )
    )
    assert await _attempts(store) == [
        (1, "w1", 5_000, 5_500, "failed", ERROR),
        (2, "w2", 6_000, 7_500, "lost", None),
        (3, "w3", 7_500, 8_000, "completed", None),
    ]
    assert second.attempt == 2


async def test_an_effect_without_attempts_has_none_and_one_that_is_not_there_is_none(store: Store) -> None:
    await _with(store, effect(key(), "a"))
    assert await _attempts(store) == []
    assert await store.get_effect_details(key(), "b") is None
    assert await store.get_effect_details(key("other"), "a") is None


async def test_a_cancelled_effect_ends_its_attempt(store: Store) -> None:
    await _with(store, effect(key(), "a"), effect(key(), "b", ordinal=1, scheduled_at_ms=9_000))
    ((row, _),) = await _lease(store, 5_000)
    ends = [
        end(each, "cancelled", lease_token=None, outcome="cancelled") for each in (row, effect(key(), "b"))
    ]
    await store.commit(Writes(journal=[journal(key(), 2)], ends=ends))
    assert [attempt[4] for attempt in await _attempts(store)] == ["cancelled"]
    assert await _attempts(store, "b") == []


async def test_the_last_attempt_that_was_lost_is_ended_once_and_no_other_begun(store: Store) -> None:
    await _with(store, effect(key(), "a", max_attempts=1))
    await _lease(store, 5_000, holder="w1")
    ((row, exhausted),) = await _lease(store, 6_000, holder="w2")
    assert exhausted
    assert (row.attempt, row.attempted_at_ms) == (1, 5_000)
    ((row, exhausted),) = await _lease(store, 7_000, holder="w3")
    assert exhausted
    ending = end(row, "discarded", error=ERROR, finalized_at_ms=7_100, outcome="failed")
    await store.commit(Writes(journal=[journal(key(), 2)], ends=[ending]))
    assert await _attempts(store) == [(1, "w1", 5_000, 6_000, "lost", None)]


async def test_an_attempt_that_is_not_to_count_leaves_room_for_another(store: Store) -> None:
    await _with(store, effect(key(), "a", max_attempts=1))
    ((row, _),) = await _lease(store, 5_000)
    retried = await store.retry_effect(
        key(), "a", row.lease_token, now_ms=5_100, scheduled_at_ms=5_100, error=ERROR, more_attempts=1
    )
    assert retried is not None
    assert (retried.max_attempts, retried.lease_holder) == (2, "w")
    ((row, exhausted),) = await _lease(store, 5_200)
    assert not exhausted
    assert row.attempt == 2


async def test_a_dead_letter_is_given_back_once(store: Store) -> None:
    """D4, D10: an operator's retry."""
    await _with(store, effect(key(), "a", max_attempts=1))
    ((row, _),) = await _lease(store, 5_000)
    ending = end(row, "discarded", error=ERROR, finalized_at_ms=5_100, outcome="failed")
    await store.commit(Writes(journal=[journal(key(), 2)], ends=[ending]))
    stored = await store.get_effect(key(), "a")
    assert stored is not None
    back = stored._replace(
        state="available", max_attempts=4, scheduled_at_ms=6_000, lease_token="", finalized_at_ms=None
    )
    revival = Writes(journal=[journal(key(), 3)], revivals=[EffectRevival(back)])
    assert not (await store.commit(revival)).stale
    assert await store.get_effect(key(), "a") == back
    again = Writes(journal=[journal(key(), 4)], revivals=[EffectRevival(back)])
    assert (await store.commit(again)).stale == {key()}
    stored_instance = await store.get_instance(key())
    assert stored_instance is not None
    assert [running.effect_id for running in stored_instance.effects] == ["a"]
    ((row, exhausted),) = await _lease(store, 6_000)
    assert not exhausted
    assert (row.attempt, row.lease_epoch, row.error) == (2, 2, ERROR)
    assert [attempt[4] for attempt in await _attempts(store)] == ["failed", ""]


async def test_steps_are_kept_in_order_and_a_completed_one_stays_as_it_is(store: Store) -> None:
    """D3: a completed step is skipped on retry."""
    await _with(store, effect(key(), "a"))
    ((row, _),) = await _lease(store, 5_000)
    begun = await store.record_step(_step("zeta"), row.lease_token)
    assert begun == _step("zeta", ordinal=1)
    assert await store.record_step(_step("alpha"), row.lease_token) == _step("alpha", ordinal=2)
    failed = _step("alpha", "failed", 5_200, error=ERROR, attempt=2)
    kept = await store.record_step(failed, row.lease_token)
    assert kept == failed._replace(ordinal=2, started_at_ms=5_000)
    done = await store.record_step(_step("zeta", "completed", 5_300, output="41"), row.lease_token)
    assert done == _step("zeta", "completed", 5_300, output="41", ordinal=1, started_at_ms=5_000)
    later = _step("zeta", "failed", 5_400, error=ERROR, attempt=2)
    assert await store.record_step(later, row.lease_token) == done
    begun_again = await store.record_step(_step("alpha", at_ms=5_500, attempt=2), row.lease_token)
    assert begun_again == _step("alpha", ordinal=2, attempt=2)
    assert await store.list_steps(key(), ["a", "b"]) == [done, begun_again]
    assert await store.list_steps(key("other"), ["a"]) == []
    details = await store.get_effect_details(key(), "a")
    assert details is not None
    assert details.steps == (done, begun_again)
    assert await store.count_steps(key(), "a", but="zeta") == 1
    assert await store.count_steps(key(), "a", but="new") == 2


async def test_a_step_is_recorded_only_under_the_lease(store: Store) -> None:
    await _with(store, effect(key(), "a"))
    ((first, _),) = await _lease(store, 5_000)
    ((second, _),) = await _lease(store, 6_000)
    assert await store.record_step(_step("s"), first.lease_token) is None
    assert await store.record_step(_step("s"), "") is None
    assert await store.record_step(_step("s"), second.lease_token) is not None
    await store.commit(Writes(journal=[journal(key(), 2)], ends=[end(second, outcome="completed")]))
    assert await store.record_step(_step("t"), second.lease_token) is None
    assert [step.name for step in await store.list_steps(key(), ["a"])] == ["s"]


async def _listed(store: Store, match: EffectMatch, page: int = 2) -> list[str]:
    found: list[str] = []
    after = None
    while True:
        rows = await store.list_effects(match, after, page)
        found += [f"{row.instance_id}/{row.effect_id}" for row in rows]
        if len(rows) < page:
            return found
        last = rows[-1]
        after = EffectPosition(*(getattr(last, name) for name in EffectPosition._fields))


@pytest.fixture
async def listed(store: Store) -> Store:
    """Two machines' effects in several states."""
    a, b, other = key("a"), key("b"), key("a", "other")
    writes = created(a, b, other)
    writes.effects.extend(
        [
            effect(a, "z", ordinal=0),
            effect(a, "y", ordinal=1, state="discarded", finalized_at_ms=2_000),
            effect(a, "x", version=2, state="cancelled", finalized_at_ms=2_000),
            effect(b, "w", state="discarded", finalized_at_ms=2_000, handler="mail.send"),
            effect(other, "v", state="discarded", finalized_at_ms=2_000),
        ]
    )
    elsewhere = created(key("a", namespace="eu"))
    elsewhere.effects.append(effect(key("a", namespace="eu"), "u", state="discarded", finalized_at_ms=2_000))
    await store.commit(writes)
    await store.commit(elsewhere)
    return store


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (EffectMatch(""), {"a/z", "a/y", "a/x", "b/w", "a/v"}),
        (EffectMatch("eu"), {"a/u"}),
        (EffectMatch("", "order"), {"a/z", "a/y", "a/x", "b/w"}),
        (EffectMatch("", state="discarded"), {"a/y", "b/w", "a/v"}),
        (EffectMatch("", "order", state="discarded"), {"a/y", "b/w"}),
        (EffectMatch("", handler="mail.send"), {"b/w"}),
        (EffectMatch("", state="available"), {"a/z"}),
        (EffectMatch("", "order", "b", "payments.charge"), set()),
    ],
)
async def test_lists_hold_what_matches_once(listed: Store, match: EffectMatch, expected: set[str]) -> None:
    for page in (1, 2, 100):
        found = await _listed(listed, match, page)
        assert len(found) == len(set(found))
        assert set(found) == expected


async def test_an_instances_effects_come_in_the_order_in_which_they_were_asked_for(listed: Store) -> None:
    assert await _listed(listed, EffectMatch("", "order", "a")) == ["a/z", "a/y", "a/x"]
