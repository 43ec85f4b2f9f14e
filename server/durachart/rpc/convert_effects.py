"""Between what workers and operators are shown of effects and the contract's messages, field for field."""

from __future__ import annotations

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from durachart.rpc import convert
from durachart.rpc.gen import effect_service_pb2 as pb
from durachart.runtime.commands import EffectError, RecordStep
from durachart.runtime.effect_views import (
    EffectAttempt,
    EffectRecord,
    EffectState,
    EffectStep,
    LeasedEffect,
    StepState,
)
from durachart.store.keys import InstanceKey

MAX_MESSAGE_CHARS = 4096
_DEFAULT_LEASE, _SHORTEST_LEASE, _LONGEST_LEASE = (
    timedelta(seconds=30),
    timedelta(seconds=1),
    timedelta(hours=1),
)
_LONGEST_WAIT = timedelta(seconds=60)

_STATE: dict[EffectState, pb.EffectState] = {
    "available": pb.EFFECT_STATE_AVAILABLE,
    "running": pb.EFFECT_STATE_RUNNING,
    "retryable": pb.EFFECT_STATE_RETRYABLE,
    "completed": pb.EFFECT_STATE_COMPLETED,
    "discarded": pb.EFFECT_STATE_DISCARDED,
    "cancelled": pb.EFFECT_STATE_CANCELLED,
}
_STATE_WANTED: dict[int, EffectState | None] = {
    pb.EFFECT_STATE_UNSPECIFIED: None,
    **{number: state for state, number in _STATE.items()},
}
_OUTCOME = {
    "": pb.EffectAttempt.OUTCOME_UNSPECIFIED,
    "completed": pb.EffectAttempt.OUTCOME_COMPLETED,
    "failed": pb.EffectAttempt.OUTCOME_FAILED,
    "rejected": pb.EffectAttempt.OUTCOME_REJECTED,
    "cancelled": pb.EffectAttempt.OUTCOME_CANCELLED,
    "lost": pb.EffectAttempt.OUTCOME_LOST,
}
_STEP_STATE: dict[StepState, pb.EffectStep.State] = {
    "started": pb.EffectStep.STATE_STARTED,
    "completed": pb.EffectStep.STATE_COMPLETED,
    "failed": pb.EffectStep.STATE_FAILED,
}
_STEP_STATE_GIVEN: dict[int, StepState] = {number: state for state, number in _STEP_STATE.items()}


def lease_of(duration: Duration, present: bool) -> timedelta:
    """How long a lease lasts: as asked for within its bounds, or the default."""
    if not present:
        return _DEFAULT_LEASE
    return min(max(convert.interval_of(duration), _SHORTEST_LEASE), _LONGEST_LEASE)


def wait_of(duration: Duration) -> timedelta:
    """How long to wait for work, within its bounds."""
    return min(max(convert.interval_of(duration), timedelta()), _LONGEST_WAIT)


def delay_ms_of(duration: Duration) -> int:
    """A delay in whole milliseconds, not below 0."""
    return max(int(convert.interval_of(duration) / timedelta(milliseconds=1)), 0)


def error_of(error: pb.EffectError) -> EffectError:
    """Why an attempt did not succeed; a message that is too long is cut."""
    return EffectError(error.reason, error.message[:MAX_MESSAGE_CHARS])


def state_of(state: int) -> EffectState | None:
    """The state a filter asks for; None: any."""
    return _STATE_WANTED[state]


def step_of(request: pb.RecordEffectStepRequest) -> RecordStep:
    """The step a validated request records."""
    step = request.step
    return RecordStep(
        convert.key_of(request.instance),
        request.effect_id,
        request.lease_token,
        step.name,
        _STEP_STATE_GIVEN[step.state],
        step.output_json,
        error_of(step.error) if step.HasField("error") else None,
    )


def leased_effect(leased: LeasedEffect) -> pb.LeasedEffect:
    """An attempt that has begun."""
    made = pb.LeasedEffect(
        instance=convert.instance_ref(leased.key),
        effect_id=leased.effect_id,
        type=leased.type,
        handler=leased.handler,
        params_json=leased.params_json,
        attempt=leased.attempt,
        max_attempts=leased.max_attempts,
        lease_token=leased.lease_token,
        lease_expire_time=convert.timestamp(leased.lease_expires_at),
        create_time=convert.timestamp(leased.created_at),
        machine_version=leased.machine_version,
        traceparent=leased.traceparent,
        steps=map(effect_step, leased.steps),
    )
    made.timeout.FromMilliseconds(leased.spec.timeout_ms)
    return made


def cancelled_effect(key: InstanceKey, effect_id: str) -> pb.CancelledEffect:
    """An effect that is not wanted any more."""
    return pb.CancelledEffect(instance=convert.instance_ref(key), effect_id=effect_id)


def effect(record: EffectRecord) -> pb.Effect:
    """One effect as it is stored."""
    made = pb.Effect(
        instance=convert.instance_ref(record.key),
        uid=record.uid,
        effect_id=record.effect_id,
        type=record.type,
        handler=record.handler,
        params_json=record.params_json,
        state=_STATE[record.state],
        priority=record.priority,
        attempt=record.attempt,
        max_attempts=record.max_attempts,
        worker_id=record.worker_id,
        create_time=convert.timestamp(record.created_at),
        output_json=record.output_json,
        error=_error(record.error_reason, record.error_message),
        machine_version=record.machine_version,
        traceparent=record.traceparent,
        attempts=map(_attempt, record.attempts),
        steps=map(effect_step, record.steps),
    )
    if record.scheduled_at is not None:
        made.schedule_time.FromDatetime(record.scheduled_at)
    if record.finalized_at is not None:
        made.finalize_time.FromDatetime(record.finalized_at)
    return made


def effect_step(step: EffectStep) -> pb.EffectStep:
    """One step as it is stored."""
    made = pb.EffectStep(
        name=step.name,
        state=_STEP_STATE[step.state],
        attempt=step.attempt,
        output_json=step.output_json,
        error=_error(step.error_reason, step.error_message),
        start_time=convert.timestamp(step.started_at),
    )
    if step.ended_at is not None:
        made.end_time.FromDatetime(step.ended_at)
    return made


def _attempt(attempt: EffectAttempt) -> pb.EffectAttempt:
    made = pb.EffectAttempt(
        attempt=attempt.attempt,
        worker_id=attempt.worker_id,
        start_time=convert.timestamp(attempt.started_at),
        outcome=_OUTCOME[attempt.outcome],
        error=_error(attempt.error_reason, attempt.error_message),
    )
    if attempt.ended_at is not None:
        made.end_time.FromDatetime(attempt.ended_at)
    return made


def _error(reason: str, message: str) -> pb.EffectError | None:
    return pb.EffectError(reason=reason, message=message) if reason else None
