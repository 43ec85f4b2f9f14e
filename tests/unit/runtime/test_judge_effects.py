"""What becomes of effects and timers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from durachart.runtime.commands import EffectError, FinishEffect, FireTimer, ReviveEffect, StopEffect
from durachart.runtime.errors import EffectNotFound, EffectNotRetryable, InstanceNotFound, LeaseLost
from durachart.runtime.judge.moment import Moment
from durachart.runtime.judge.stepping import Verdict
from durachart.store.rows import EffectRow
from tests.unit.runtime.samples import START_MS, Trial, key

SYSTEM = "system"


@pytest.fixture
def trial() -> Trial:
    """An instance in ``working``, its effect leased."""
    made = Trial()
    made.create()
    made.send("GO")
    _lease(made)
    return made


def _lease(trial: Trial, token: str = "1.secret") -> EffectRow:
    (effect,) = trial.instance.effects
    leased = effect._replace(state="running", attempt=1, lease_token=token, lease_epoch=1)
    trial.seat = trial.seat._replace(instance=trial.instance._replace(effects=(leased,)))
    return leased


def _finish(
    trial: Trial, outcome: Any = "completed", *, stored: EffectRow | None = None, **given: Any
) -> Verdict:
    effect_id = trial.verdicts[1].outbox[0].effect_id
    command = FinishEffect(key(), effect_id, given.pop("token", "1.secret"), outcome, **given)
    verdict = trial.judge.effects.finish(trial.seat, command, stored, Moment(trial.now_ms, SYSTEM))
    return trial.take(verdict)


def _stop(trial: Trial, **given: Any) -> Verdict:
    return trial.take(trial.judge.effects.stop(trial.seat, StopEffect(key(), **given), trial.moment))


def _rows(verdict: Verdict) -> list[tuple[str, str, str, int, bool]]:
    return [
        (row.cause, row.event_type, row.outcome, row.to_version, row.changed)
        for row in (recorded.row for recorded in verdict.recorded)
    ]


def test_only_actions_with_an_entry_are_put_into_the_outbox() -> None:
    trial = Trial()
    trial.create()
    verdict = trial.send("GO")
    (effect,) = verdict.outbox
    assert (effect.effect_id, effect.handler, effect.params, effect.owner) == (
        f"{trial.instance.uid}-1-0",
        "payments.charge",
        '{"amount":1}',
        "job.working",
    )
    assert (effect.state, effect.attempt, effect.max_attempts, effect.cancel_on_exit) == (
        "available",
        0,
        2,
        True,
    )
    (shown,) = verdict.recorded[-1].effects
    assert (shown.effect_id, shown.type) == (effect.effect_id, "charge")
    row = verdict.recorded[-1].row
    assert row.running_effects is not None


def test_a_completion_ends_the_effect_and_the_machine_hears_of_it(trial: Trial) -> None:
    verdict = _finish(trial, output_json='{"receipt":"abc"}')
    assert _rows(verdict) == [("effect", "PAID", "accepted", 2, True)]
    row = verdict.recorded[-1].row
    assert row.actor == SYSTEM
    assert json.loads(row.data) == {
        "effect_id": trial.verdicts[1].outbox[0].effect_id,
        "output": {"receipt": "abc"},
    }
    (end,) = verdict.ends
    assert (end.state, end.output, end.lease_token) == ("completed", '{"receipt":"abc"}', "1.secret")
    # The final state's own effect is its last word: it is not cancelled by the end of the machine.
    assert [effect.type for effect in trial.instance.effects] == ["mail"]
    assert json.loads(trial.instance.context_json)["n"] == 3


@pytest.mark.parametrize(
    ("outcome", "event", "state"),
    [("failed", "REFUSED", "discarded"), ("rejected", "BROKEN", "discarded")],
)
def test_a_failure_carries_its_error(trial: Trial, outcome: str, event: str, state: str) -> None:
    verdict = _finish(trial, outcome, error=EffectError("CARD_DECLINED", "The card was declined."))
    row = verdict.recorded[0].row
    assert (row.event_type, verdict.ends[0].state) == (event, state)
    assert json.loads(row.data)["error"] == {
        "reason": "CARD_DECLINED",
        "message": "The card was declined.",
    }


def test_another_leases_token_ends_nothing(trial: Trial) -> None:
    verdict = _finish(trial, token="0.other")
    assert isinstance(verdict.error, LeaseLost)
    assert (verdict.recorded, verdict.ends) == ((), ())
    assert len(trial.instance.effects) == 1


def test_a_completion_whose_event_fails_is_consumed(trial: Trial) -> None:
    verdict = _finish(trial, output_json="{}")
    assert verdict.error is None
    assert _rows(verdict) == [
        ("effect", "PAID", "refused", 1, False),
        ("effect", "PAID", "accepted", 2, False),
    ]
    refused, consumed = (recorded.row for recorded in verdict.recorded)
    assert refused.reason == "EVALUATION_FAILED"
    assert json.loads(consumed.details) == {"consumed": True}
    assert trial.instance.value_json == '"working"'
    assert (trial.instance.effects, len(verdict.ends)) == ((), 1)


def test_a_completion_that_selects_nothing_is_a_version_without_change(trial: Trial) -> None:
    (effect,) = trial.instance.effects
    left = trial.instance._replace(effects=(effect._replace(cancel_on_exit=False),))
    trial.seat = trial.seat._replace(instance=left)
    trial.send("LEAVE")
    verdict = _finish(trial, output_json="{}")
    assert _rows(verdict) == [("effect", "PAID", "accepted", 3, False)]
    assert trial.instance.effects == ()


def test_leaving_the_state_cancels_its_effect_in_the_same_step(trial: Trial) -> None:
    verdict = trial.send("LEAVE")
    (end,) = verdict.ends
    assert (end.state, end.lease_token) == ("cancelled", None)
    assert trial.instance.effects == ()


def test_the_late_end_of_a_cancelled_effect_is_journaled_and_lost(trial: Trial) -> None:
    leased = trial.instance.effects[0]
    trial.send("LEAVE")
    stored = leased._replace(state="cancelled", finalized_at_ms=START_MS)
    verdict = _finish(trial, stored=stored, output_json='{"receipt":"abc"}')
    assert isinstance(verdict.error, LeaseLost)
    assert _rows(verdict) == [("effect", "", "refused", 2, False)]
    assert verdict.recorded[0].row.reason == "LEASE_LOST"
    assert verdict.late is not None
    assert verdict.late.output == '{"receipt":"abc"}'
    # The store forgets the lease then, so a second report is no news.
    again = _finish(trial, stored=stored._replace(lease_token=""))
    assert (type(again.error), again.recorded) == (LeaseLost, ())


def test_the_same_completion_twice_is_one(trial: Trial) -> None:
    leased = trial.instance.effects[0]
    _finish(trial, output_json='{"receipt":"abc"}')
    stored = leased._replace(state="completed", finalized_at_ms=START_MS)
    again = _finish(trial, stored=stored, output_json='{"receipt":"abc"}')
    assert (again.error, again.recorded, again.ends) == (None, (), ())


def test_an_effect_that_ends_after_its_machine_is_final_and_a_refusal(trial: Trial) -> None:
    _finish(trial, output_json='{"receipt":"abc"}')
    mail = trial.instance.effects[0]._replace(lease_token="1.mail")
    trial.seat = trial.seat._replace(instance=trial.instance._replace(effects=(mail,)))
    command = FinishEffect(key(), mail.effect_id, "1.mail", "completed")
    verdict = trial.take(trial.judge.effects.finish(trial.seat, command, None, Moment(START_MS, SYSTEM)))
    assert verdict.error is None
    assert _rows(verdict) == [("effect", "", "refused", 2, False)]
    assert verdict.recorded[0].row.reason == "INSTANCE_FINISHED"
    assert (len(verdict.ends), trial.instance.effects) == (1, ())


def test_a_stop_cancels_the_effect_and_sends_its_event(trial: Trial) -> None:
    effect_id = trial.instance.effects[0].effect_id
    verdict = _stop(trial)
    assert (verdict.done, verdict.effect_id) == (True, effect_id)
    assert _rows(verdict) == [("effect", "STOPPED", "accepted", 2, True)]
    row = verdict.recorded[0].row
    assert row.actor == "ada"
    assert json.loads(row.data)["error"]["reason"] == "STOPPED"
    assert [end.state for end in verdict.ends] == ["cancelled"]
    assert trial.instance.value_json == '"idle"'


def test_a_second_stop_finds_nothing_to_stop(trial: Trial) -> None:
    _stop(trial)
    for given in ({}, {"effect_id": trial.verdicts[1].outbox[0].effect_id}, {"handler": "llm.generate"}):
        verdict = _stop(trial, **given)
        assert (verdict.done, verdict.recorded, verdict.error) == (False, (), None)


def test_a_stop_takes_only_the_handler_and_effect_it_names(trial: Trial) -> None:
    assert not _stop(trial, handler="llm.generate").done
    assert not _stop(trial, effect_id="another").done
    assert _stop(trial, handler="payments.charge").done


def test_a_stop_of_nobody() -> None:
    verdict = _stop(Trial())
    assert isinstance(verdict.error, InstanceNotFound)


def _fire(trial: Trial, **given: Any) -> Verdict:
    (timer,) = trial.instance.snapshot.timers
    command = FireTimer(key(), trial.instance.uid, timer.key, timer.sequence)._replace(**given)
    return trial.take(trial.judge.timers.fire(trial.seat, command, Moment(trial.now_ms, SYSTEM)))


def test_a_timer_never_fires_early(trial: Trial) -> None:
    trial.now_ms = START_MS + 59_999
    assert not _fire(trial).done
    trial.now_ms = START_MS + 60_000
    verdict = _fire(trial)
    assert verdict.done
    assert _rows(verdict) == [("timer", "xstate.after.60000.job.working", "accepted", 2, True)]
    assert verdict.recorded[0].row.actor == SYSTEM
    assert trial.instance.value_json == '"late"'
    assert trial.instance.snapshot.timers == ()


@pytest.mark.parametrize("given", [{"sequence": 7}, {"uid": "x" * 32}, {"timer_key": "none"}])
def test_only_exactly_this_arming_fires(trial: Trial, given: dict[str, Any]) -> None:
    trial.now_ms = START_MS + 60_000
    verdict = _fire(trial, **given)
    assert (verdict.done, verdict.recorded) == (False, ())


def test_a_timer_of_an_earlier_stay_does_not_fire_in_a_later_one(trial: Trial) -> None:
    uid, old = trial.instance.uid, trial.instance.snapshot.timers[0]
    trial.send("LEAVE")
    trial.send("GO")
    trial.now_ms = START_MS + 60_000
    stale = FireTimer(key(), uid, old.key, old.sequence)
    assert not trial.judge.timers.fire(trial.seat, stale, Moment(trial.now_ms, SYSTEM)).done


def test_a_timer_whose_event_fails_is_consumed(trial: Trial) -> None:
    trial.now_ms = START_MS + 60_000
    _fire(trial)
    trial.send("WAIT")
    trial.now_ms += 1_000
    verdict = _fire(trial)
    assert verdict.done
    assert [row[2:] for row in _rows(verdict)] == [("refused", 3, False), ("accepted", 4, False)]
    assert trial.instance.value_json == '"waiting"'
    assert trial.instance.snapshot.timers == ()
    assert json.loads(verdict.recorded[1].row.details)["consumed"] is True


# --- dead letters -------------------------------------------------------------------------------------------


def _dead(trial: Trial) -> EffectRow:
    """The effect's row after its last attempt failed for good; the machine is back in ``idle``."""
    (running,) = trial.instance.effects
    (end,) = _finish(trial, "failed", error=EffectError("X", "It failed.")).ends
    return running._replace(state=end.state, finalized_at_ms=end.finalized_at_ms, error=end.error, attempt=2)


