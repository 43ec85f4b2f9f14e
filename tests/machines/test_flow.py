"""The flow machine (D1, D2, D4, D5, D8, D10): every state, transition, guard and refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.machines.play import Play, definition

Start = Callable[[], Play]
MESSAGE = {"id": "m-1", "kind": "text", "text": "Hello"}
INPUT = {"flow_id": "welcome", "message": MESSAGE, "steps": ["greet", "ask"]}
BUSY = {"effect_id": "e-1", "error": {"reason": "BUSY", "message": "Busy."}}
DONE = {"effect_id": "e-1", "output": 1}
AT = "2025-05-01T09:00:00Z"


def counting(**more: Any) -> Play:
    return Play("flow", INPUT | more)


def sending(**more: Any) -> Play:
    return counting(**more).accept("COUNTER_UPDATED", **DONE)


def blocked(**more: Any) -> Play:
    return sending(**more).accept("STEP_FAILED", **BUSY)


def cooling() -> Play:
    return blocked(max_recoveries=2)


def privileged(**more: Any) -> Play:
    return Play("flow", INPUT | {"message": {"id": "m-1", "kind": "privileged"} | more})


def step(play: Play, name: str) -> dict[str, Any]:
    return next(one for one in play.context["steps"] if one["name"] == name)


def statuses(play: Play) -> list[str]:
    return [one["status"] for one in play.context["steps"]]


def run_step(play: Play) -> Play:
    return play.accept("COUNTER_UPDATED", **DONE).accept("MESSAGE_SENT", **DONE)


def test_flow_is_published_without_a_warning() -> None:
    assert definition("flow").warnings == ()


def test_the_message_is_kept_and_the_first_step_begins_with_its_counter() -> None:
    """D1: the input message is kept, with the flow's id."""
    flow = counting()
    assert flow.value == {"running": {"counting": "underway"}}
    assert flow.tags == ["busy"]
    assert flow.context["flow_id"] == "welcome"
    assert flow.context["message"] == MESSAGE | {"command": None}
    assert flow.context["started_at"] == AT
    assert flow.effects == [
        ("updateCounter", {"flow_id": "welcome", "step": "greet", "operation": "counter"})
    ]
    assert statuses(flow) == ["running", "pending"]


def test_the_message_is_sent_once_the_counter_is_updated() -> None:
    flow = sending()
    assert flow.value == {"running": {"sending": "underway"}}
    [(name, params)] = flow.effects
    assert name == "sendMessage"
    assert params["step"] == "greet"
    assert params["message"]["text"] == "Hello"


def test_steps_run_in_order_and_each_operation_is_recorded_with_its_instants() -> None:
    """D2, D5, D8: steps 1..N in order; per step counter updated, message sent, completed, with durations."""
    flow = counting()
    flow.wait(seconds=1).accept("COUNTER_UPDATED", **DONE)
    flow.wait(seconds=1).accept("MESSAGE_SENT", **DONE)
    assert flow.effects[0][1]["step"] == "ask"
    assert step(flow, "greet") == {
        "name": "greet",
        "optional": False,
        "status": "done",
        "attempts": 1,
        "started_at": AT,
        "counter_at": "2025-05-01T09:00:01Z",
        "message_at": "2025-05-01T09:00:02Z",
        "completed_at": "2025-05-01T09:00:02Z",
        "error": None,
    }
    run_step(flow.wait(seconds=3))
    assert flow.value == "completed"
    assert step(flow, "ask")["started_at"] == "2025-05-01T09:00:02Z"
    assert flow.snapshot.output == {
        "outcome": "completed",
        "done": ["greet", "ask"],
        "skipped": [],
        "failures": 0,
        "duration_s": 5,
    }
    assert flow.send("ABORT") == "INSTANCE_FINISHED"


def test_a_backchannel_message_has_its_own_step_alone() -> None:
    """D5: the kind of the message decides."""
    flow = Play("flow", INPUT | {"message": {"id": "m-1", "kind": "backchannel"}})
    assert [one["name"] for one in flow.context["steps"]] == ["backchannel"]
    assert run_step(flow).value == "completed"


