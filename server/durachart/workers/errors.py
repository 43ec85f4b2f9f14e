"""Why an effect's attempt failed.

EffectFailure            any handler's failure: reason, sentence, whether another attempt may help
└── ProviderError        a language model's
"""

from __future__ import annotations


class EffectFailure(Exception):  # noqa: N818 -- a failure is an answer, and the word of the contract
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


class ProviderError(EffectFailure):
    """A language model could not answer."""