def _revive(trial: Trial, stored: EffectRow | None, **given: Any) -> Verdict:
    command = ReviveEffect(key(), stored.effect_id if stored else "nobody", **given)
    return trial.take(trial.judge.effects.revive(trial.seat, command, stored, trial.moment))


def test_a_dead_letter_is_given_back_in_a_version_that_changes_nothing_else(trial: Trial) -> None:
    """D4, D10: recovery by an operator is journaled."""
    dead = _dead(trial)
    trial.now_ms += 500
    before = trial.instance
    verdict = _revive(trial, dead, request_id="r-1")
    (recorded,) = verdict.recorded
    row = recorded.row
    assert _rows(verdict) == [("effect", "", "accepted", before.version + 1, False)]
    assert (row.actor, row.request_id, row.from_value, row.to_value) == ("ada", "r-1", '"idle"', '"idle"')
    assert json.loads(row.details or "") == {"retried": dead.effect_id}
    assert row.context in (None, before.context_json)
    assert verdict.revived == dead._replace(
        state="available", max_attempts=4, scheduled_at_ms=trial.now_ms, lease_token="", finalized_at_ms=None
    )
    assert trial.instance.effects == (verdict.revived,)
    assert json.loads(row.running_effects or "")[0][0] == dead.effect_id


def test_the_machine_hears_of_the_end_of_a_revived_effect_as_of_the_first_time(trial: Trial) -> None:
    dead = _dead(trial)
    _revive(trial, dead)
    _lease(trial, "2.secret")
    verdict = _finish(trial, "failed", token="2.secret", error=EffectError("X", "Again."))
    assert _rows(verdict) == [("effect", "REFUSED", "accepted", 4, False)]
    assert trial.instance.effects == ()


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("completed", "has completed"),
        ("cancelled", "was cancelled"),
        ("available", "has not ended"),
        ("running", "has not ended"),
        ("retryable", "has not ended"),
    ],
)
def test_only_what_was_discarded_can_be_given_back(trial: Trial, state: str, why: str) -> None:
    stored = _dead(trial)._replace(state=state)
    version = trial.instance.version
    verdict = _revive(trial, stored)
    assert isinstance(verdict.error, EffectNotRetryable)
    assert why in verdict.error.message
    assert _rows(verdict) == [("effect", "", "refused", version, False)]
    assert verdict.recorded[0].row.reason == "EFFECT_NOT_RETRYABLE"