def test_a_privileged_message_says_itself_whether_the_steps_run() -> None:
    """D5: run-next-steps or void."""
    assert privileged(command="run_next_steps").value == {"running": {"counting": "underway"}}
    flow = privileged(command="void")
    assert flow.value == "voided"
    assert flow.snapshot.output["outcome"] == "voided"
    assert flow.effects == []


def test_a_privileged_message_without_a_command_waits_for_a_decision() -> None:
    assert privileged().value == "privileged"
    assert privileged().accept("RUN_NEXT_STEPS").value == {"running": {"counting": "underway"}}
    flow = privileged().accept("VOID", reason="spam")
    assert (flow.value, flow.context["reason"]) == ("voided", "spam")
    assert privileged().accept("ABORT").context["outcome"] == "aborted"


def test_a_flow_without_steps_is_done_at_once() -> None:
    assert Play("flow", {"flow_id": "f", "message": MESSAGE}).value == "completed"


def test_a_failed_step_blocks_and_says_why() -> None:
    """D4: a failed step blocks progress; the history of errors is kept."""
    flow = blocked()
    assert flow.value == {"blocked": "waiting"}
    assert flow.tags == ["attention"]
    failed = step(flow, "greet")
    assert failed["status"] == "failed"
    assert failed["error"] == BUSY["error"]
    assert (failed["counter_at"], failed["message_at"]) == (AT, None)
    assert flow.context["errors"] == [
        {"step": "greet", "operation": "message", "effect_id": "e-1", "at": AT} | BUSY["error"]
    ]
    assert statuses(flow) == ["failed", "pending"]


def test_a_retry_goes_on_with_the_operation_that_failed() -> None:
    """D3, D4, D10: resumes from the last success; what was completed is not done again."""
    flow = blocked().accept("RETRY_STEP")
    assert flow.value == {"running": {"sending": "underway"}}
    assert [name for name, _ in flow.effects] == ["sendMessage"]
    assert step(flow, "greet")["attempts"] == 2
    flow.accept("MESSAGE_SENT", **DONE)
    assert step(flow, "greet")["error"] is None
    assert len(flow.context["errors"]) == 1, "the history of errors stays"
    first = counting().accept("STEP_FAILED", **BUSY).accept("RETRY_STEP")
    assert [name for name, _ in first.effects] == ["updateCounter"]


def test_a_skipped_step_lets_the_next_one_begin() -> None:
    """D10: partial recovery."""
    flow = blocked().accept("SKIP_STEP", reason="the customer has left")
    assert flow.value == {"running": {"counting": "underway"}}
    assert flow.effects[0][1]["step"] == "ask"
    assert flow.context["reason"] == "the customer has left"
    assert step(flow, "greet")["status"] == "skipped"
    assert step(flow, "greet")["error"] == BUSY["error"]
    assert run_step(flow).snapshot.output["skipped"] == ["greet"]


@pytest.mark.parametrize("start", [counting, sending, blocked, cooling, privileged])
def test_an_operator_may_give_up_until_it_is_done(start: Start) -> None:
    flow = start().accept("ABORT", reason="no more")
    assert flow.value == "aborted"
    assert (flow.context["outcome"], flow.context["reason"]) == ("aborted", "no more")
    assert start().accept("ABORT").context["reason"] is None


def test_an_optional_step_that_fails_is_skipped_before_anything_else_is_tried() -> None:
    """D10: prioritised recovery: optional steps give way, then it recovers by itself, then it blocks."""
    flow = blocked(optional=["greet"], max_recoveries=5)
    assert flow.value == {"running": {"counting": "underway"}}
    assert statuses(flow) == ["skipped", "running"]
    assert len(flow.context["errors"]) == 1
    assert flow.accept("STEP_FAILED", **BUSY).value == "cooling"


