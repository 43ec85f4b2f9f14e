"""How long to wait before another attempt."""

from __future__ import annotations

from durachart.definitions.effect_spec import RetryPolicy


def backoff_ms(policy: RetryPolicy, attempt: int, retry_after_s: float | None, jitter: float) -> int:
    """Return the wait after a failed attempt.

    Half of the policy's backoff is fixed and half is random, so that effects that failed together do not come
    back together. A wait that the other side asked for is kept to as far as the policy's maximum allows.

    Args:
        policy: The definition's.
        attempt: Number of the attempt that failed, from 1.
        retry_after_s: Seconds the other side asked to wait; None when it did not.
        jitter: From 0 (inclusive) to 1.

    Returns:
        Milliseconds, from 0 to the policy's maximum.
    """
    backoff = policy.backoff_ms(attempt)
    wait = backoff / 2 + backoff / 2 * jitter
    asked = 0.0 if retry_after_s is None else retry_after_s * 1000
    return int(min(max(wait, asked), policy.max_backoff_ms))