def test_nothing_is_given_back_to_an_instance_that_would_not_hear_of_its_end(trial: Trial) -> None:
    (running,) = trial.instance.effects
    _finish(trial, output_json='{"receipt":"r"}')
    assert trial.instance.snapshot.status == "done"
    dead = running._replace(state="discarded", finalized_at_ms=trial.now_ms)
    finished = _revive(trial, dead)
    assert isinstance(finished.error, EffectNotRetryable)
    assert "has finished" in finished.error.message
    other = _revive(trial, dead._replace(uid="another"))
    assert isinstance(other.error, EffectNotRetryable)
    assert "was deleted" in other.error.message
    trial.seat = trial.seat._replace(instance=None)
    gone = trial.judge.effects.revive(trial.seat, ReviveEffect(key(), dead.effect_id), dead, trial.moment)
    assert isinstance(gone.error, EffectNotRetryable)
    assert gone.recorded == ()


def test_what_was_never_asked_for_cannot_be_given_back(trial: Trial) -> None:
    verdict = trial.judge.effects.revive(trial.seat, ReviveEffect(key(), "nobody"), None, trial.moment)
    assert isinstance(verdict.error, EffectNotFound)
    assert verdict.recorded == ()


def test_another_end_under_the_same_lease_is_lost(trial: Trial) -> None:
    (running,) = trial.instance.effects
    _finish(trial, "failed", error=EffectError("X", "It failed."))
    ended = running._replace(state="discarded", finalized_at_ms=trial.now_ms)
    assert _finish(trial, "failed", stored=ended, error=EffectError("X", "It failed.")).error is None
    late = _finish(trial, stored=ended)
    assert isinstance(late.error, LeaseLost)
    assert "was discarded" in late.error.message
