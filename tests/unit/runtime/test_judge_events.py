"""What becomes of creations and events."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from durachart.runtime.errors import (
    EvaluationFailed,
    EventNotAllowed,
    GuardRejected,
    InstanceExists,
    InstanceFinished,
    InstanceNotFound,
    PayloadInvalid,
    VersionConflict,
)
from durachart.runtime.judge.refusals import refusal_of
from durachart.runtime.judge.stepping import Verdict
from durachart.runtime.settings import RuntimeSettings
from durachart.store.chain import first_broken
from tests.unit.runtime.samples import START_MS, Trial, key


@pytest.fixture
def trial() -> Trial:
    made = Trial()
    made.create()
    return made


def _row(verdict: Verdict) -> Any:
    return verdict.recorded[-1].row


def _refusal(verdict: Verdict, error: type[Exception]) -> Any:
    """The verdict's error, after the checks that hold for every refusal."""
    assert isinstance(verdict.error, error)
    row = _row(verdict)
    assert (row.outcome, row.reason, row.message) == ("refused", verdict.error.reason, verdict.error.message)
    assert row.to_version == row.from_version
    assert row.to_value == row.from_value
    assert (verdict.outbox, verdict.ends) == ((), ())
    rebuilt = refusal_of(row)
    assert type(rebuilt) is type(verdict.error)
    assert vars(rebuilt) == vars(verdict.error)
    return verdict.error


def test_a_creation_is_version_0_and_the_first_row() -> None:
    trial = Trial()
    verdict = trial.create('{"who":"ada"}', labels={"team": "red"}, request_id="r")
    row = _row(verdict)
    assert (row.seq, row.cause, row.outcome, row.from_version, row.to_version) == (
        1,
        "create",
        "accepted",
        0,
        0,
    )
    assert (row.from_value, row.to_value, row.data, row.actor) == ("", '"idle"', '{"who":"ada"}', "ada")
    assert (row.labels, row.request_id, row.at_ms) == ('{"team":"red"}', "r", START_MS)
    assert trial.instance.context_json == '{"n":0,"who":"ada"}'
    assert trial.instance.uid == row.uid == "1".rjust(32, "0")


def test_every_accepted_event_is_one_version_and_one_row(trial: Trial) -> None:
    for version in range(1, 5):
        row = _row(trial.send("ADD", {"by": version}))
        assert (row.seq, row.from_version, row.to_version) == (version + 1, version - 1, version)
        assert json.loads(trial.instance.context_json)["n"] == sum(range(version + 1))


def test_changed_says_whether_the_state_differs(trial: Trial) -> None:
    assert _row(trial.send("ADD")).changed is True
    told = trial.send("TELL")
    assert _row(told).changed is False
    assert trial.instance.version == 2
    (effect,) = told.recorded[-1].effects
    assert (effect.effect_id, effect.type, effect.params_json, effect.emitted) == (
        "",
        "TOLD",
        '{"type":"TOLD","n":1}',
        True,
    )


def test_an_event_no_state_handles(trial: Trial) -> None:
    error = _refusal(trial.send("PAID"), EventNotAllowed)
    assert (error.event_type, error.value_json, error.version) == ("PAID", '"idle"', 0)
    assert error.allowed_events == ("ADD", "DIVIDE", "GO", "NOTE", "TELL")
    assert error.guards == ()


def test_a_forbidden_event_is_not_allowed(trial: Trial) -> None:
    _refusal(trial.send("FORBIDDEN"), EventNotAllowed)


def test_an_event_whose_guard_is_false_names_the_guard(trial: Trial) -> None:
    error = _refusal(trial.send("IF_POSITIVE"), GuardRejected)
    assert error.guards == ("positive",)
    assert "positive" in error.message
    trial.send("ADD")
    assert trial.send("IF_POSITIVE").error is None


def test_an_expression_that_fails_leaves_the_instance_as_it_was(trial: Trial) -> None:
    before = trial.instance
    error = _refusal(trial.send("DIVIDE"), EvaluationFailed)
    assert "division by zero" in error.message
    assert trial.instance is before
    assert trial.send("ADD").error is None


