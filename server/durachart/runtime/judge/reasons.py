"""Why a machine did not do what was asked: the refusals that follow from a step that was not taken."""

from __future__ import annotations

from typing import Any

from durachart.engine.queries import explain
from durachart.runtime.errors import (
    EvaluationFailed,
    EventNotAllowed,
    EventRefused,
    GuardRejected,
    InstanceFinished,
)
from durachart.runtime.instance import Instance
from durachart.runtime.judge.stepping import Attempt
from durachart.runtime.present import allowed


def finished(instance: Instance, event_type: str) -> InstanceFinished:
    """That an instance has ended, and takes nothing any more; ``event_type`` empty: the end of an effect."""
    what = f"event {event_type!r}" if event_type else "the end of an effect"
    return InstanceFinished(
        instance.key,
        f"instance {instance.key} has finished in state {instance.value_json}; {what} has no effect any more",
        event_type=event_type,
        value_json=instance.value_json,
        version=instance.version,
    )


def failed(instance: Instance, attempt: Attempt, error: Exception) -> EvaluationFailed:
    """That what was evaluated on the way failed, and how."""
    return EvaluationFailed(
        instance.key,
        f"event {attempt.event_type!r} failed: {error}",
        event_type=attempt.event_type,
        value_json=instance.value_json,
        version=instance.version,
        allowed_events=allowed(instance.definition, instance.snapshot, attempt.now_ms),
    )


def not_selected(instance: Instance, event: dict[str, Any], now_ms: int) -> EventRefused:
    """Why the machine did not take an event: no transition for it, or guards that were false."""
    event_type = event["type"]
    verdicts = explain(instance.definition.machine, instance.snapshot, event, now_ms=now_ms)
    guards = tuple(dict.fromkeys(verdict.guard for verdict in verdicts if verdict.passed is False))
    could = allowed(instance.definition, instance.snapshot, now_ms)
    listed = f"allowed now: {', '.join(could)}" if could else "no event is allowed now"
    refused = GuardRejected if guards else EventNotAllowed
    why = f"rejected by {' and '.join(guards)}" if guards else "not allowed"
    return refused(
        instance.key,
        f"event {event_type!r} is {why} in state {instance.value_json}; {listed}",
        event_type=event_type,
        value_json=instance.value_json,
        version=instance.version,
        allowed_events=could,
        guards=guards,
    )
