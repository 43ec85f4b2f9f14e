"""Effects as messages: no field forgotten, spans within their bounds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from durachart.definitions.effect_spec import EffectSpec
from durachart.rpc import convert_effects as shown
from durachart.rpc.gen import effect_service_pb2 as pb
from durachart.runtime.effect_views import EffectAttempt, EffectRecord, EffectStep, LeasedEffect
from durachart.store.keys import InstanceKey

AT = datetime(2030, 1, 2, 3, 4, 5, 678000, UTC)
KEY = InstanceKey("ns", "order", "o-1")
STEP = EffectStep("send", "failed", 2, '{"n":1}', "BUSY", "later", AT, AT)
ATTEMPT = EffectAttempt(1, "w", AT, AT, "failed", "BUSY", "later")
RECORD = EffectRecord(
    key=KEY,
    uid="u" * 32,
    effect_id="e-1",
    type="charge",
    handler="payments.charge",
    state="discarded",
    priority=4,
    attempt=2,
    max_attempts=3,
    scheduled_at=AT,
    worker_id="w",
    params_json='{"n":1}',
    output_json="7",
    error_reason="BUSY",
    error_message="later",
    machine_version=5,
    traceparent="00-…",
    created_at=AT,
    finalized_at=AT,
    attempts=(ATTEMPT,),
    steps=(STEP,),
)
LEASED = LeasedEffect(
    key=KEY,
    uid="u" * 32,
    effect_id="e-1",
    type="charge",
    handler="payments.charge",
    params_json='{"n":1}',
    attempt=2,
    lease_token="2.secret",
    lease_expires_at=AT,
    created_at=AT,
    machine_version=5,
    traceparent="00-…",
    spec=EffectSpec("charge", "payments.charge", timeout_ms=1_500),
    max_attempts=3,
    steps=(STEP,),
)


def every_field_is_set(message: Message) -> bool:
    return {field.name for field, _ in message.ListFields()} == set(message.DESCRIPTOR.fields_by_name)


def test_an_effect_keeps_every_field() -> None:
    made = shown.effect(RECORD)
    assert every_field_is_set(made)
    assert every_field_is_set(made.attempts[0])
    assert every_field_is_set(made.steps[0])
    assert made.schedule_time.ToDatetime(UTC) == AT


def test_an_attempt_under_way_has_no_end_and_no_error() -> None:
    running = ATTEMPT._replace(ended_at=None, outcome="", error_reason="", error_message="")
    begun = STEP._replace(state="started", ended_at=None, output_json="", error_reason="", error_message="")
    record = RECORD._replace(
        state="running", finalized_at=None, error_reason="", attempts=(running,), steps=(begun,)
    )
    made = shown.effect(record)
    for message, unset in (
        (made, {"finalize_time", "error"}),
        (made.attempts[0], {"end_time", "outcome", "error"}),
        (made.steps[0], {"end_time", "output_json", "error"}),
    ):
        known = {field.name for field, _ in message.ListFields()}
        assert set(message.DESCRIPTOR.fields_by_name) - known == unset


def test_a_leased_effect_keeps_every_field() -> None:
    made = shown.leased_effect(LEASED)
    assert every_field_is_set(made)
    assert made.timeout.ToTimedelta() == timedelta(seconds=1.5)


@pytest.mark.parametrize("number", pb.EffectState.values())
def test_every_state_can_be_asked_for(number: int) -> None:
    state = shown.state_of(number)
    assert (state is None) == (number == pb.EFFECT_STATE_UNSPECIFIED)
    if state is not None:
        assert shown.effect(RECORD._replace(state=state)).state == number


@pytest.mark.parametrize(
    ("asked", "lasts"),
    [
        (None, timedelta(seconds=30)),
        (Duration(), timedelta(seconds=1)),
        (Duration(seconds=-5), timedelta(seconds=1)),
        (Duration(seconds=90), timedelta(seconds=90)),
        (Duration(seconds=4_000), timedelta(hours=1)),
        (Duration(seconds=2**62), timedelta(hours=1)),
    ],
)
def test_a_lease_lasts_within_its_bounds(asked: Duration | None, lasts: timedelta) -> None:
    assert shown.lease_of(asked or Duration(), asked is not None) == lasts


@pytest.mark.parametrize(("seconds", "waits_s"), [(0, 0), (-1, 0), (7, 7), (61, 60), (2**62, 60)])
def test_a_wait_is_bounded(seconds: int, waits_s: int) -> None:
    assert shown.wait_of(Duration(seconds=seconds)) == timedelta(seconds=waits_s)


@pytest.mark.parametrize(
    ("given", "ms"), [(Duration(), 0), (Duration(seconds=-3), 0), (Duration(seconds=3), 3_000)]
)
def test_a_delay_is_not_negative(given: Duration, ms: int) -> None:
    assert shown.delay_ms_of(given) == ms


def test_a_long_message_is_cut() -> None:
    error = shown.error_of(pb.EffectError(reason="BUSY", message="漢" * 5_000))
    assert error.message == "漢" * 4_096