def test_a_stale_version_shows_expected_and_found(trial: Trial) -> None:
    trial.send("ADD")
    error = _refusal(trial.send("ADD", expected_version=0), VersionConflict)
    assert (error.expected_version, error.actual_version, error.value_json) == (0, 1, '"idle"')
    assert trial.send("ADD", expected_version=1).error is None


@pytest.mark.parametrize(
    ("data", "path", "said"),
    [
        ('{"by":', "", "not valid JSON"),
        ("[1]", "", "must be a JSON object, not an array"),
        ('"x"', "", "must be a JSON object, not a string"),
        ('{"type":"GO"}', "/type", "event's own key"),
        ('{"by":"x"}', "/by", '"x" is not of type "integer"'),
        ('{"by":NaN}', "", "not valid JSON"),
        ('{"by":123456789012345678901}', "", "does not fit into 64 bits"),
        ('{"by":' + "[" * 64 + "]" * 64 + "}", "", "nested more than 64 levels deep"),
    ],
)
def test_a_payload_that_does_not_fit(trial: Trial, data: str, path: str, said: str) -> None:
    error = _refusal(trial.send("ADD", data), PayloadInvalid)
    assert error.field == "event.data_json"
    ((found_path, message),) = error.violations
    assert found_path == path
    assert said in message


def test_what_cannot_be_kept_as_json_is_journaled_by_its_hash(trial: Trial) -> None:
    row = _row(trial.send("ADD", '{"by":'))
    assert (row.data, row.data_hash) == ("", hashlib.sha256(b'{"by":').hexdigest())
    row = _row(trial.send("ADD", '{"by":"x"}'))
    assert (row.data, row.data_hash) == ('{"by":"x"}', "")


def test_a_payload_over_the_limit_is_refused_unread() -> None:
    trial = Trial(RuntimeSettings(max_event_bytes=20))
    trial.create()
    assert trial.send("NOTE", '{"who":"12345678"}').error is None
    error = _refusal(trial.send("NOTE", '{"who":"é2345678901"}'), PayloadInvalid)
    assert "is 22 bytes long; at most 20 are taken" in error.message
    assert _row(trial.verdicts[-1]).data == ""


def test_a_context_over_the_limit_is_refused() -> None:
    trial = Trial(RuntimeSettings(max_context_bytes=40))
    trial.create()
    error = _refusal(trial.send("NOTE", {"who": "x" * 40}), EvaluationFailed)
    assert "the context would be larger than 40 bytes" in error.message


@pytest.mark.parametrize("text", ["1e999", "-1e999"])
def test_a_number_that_is_not_finite_never_gets_in(trial: Trial, text: str) -> None:
    # orjson reads it as infinite or refuses it; either way nothing of it is stored.
    verdict = trial.send("NOTE", f'{{"who":{text}}}')
    assert verdict.error is not None
    assert trial.instance.version == 0


def test_a_payload_is_judged_before_the_version_and_the_version_before_the_machine(trial: Trial) -> None:
    _refusal(trial.send("ADD", '{"by":"x"}', expected_version=9), PayloadInvalid)
    _refusal(trial.send("PAID", expected_version=9), VersionConflict)


def test_creating_what_exists_is_refused_and_journaled(trial: Trial) -> None:
    error = _refusal(trial.create(), InstanceExists)
    assert error.key == key()
    row = _row(trial.verdicts[-1])
    assert (row.uid, row.from_version, row.to_value) == ("", 0, "")
    assert trial.instance.version == 0


def test_an_input_that_does_not_fit_makes_no_instance_but_a_row() -> None:
    trial = Trial()
    error = _refusal(trial.create('{"who":1}'), PayloadInvalid)
    assert error.field == "input_json"
    assert trial.seat.instance is None
    assert trial.create('{"who":"ada"}').error is None
    assert _row(trial.verdicts[-1]).seq == 2


