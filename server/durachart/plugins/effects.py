"""What effect handlers are given, and how they say that an attempt failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from durachart.plugins.frozen import FrozenMapping


@dataclass(frozen=True, slots=True)
class EffectCall:
    """One attempt at an effect.

    Attributes:
        namespace: Of the instance that asked; ``""`` is the default namespace.
        machine_id: Its machine.
        instance_id: Its id.
        effect_id: Which effect; the same for every attempt, so a good idempotency key for the world outside.
        type: The action type that asked for it.
        attempt: Which attempt, from 1.
        params: The action's parameters.
        step: ``await call.step(NAME, work)`` does one step of the effect, a function that returns an
            awaitable, and records that it is done; an attempt that follows skips it and gets what it yielded
            (JSON). A step that was done when the server died, and not recorded, is done again.
    """

    namespace: str
    machine_id: str
    instance_id: str
    effect_id: str
    type: str
    attempt: int
    params: FrozenMapping
    step: Callable[[str, Callable[[], Awaitable[object]]], Awaitable[object]]


class EffectFailed(Exception):
    """The attempt failed; another one may go better.

    When the definition allows no more attempts, or ``retryable`` is false, its ``failed`` event is sent.

    Attributes:
        reason: Stable word for programs, for example ``CARRIER_BUSY``; ``retry.non_retryable`` may name it.
        message: One sentence for people, without secrets; it reaches callers.
        retryable: Whether another attempt may go better.
        retry_after_s: Seconds to wait at least, >= 0; None: as the definition says.
    """

    def __init__(
        self, reason: str, message: str, *, retryable: bool = True, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class EffectRejected(Exception):
    """What was asked for cannot be done, now or later: the definition's ``rejected`` event is sent.

    Attributes:
        reason: Stable word for programs.
        message: One sentence for people, without secrets; it reaches callers.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
