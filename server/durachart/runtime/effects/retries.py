"""Whether a failed attempt is followed by another one, and when. One place for workers wherever they run."""

from __future__ import annotations

from durachart.definitions.effect_spec import RetryPolicy


def wait_before_next_ms(
    policy: RetryPolicy,
    reason: str,
    *,
    attempt: int,
    max_attempts: int,
    jitter: float,
    asked_ms: int | None = None,
    at_least_ms: int = 0,
) -> int | None:
    """How long to wait after a failed attempt; None: there is no other.

    A share of the wait is random (`RetryPolicy.jitter`). An effect that was given back for further attempts
    begins with the policy's first wait again.

    Args:
        policy: The definition's.
        reason: Why it failed.
        attempt: Number of the attempt that failed, from 1.
        max_attempts: How many the effect is allowed by now; more than the policy's when it was given back.
        jitter: From 0 (inclusive) to 1.
        asked_ms: Wait that the worker asked for instead of the policy's, >= 0; None: it did not.
        at_least_ms: Wait that the other side asked for, >= 0.

    Returns:
        Milliseconds, from 0 to the policy's maximum.
    """
    if attempt >= max_attempts or reason in policy.non_retryable:
        return None
    if asked_ms is None:
        backoff = policy.backoff_ms(max(attempt - (max_attempts - policy.max_attempts), 1))
        asked_ms = int(backoff * (1 - policy.jitter + policy.jitter * jitter))
    return min(max(asked_ms, at_least_ms), policy.max_backoff_ms)
