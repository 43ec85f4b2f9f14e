"""Between views and messages, field for field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration

from durachart.definitions.findings import Finding
from durachart.rpc import convert
from durachart.rpc.context import CallContext
from durachart.rpc.gen import token_service_pb2 as tokens
from durachart.rpc.gen import types_pb2 as types
from durachart.runtime.commands import Caller
from durachart.runtime.generation.frames import (
    GenerationOutcome,
    TokenAttemptStarted,
    TokenEnd,
    TokenFrame,
    TokenUsage,
)
from durachart.runtime.views import (
    InstanceState,
    JournalEffect,
    JournalEntry,
    MachineRecord,
    Preview,
    PreviewTransition,
    RunningEffect,
    View,
    WatchClosing,
    WatchDeleted,
    WatchGap,
    WatchProgress,
    WatchSnapshot,
    WatchSynced,
    WatchTokens,
    WatchTransition,
)
from durachart.store.keys import InstanceKey

KEY = InstanceKey("ns", "order", "o-1")
AT = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
STATE = InstanceState(
    key=KEY,
    uid="u" * 32,
    version=2**60,
    machine_version=3,
    value_json='"draft"',
    context_json='{"a":1}',
    allowed_events=("A", "B"),
    tags=("t",),
    meta_json='{"m":1}',
    labels={"k": "v"},
    status="done",
    output_json="7",
    running_effects=(RunningEffect("e-1", "charge", "http.post", 2, True, AT),),
    created_at=AT,
    updated_at=AT + timedelta(seconds=1),
    evaluated_at=AT + timedelta(seconds=2),
)
ENTRY = JournalEntry(
    key=KEY,
    uid="u" * 32,
    seq=4,
    revision=99,
    cause="timer",
    event_type="after.1",
    data_json="{}",
    actor="system",
    created_at=AT,
    outcome="refused",
    reason="GUARD_REJECTED",
    message="no",
    from_version=1,
    to_version=1,
    from_value_json='"a"',
    to_value_json='"a"',
    effects=(JournalEffect("e-1", "charge", "{}", False), JournalEffect("", "SAID", "{}", True)),
    machine_version=3,
    expected_version=0,
    request_id="r-1",
    traceparent="00-…",
    hash="ab" * 32,
)


def every_field_is_set(message: object) -> bool:
    """Whether no field of a message was forgotten."""
    descriptor = message.DESCRIPTOR  # type: ignore[attr-defined]
    return {field.name for field, _ in message.ListFields()} == set(descriptor.fields_by_name)  # type: ignore[attr-defined]


def test_a_state_keeps_every_field() -> None:
    made = convert.instance_state(STATE)
    assert every_field_is_set(made)
    assert every_field_is_set(made.running_effects[0])
    assert made.version == 2**60
    assert made.status == types.INSTANCE_STATUS_DONE
    assert made.create_time.ToDatetime(UTC) == AT
    assert made.evaluate_time.ToDatetime(UTC) == AT + timedelta(seconds=2)
    assert list(made.allowed_events) == ["A", "B"]
    assert dict(made.labels) == {"k": "v"}


def test_what_a_basic_view_leaves_out_stays_unset() -> None:
    made = convert.instance_state(STATE._replace(evaluated_at=None, labels={}, running_effects=()))
    assert not made.HasField("evaluate_time")
    assert not made.labels


def test_an_entry_keeps_every_field() -> None:
    made = convert.journal_entry(ENTRY)
    assert every_field_is_set(made)
    assert made.cause == types.JOURNAL_CAUSE_TIMER
    assert made.outcome == types.JOURNAL_OUTCOME_REFUSED
    assert made.HasField("expected_version")
    assert made.expected_version == 0
    assert [effect.emitted for effect in made.effects] == [False, True]


def test_an_entry_without_expectation_says_so() -> None:
    assert not convert.journal_entry(ENTRY._replace(expected_version=None)).HasField("expected_version")


@pytest.mark.parametrize("cause", ["create", "event", "timer", "effect", "delete"])
def test_every_cause_has_its_number(cause: str) -> None:
    made = convert.journal_entry(ENTRY._replace(cause=cause))  # type: ignore[arg-type]
    assert types.JournalCause.Name(made.cause) == f"JOURNAL_CAUSE_{cause.upper()}"


def test_a_machine_keeps_every_field() -> None:
    record = MachineRecord("order", 2, "ab" * 32, "{}", AT, "an order", ("A", "B"))
    assert every_field_is_set(convert.machine(record))


def test_findings_keep_their_order_and_are_bounded() -> None:
    made = convert.findings([Finding("a", "/x", "m", "h"), Finding("b", "", "n", severity="warning")])
    assert [(each.code, each.path, each.message, each.hint) for each in made] == [
        ("a", "/x", "m", "h"),
        ("b", "", "n", ""),
    ]
    assert [each.severity for each in made] == [types.Finding.SEVERITY_ERROR, types.Finding.SEVERITY_WARNING]
    placed = Finding("expression_invalid", "/implementations/guards/g", "m", line=2, column=7)
    [sent] = convert.findings([placed])
    assert (sent.line, sent.column) == (2, 7)
    assert len(convert.findings(Finding("a", "", "m") for _ in range(5000))) == 1000


def test_every_frame_of_a_watch_has_its_body() -> None:
    transition = convert.watch_frame(WatchTransition("t1", STATE, ENTRY, True)).transition
    assert every_field_is_set(transition)
    frames = [
        WatchSnapshot("t", STATE),
        WatchTransition("t", STATE, ENTRY, False),
        WatchSynced("t"),
        WatchProgress("t", AT),
        WatchClosing("t", "bye", timedelta(seconds=2)),
        WatchDeleted("t", KEY, "u" * 32, ENTRY),
        WatchGap("t", STATE, 3),
        WatchTokens("t", KEY, (TokenFrame("e", 1, 0, 2, "hi"),)),
    ]
    made = [convert.watch_frame(frame) for frame in frames]
    assert [frame.WhichOneof("body") for frame in made] == [
        "snapshot",
        "transition",
        "synced",
        "progress",
        "closing",
        "deleted",
        "gap",
        "tokens",
    ]
    assert every_field_is_set(made[5].deleted)
    assert every_field_is_set(made[6].gap)
    assert every_field_is_set(made[7].tokens)
    assert {frame.resume_token for frame in made} == {"t"}
    assert made[3].progress.server_time.ToDatetime(UTC) == AT
    assert made[4].closing.reconnect_delay == Duration(seconds=2)
    assert not convert.watch_frame(WatchClosing("t", "bye", None)).closing.HasField("reconnect_delay")


def token_frame(frame: TokenFrame) -> tokens.TokenFrame:
    (made,) = convert.token_response([frame]).frames
    return made


def test_every_frame_of_a_generation_has_its_body() -> None:
    end = TokenEnd(GenerationOutcome.COMPLETED, "stop", "m-2", TokenUsage(3, 4), "e", "R")
    started = token_frame(TokenFrame("e-1", 2, 0, 0, TokenAttemptStarted("")))
    text = token_frame(TokenFrame("e-1", 2, 5, 7, "hé"))
    ended = token_frame(TokenFrame("e-1", 2, 7, 7, end))
    assert [frame.WhichOneof("body") for frame in (started, text, ended)] == ["started", "text", "end"]
    assert (text.offset, text.next_offset, text.text) == (5, 7, "hé")
    assert every_field_is_set(ended.end)
    assert every_field_is_set(ended.end.usage)
    assert not token_frame(TokenFrame("e", 1, 0, 0, TokenEnd(GenerationOutcome.STOPPED))).end.HasField(
        "usage"
    )


@pytest.mark.parametrize("outcome", GenerationOutcome)
def test_every_outcome_has_its_number(outcome: GenerationOutcome) -> None:
    made = token_frame(TokenFrame("e", 1, 0, 0, TokenEnd(outcome)))
    assert tokens.TokenEnd.Outcome.Name(made.end.outcome) == f"OUTCOME_{outcome.name}"


def test_half_an_emoji_travels_as_a_question_mark_and_keeps_the_count() -> None:
    assert token_frame(TokenFrame("e", 1, 0, 2, "a\ud83d")).text == "a?"


def test_requests_become_keys_views_and_callers() -> None:
    assert convert.key_of(convert.instance_ref(KEY)) == KEY
    assert convert.view_of(types.INSTANCE_VIEW_UNSPECIFIED, View.BASIC) is View.BASIC
    assert convert.view_of(types.INSTANCE_VIEW_FULL, View.BASIC) is View.FULL
    assert convert.view_of(types.INSTANCE_VIEW_BASIC, View.FULL) is View.BASIC
    assert convert.status_of(types.INSTANCE_STATUS_UNSPECIFIED) is None
    assert convert.status_of(types.INSTANCE_STATUS_DONE) == "done"
    ctx = CallContext("x/Y", deadline=5.0)
    ctx.identity = "alice"
    ctx.traceparent = "00-…"
    assert convert.caller_of(ctx) == Caller("alice", "00-…", 5.0)


def test_an_interval_beyond_measure_is_read_as_the_longest() -> None:
    assert convert.interval_of(Duration(seconds=2, nanos=500_000_000)) == timedelta(seconds=2.5)
    assert convert.interval_of(Duration(seconds=2**62)) == timedelta.max


def test_a_preview_keeps_every_field() -> None:
    asked = (
        PreviewTransition("order.draft", "ADD", ("order.paid",), "hasItems", False),
        PreviewTransition("order", "*", (), "", None),
    )
    effects = (JournalEffect("", "charge", "{}", False),)
    made = convert.preview(Preview(True, STATE, True, effects, "R", "m", asked))
    assert every_field_is_set(made)
    assert every_field_is_set(made.transitions[0])
    assert not made.transitions[1].HasField("passed")