def test_an_event_for_nobody_leaves_no_row() -> None:
    verdict = Trial().send("ADD")
    assert isinstance(verdict.error, InstanceNotFound)
    assert verdict.recorded == ()


def test_create_if_missing_journals_version_0_before_the_event() -> None:
    trial = Trial()
    verdict = trial.send("ADD", {"by": 2}, create_if_missing=True, input_json='{"who":"ada"}', request_id="r")
    rows = [recorded.row for recorded in verdict.recorded]
    assert [(row.seq, row.cause, row.to_version, row.request_id) for row in rows] == [
        (1, "create", 0, "r"),
        (2, "event", 1, "r"),
    ]
    assert trial.instance.context_json == '{"n":2,"who":"ada"}'
    assert len(trial.send("ADD", create_if_missing=True, input_json="not looked at").recorded) == 1


def test_create_if_missing_keeps_the_instance_whose_event_is_refused() -> None:
    trial = Trial()
    verdict = trial.send("PAID", create_if_missing=True)
    assert isinstance(verdict.error, EventNotAllowed)
    assert [recorded.row.outcome for recorded in verdict.recorded] == ["accepted", "refused"]
    assert trial.instance.version == 0


def test_create_if_missing_with_a_bad_input_makes_nothing() -> None:
    trial = Trial()
    verdict = trial.send("ADD", create_if_missing=True, input_json="{")
    assert isinstance(verdict.error, PayloadInvalid)
    assert len(verdict.recorded) == 1
    assert trial.seat.instance is None


def test_a_finished_instance_takes_no_event(trial: Trial) -> None:
    trial.send("GO")
    trial.send("PAID", {"output": {"receipt": "abc"}})
    assert trial.instance.snapshot.status == "done"
    error = _refusal(trial.send("ADD"), InstanceFinished)
    assert (error.version, error.allowed_events) == (2, ())


def test_the_recorded_instant_never_goes_back(trial: Trial) -> None:
    trial.now_ms = START_MS - 5_000
    assert _row(trial.send("ADD")).at_ms == START_MS
    trial.send("GO")
    (timer,) = trial.instance.snapshot.timers
    assert timer.due_at_ms == START_MS + 60_000
    trial.now_ms = START_MS + 7
    assert _row(trial.send("NOPE")).at_ms == START_MS + 7
    trial.now_ms = START_MS
    assert _row(trial.send("NOPE")).at_ms == START_MS + 7


def test_the_journal_is_one_unbroken_chain(trial: Trial) -> None:
    for event in ("ADD", "PAID", "IF_POSITIVE", "DIVIDE", "GO", "LEAVE"):
        trial.send(event)
    rows = [recorded.row for verdict in trial.verdicts for recorded in verdict.recorded]
    assert [row.seq for row in rows] == list(range(1, 8))
    assert first_broken(rows) is None
    tampered = [rows[0], rows[1]._replace(actor="mallory"), *rows[2:]]
    assert first_broken(tampered) is tampered[1]
    assert first_broken([rows[0], *rows[2:]]) is rows[2]


def test_a_result_is_whole_when_it_is_small_and_a_patch_when_it_is_not() -> None:
    trial = Trial(RuntimeSettings(whole_context_bytes=100, snapshot_every=5))
    trial.create()
    assert _row(trial.send("ADD")).context == '{"n":1,"who":null}'
    whole = _row(trial.send("NOTE", {"who": "x" * 200}))
    assert whole.context is not None
    patch = _row(trial.send("ADD"))
    assert (patch.context, json.loads(patch.context_patch)) == (None, {"set": {"n": 2}})
    assert patch.snapshot_seq == whole.seq
    silent = _row(trial.send("TELL"))
    assert (silent.context, silent.context_patch, silent.snapshot_seq) == (None, None, whole.seq)
    fifth = _row(trial.send("ADD"))
    assert (fifth.to_version, fifth.context_patch, fifth.snapshot_seq) == (5, None, fifth.seq)
    assert json.loads(fifth.context)["n"] == 3