def test_a_step_recovers_by_itself_so_often_and_blocks_then() -> None:
    """D10: automatic recovery, each wait twice as long as the one before."""
    flow = cooling()
    assert (flow.value, flow.tags, statuses(flow)) == ("cooling", ["waiting"], ["failed", "pending"])
    flow.wait(seconds=29)
    assert flow.value == "cooling"
    flow.wait(seconds=1)
    assert flow.value == {"running": {"sending": "underway"}}
    flow.accept("STEP_FAILED", **BUSY).wait(seconds=59)
    assert flow.value == "cooling"
    flow.wait(seconds=1).accept("STEP_FAILED", **BUSY)
    assert flow.value == {"blocked": "waiting"}
    assert step(flow, "greet")["attempts"] == 3
    flow.accept("SKIP_STEP")
    assert flow.context["recoveries"] == 0, "the next step has all of its own"


def test_nobody_has_to_wait_for_a_recovery() -> None:
    assert cooling().accept("RETRY_STEP").value == {"running": {"sending": "underway"}}
    assert cooling().accept("SKIP_STEP").effects[0][1]["step"] == "ask"


@pytest.mark.parametrize(
    ("start", "value", "operation"),
    [
        (counting, {"running": {"counting": "stuck"}}, "counter"),
        (sending, {"running": {"sending": "stuck"}}, "message"),
        (blocked, {"blocked": "stuck"}, "message"),
    ],
)
def test_what_takes_too_long_is_told_once(start: Start, value: Any, operation: str) -> None:
    """D8: stuck-state alerts, as a tag, a record and an emitted event."""
    flow = start().wait(minutes=5)
    assert flow.value == value
    assert "stuck" in flow.tags
    assert flow.effects == [("xstate.emit", {"event": {"type": "STUCK"}})], "the operation goes on"
    assert flow.context["alerts"] == [{"step": "greet", "operation": operation, "at": "2025-05-01T09:05:00Z"}]
    flow.wait(hours=1)
    assert len(flow.context["alerts"]) == 1


def test_what_was_stuck_goes_on() -> None:
    flow = run_step(counting().wait(minutes=5))
    assert flow.tags == ["busy"]
    assert blocked().wait(minutes=5).accept("RETRY_STEP").tags == ["busy"]
    assert counting(stuck_after_ms=10).wait(seconds=1).tags == ["busy", "stuck"]


@pytest.mark.parametrize(
    ("start", "allowed"),
    [
        (privileged, ["ABORT", "RUN_NEXT_STEPS", "VOID"]),
        (counting, ["ABORT", "COUNTER_UPDATED", "STEP_FAILED"]),
        (sending, ["ABORT", "MESSAGE_SENT", "STEP_FAILED"]),
        (blocked, ["ABORT", "RETRY_STEP", "SKIP_STEP"]),
        (cooling, ["ABORT", "RETRY_STEP", "SKIP_STEP"]),
    ],
)
def test_allowed_events_are_sorted_and_all_others_are_refused(start: Start, allowed: list[str]) -> None:
    flow = start()
    assert flow.allowed == allowed
    payloads = {"COUNTER_UPDATED": DONE, "MESSAGE_SENT": DONE, "STEP_FAILED": BUSY}
    for event_type in flow.definition.event_types:
        if event_type not in allowed:
            assert flow.send(event_type, **payloads.get(event_type, {})) == "EVENT_NOT_ALLOWED"
    assert flow.version == start().version


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        ("RETRY_STEP", {"force": True}),
        ("SKIP_STEP", {"reason": ""}),
        ("ABORT", {"reason": 1}),
        ("VOID", {"why": "x"}),
        ("RUN_NEXT_STEPS", {"steps": []}),
        ("COUNTER_UPDATED", {}),
        ("MESSAGE_SENT", {"effect_id": 1}),
        ("STEP_FAILED", {"effect_id": "e-1", "error": {"reason": "X"}}),
    ],
)
def test_wrong_payload_is_told_from_a_wrong_event(event_type: str, data: dict[str, object]) -> None:
    assert blocked().send(event_type, **data) == "PAYLOAD_INVALID"


@pytest.mark.parametrize(
    "wrong",
    [
        {"message": {"id": "m", "kind": "shout"}},
        {"message": {"kind": "text"}},
        {"steps": ["a", "a"]},
        {"steps": [""]},
        {"max_recoveries": -1},
        {"colour": "red"},
    ],
)
def test_wrong_input_is_refused(wrong: dict[str, Any]) -> None:
    assert definition("flow").schemas.validate_input(INPUT | wrong)
