"""Why an effect's attempt failed.

    EffectFailure            a handler's failure: reason, sentence, whether another attempt may help
    ├── EffectRejected       the effect itself is at fault: sends `rejected`, never another attempt
    └── ProviderError        a language model could not answer

Whatever else a handler raises is a defect of the handler: it is logged, and the attempt fails as
HANDLER_FAILED.
"""

from __future__ import annotations

from typing import Final

HANDLER_FAILED: Final = "HANDLER_FAILED"
"""Reason of whatever a handler did not foresee."""


class EffectFailure(Exception):
    """An attempt failed in a way its handler understands.

    Attributes:
        reason: Stable word for programs, for example ``PROVIDER_RATE_LIMITED``.
        message: One sentence for people, without secrets.
        retryable: Whether another attempt may go better.
        retry_after_s: Seconds the other side asked to wait, >= 0. None when it did not say.
    """

    def __init__(
        self, reason: str, message: str, *, retryable: bool, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class EffectRejected(EffectFailure):
    """What was asked for cannot be done, now or later."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message, retryable=False)


class ProviderError(EffectFailure):
    """A language model could not answer."""
