"""Messages of EffectService to Python values, field for field, and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from google.protobuf.duration_pb2 import Duration

from durachart_client import convert
from durachart_client import effect_models as models
from durachart_client.gen import effect_service_pb2 as pb

STATES: Mapping[str | None, pb.EffectState] = {
    None: pb.EFFECT_STATE_UNSPECIFIED,
    "available": pb.EFFECT_STATE_AVAILABLE,
    "running": pb.EFFECT_STATE_RUNNING,
    "retryable": pb.EFFECT_STATE_RETRYABLE,
    "completed": pb.EFFECT_STATE_COMPLETED,
    "discarded": pb.EFFECT_STATE_DISCARDED,
    "cancelled": pb.EFFECT_STATE_CANCELLED,
}

_STATE_WORDS: Mapping[int, models.EffectState] = {
    pb.EFFECT_STATE_AVAILABLE: "available",
    pb.EFFECT_STATE_RUNNING: "running",
    pb.EFFECT_STATE_RETRYABLE: "retryable",
    pb.EFFECT_STATE_COMPLETED: "completed",
    pb.EFFECT_STATE_DISCARDED: "discarded",
    pb.EFFECT_STATE_CANCELLED: "cancelled",
}

_OUTCOME_WORDS: Mapping[int, Literal["", "completed", "failed", "rejected", "cancelled", "lost"]] = {
    pb.EffectAttempt.OUTCOME_UNSPECIFIED: "",
    pb.EffectAttempt.OUTCOME_COMPLETED: "completed",
    pb.EffectAttempt.OUTCOME_FAILED: "failed",
    pb.EffectAttempt.OUTCOME_REJECTED: "rejected",
    pb.EffectAttempt.OUTCOME_CANCELLED: "cancelled",
    pb.EffectAttempt.OUTCOME_LOST: "lost",
}

_STEP_WORDS: Mapping[int, Literal["started", "completed", "failed"]] = {
    pb.EffectStep.STATE_STARTED: "started",
    pb.EffectStep.STATE_COMPLETED: "completed",
    pb.EffectStep.STATE_FAILED: "failed",
}

STEP_STATES: Mapping[str, pb.EffectStep.State] = {
    "started": pb.EffectStep.STATE_STARTED,
    "completed": pb.EffectStep.STATE_COMPLETED,
    "failed": pb.EffectStep.STATE_FAILED,
}


def leased_effect(message: pb.LeasedEffect) -> models.LeasedEffect:
    """One attempt with its lease."""
    return models.LeasedEffect(
        instance=convert.instance_ref(message.instance),
        effect_id=message.effect_id,
        type=message.type,
        handler=message.handler,
        params=convert.parsed(message.params_json),
        attempt=message.attempt,
        max_attempts=message.max_attempts,
        lease_token=message.lease_token,
        lease_expires_at=message.lease_expire_time.ToDatetime(tzinfo=UTC),
        timeout=message.timeout.ToTimedelta(),
        created_at=message.create_time.ToDatetime(tzinfo=UTC),
        machine_version=message.machine_version,
        traceparent=message.traceparent,
        steps=tuple(effect_step(one) for one in message.steps),
    )


def effect_record(message: pb.Effect) -> models.EffectRecord:
    """One effect as it is stored."""
    return models.EffectRecord(
        instance=convert.instance_ref(message.instance),
        uid=message.uid,
        effect_id=message.effect_id,
        type=message.type,
        handler=message.handler,
        params=convert.parsed(message.params_json),
        state=_STATE_WORDS.get(message.state, "unknown"),
        priority=message.priority,
        attempt=message.attempt,
        max_attempts=message.max_attempts,
        scheduled_at=_instant(message, "schedule_time"),
        worker_id=message.worker_id,
        created_at=message.create_time.ToDatetime(tzinfo=UTC),
        finalized_at=_instant(message, "finalize_time"),
        output=convert.parsed(message.output_json),
        error=_error(message),
        machine_version=message.machine_version,
        traceparent=message.traceparent,
        attempts=tuple(_attempt(one) for one in message.attempts),
        steps=tuple(effect_step(one) for one in message.steps),
    )


def effect_step(message: pb.EffectStep) -> models.EffectStep:
    """One recorded step."""
    return models.EffectStep(
        name=message.name,
        state=_STEP_WORDS.get(message.state, "unknown"),
        attempt=message.attempt,
        output=convert.parsed(message.output_json),
        error=_error(message),
        started_at=message.start_time.ToDatetime(tzinfo=UTC),
        ended_at=_instant(message, "end_time"),
    )


def heartbeat(message: pb.HeartbeatEffectResponse) -> models.Heartbeat:
    """Whether to go on."""
    return models.Heartbeat(message.cancelled, _instant(message, "lease_expire_time"))


def error_message(error: models.EffectError) -> pb.EffectError:
    """The message for why an attempt did not succeed."""
    return pb.EffectError(reason=error.reason, message=error.message)


def duration(value: timedelta | None) -> Duration | None:
    """The message for a duration; None leaves the field unset."""
    if value is None:
        return None
    message = Duration()
    message.FromTimedelta(value)
    return message


def _attempt(message: pb.EffectAttempt) -> models.EffectAttempt:
    return models.EffectAttempt(
        attempt=message.attempt,
        worker_id=message.worker_id,
        started_at=message.start_time.ToDatetime(tzinfo=UTC),
        ended_at=_instant(message, "end_time"),
        outcome=_OUTCOME_WORDS.get(message.outcome, "unknown"),
        error=_error(message),
    )


def _error(message: Any) -> models.EffectError | None:
    if not message.HasField("error"):
        return None
    return models.EffectError(message.error.reason, message.error.message)


def _instant(message: Any, field: str) -> datetime | None:
    if not message.HasField(field):
        return None
    instant: datetime = getattr(message, field).ToDatetime(tzinfo=UTC)
    return instant
