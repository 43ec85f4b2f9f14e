"""What EffectService answers, as Python values; the rules are those of ``durachart_client.models``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from durachart_client.models import InstanceRef, Json

EffectState: TypeAlias = Literal[
    "available", "running", "retryable", "completed", "discarded", "cancelled", "unknown"
]
"""Where an effect stands; ``unknown`` is a newer server's word."""


@dataclass(frozen=True, slots=True)
class EffectError:
    """Why an attempt did not succeed.

    Attributes:
        reason: Stable word for programs, for example ``CARD_DECLINED``.
        message: One sentence for people.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class EffectAttempt:
    """One attempt at an effect.

    Attributes:
        attempt: From 1.
        worker_id: Who made it.
        started_at: When it began.
        ended_at: When it ended; None while it is made.
        outcome: How it ended; ``""`` while it is made, ``lost`` when its worker went away.
        error: Why it did not succeed; None when it did.
    """

    attempt: int
    worker_id: str
    started_at: datetime
    ended_at: datetime | None
    outcome: Literal["", "completed", "failed", "rejected", "cancelled", "lost", "unknown"]
    error: EffectError | None


@dataclass(frozen=True, slots=True)
class EffectStep:
    """One recorded step of an effect.

    Attributes:
        name: Unique within the effect.
        state: Where it stands; a completed step is not done again.
        attempt: The attempt that recorded it last.
        output: What it yielded; None when nothing.
        error: Why it failed; None unless failed.
        started_at: When it first began.
        ended_at: When it completed or last failed; None while it is started.
    """

    name: str
    state: Literal["started", "completed", "failed", "unknown"]
    attempt: int
    output: Json
    error: EffectError | None
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class EffectRecord:
    """One effect as it is stored.

    Attributes:
        instance: Which instance asked for it.
        uid: Which incarnation of the instance.
        effect_id: Identity of the effect.
        type: The action type that asked for it.
        handler: The handler that runs it.
        params: Its parameters; None when there are none.
        state: Where it stands.
        priority: 1 (first) to 4 (last).
        attempt: Attempts begun so far.
        max_attempts: Attempts that will be made at most.
        scheduled_at: When the next attempt may begin, or, while one is made, when its lease ends; None when
            it has ended.
        worker_id: Who holds the lease, or held the last one; ``""`` when nobody did.
        created_at: When it was asked for.
        finalized_at: When it ended; None when it has not.
        output: Its output; None unless completed.
        error: Why the last attempt did not succeed; None when none failed.
        machine_version: Version of the definition that asked for it.
        traceparent: W3C trace context of the event that asked for it; ``""`` when not traced.
        attempts: Every attempt, in order; empty in listings.
        steps: Recorded steps, in the order in which they first began; empty in listings.
    """

    instance: InstanceRef
    uid: str
    effect_id: str
    type: str
    handler: str
    params: Json
    state: EffectState
    priority: int
    attempt: int
    max_attempts: int
    scheduled_at: datetime | None
    worker_id: str
    created_at: datetime
    finalized_at: datetime | None
    output: Json
    error: EffectError | None
    machine_version: int
    traceparent: str
    attempts: tuple[EffectAttempt, ...]
    steps: tuple[EffectStep, ...]


@dataclass(frozen=True, slots=True)
class LeasedEffect:
    """An attempt that has begun, with the lease that lets it end the effect.

    Attributes:
        instance: Which instance asked for it.
        effect_id: Identity of the effect: the same in every attempt.
        type: The action type that asked for it.
        handler: The handler it is for.
        params: Its parameters; None when there are none.
        attempt: Which attempt this is, from 1.
        max_attempts: Attempts that will be made at most.
        lease_token: Proves the lease; opaque.
        lease_expires_at: When the lease ends unless it is prolonged, by the server's clock.
        timeout: How long the attempt may take, as the definition says.
        created_at: When the effect was asked for.
        machine_version: Version of the definition that asked for it.
        traceparent: W3C trace context of the event that asked for it; ``""`` when not traced.
        steps: Steps that earlier attempts recorded, in the order in which they first began.
    """

    instance: InstanceRef
    effect_id: str
    type: str
    handler: str
    params: Json
    attempt: int
    max_attempts: int
    lease_token: str
    lease_expires_at: datetime
    timeout: timedelta
    created_at: datetime
    machine_version: int
    traceparent: str
    steps: tuple[EffectStep, ...]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Answer of ``heartbeat``.

    Attributes:
        cancelled: Stop: whatever comes of the attempt is dropped.
        lease_expires_at: When the lease ends now, by the server's clock; None when cancelled.
    """

    cancelled: bool
    lease_expires_at: datetime | None
