"""What workers and operators are shown of effects: each value mirrors a message of the contract."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple, cast

import orjson

from durachart.definitions.effect_spec import EffectSpec
from durachart.runtime.clock import instant
from durachart.store.keys import InstanceKey
from durachart.store.rows import AttemptRow, EffectRow, StepRow

EffectState = Literal["available", "running", "retryable", "completed", "discarded", "cancelled"]
AttemptOutcome = Literal["", "completed", "failed", "rejected", "cancelled", "lost"]
StepState = Literal["started", "completed", "failed"]


class EffectStep(NamedTuple):
    """One named step that a handler recorded.

    Attributes:
        name: Unique within the effect.
        state: A completed one stays completed.
        attempt: The attempt that recorded it last.
        output_json: What it yielded; empty: nothing.
        error_reason: Why it failed; empty unless it did.
        error_message: The same for people.
        started_at: When it first began.
        ended_at: When it completed or last failed; None while it is under way.
    """

    name: str
    state: StepState
    attempt: int
    output_json: str
    error_reason: str
    error_message: str
    started_at: datetime
    ended_at: datetime | None


class EffectAttempt(NamedTuple):
    """One attempt.

    Attributes:
        attempt: Its number, from 1.
        worker_id: Who made it.
        started_at: When it began.
        ended_at: When it ended; None: it has not.
        outcome: How; empty: it has not ended.
        error_reason: Why it did not succeed; empty when it did, or when nobody said.
        error_message: The same for people.
    """

    attempt: int
    worker_id: str
    started_at: datetime
    ended_at: datetime | None
    outcome: AttemptOutcome
    error_reason: str
    error_message: str


class LeasedEffect(NamedTuple):
    """One attempt at an effect, as its worker gets it.

    Attributes:
        key: The instance that asked.
        uid: Its incarnation.
        effect_id: Which effect.
        type: The action type that asked for it.
        handler: Who runs it.
        params_json: A JSON object; empty when the action has no parameters.
        attempt: Number of this attempt, from 1.
        lease_token: Proves that the attempt is this worker's; given back when it ends.
        lease_expires_at: When another worker may take it over unless the lease is extended.
        created_at: When the effect was asked for.
        machine_version: The definition that asked.
        traceparent: Of the event that asked; empty when it was not traced.
        spec: How the definition wants it run: time-out, retries, events.
        max_attempts: Attempts that will be made at most.
        steps: What earlier attempts recorded, in the order in which they first began.
    """

    key: InstanceKey
    uid: str
    effect_id: str
    type: str
    handler: str
    params_json: str
    attempt: int
    lease_token: str
    lease_expires_at: datetime
    created_at: datetime
    machine_version: int
    traceparent: str
    spec: EffectSpec
    max_attempts: int
    steps: tuple[EffectStep, ...]


class EffectRecord(NamedTuple):
    """One effect as the outbox holds it.

    Attributes:
        key: The instance that asked.
        uid: Its incarnation.
        effect_id: Which effect.
        type: The action type that asked for it.
        handler: Who runs it.
        state: River's words; the last three are final.
        priority: 1 (first) to 4 (last).
        attempt: Attempts begun so far.
        max_attempts: Attempts that will be made at most.
        scheduled_at: When the next attempt may begin, or when the lease of the one under way ends; None: it
            has ended.
        worker_id: Who holds the lease, or held the last one; empty: nobody did.
        params_json: A JSON object; empty when there are none.
        output_json: What it yielded; empty unless completed with an output.
        error_reason: Why the last attempt did not succeed; empty when none failed.
        error_message: The same for people.
        machine_version: The definition that asked.
        traceparent: Of the event that asked; empty when it was not traced.
        created_at: When it was asked for.
        finalized_at: When it ended; None while it has not.
        attempts: Every attempt, in order; empty in lists.
        steps: What was recorded, in the order in which it first began; empty in lists.
    """

    key: InstanceKey
    uid: str
    effect_id: str
    type: str
    handler: str
    state: EffectState
    priority: int
    attempt: int
    max_attempts: int
    scheduled_at: datetime | None
    worker_id: str
    params_json: str
    output_json: str
    error_reason: str
    error_message: str
    machine_version: int
    traceparent: str
    created_at: datetime
    finalized_at: datetime | None
    attempts: tuple[EffectAttempt, ...] = ()
    steps: tuple[EffectStep, ...] = ()


def effect_record(
    row: EffectRow, attempts: tuple[AttemptRow, ...] = (), steps: tuple[StepRow, ...] = ()
) -> EffectRecord:
    """An effect as the outbox holds it."""
    reason, message = _error_of(row.error)
    return EffectRecord(
        row.key,
        row.uid,
        row.effect_id,
        row.type,
        row.handler,
        cast(EffectState, row.state),
        row.priority,
        row.attempt,
        row.max_attempts,
        instant(row.scheduled_at_ms) if row.finalized_at_ms is None else None,
        row.lease_holder,
        row.params,
        row.output or "",
        reason,
        message,
        row.machine_version,
        row.traceparent,
        instant(row.created_at_ms),
        _instant_or_none(row.finalized_at_ms),
        tuple(map(_effect_attempt, attempts)),
        tuple(map(effect_step, steps)),
    )


def effect_step(row: StepRow) -> EffectStep:
    """A step as it is stored."""
    return EffectStep(
        row.name,
        cast(StepState, row.state),
        row.attempt,
        row.output or "",
        *_error_of(row.error),
        instant(row.started_at_ms),
        _instant_or_none(row.ended_at_ms),
    )


def _effect_attempt(row: AttemptRow) -> EffectAttempt:
    return EffectAttempt(
        row.attempt,
        row.lease_holder,
        instant(row.started_at_ms),
        _instant_or_none(row.ended_at_ms),
        cast(AttemptOutcome, row.outcome),
        *_error_of(row.error),
    )


def _error_of(text: str | None) -> tuple[str, str]:
    error: dict[str, str] = orjson.loads(text) if text else {}
    return error.get("reason", ""), error.get("message", "")


def _instant_or_none(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else instant(at_ms)
