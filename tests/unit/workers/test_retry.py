"""Waits between attempts."""

from __future__ import annotations

import pytest

from durachart.definitions.effect_spec import RetryPolicy
from durachart.workers.retry import backoff_ms

POLICY = RetryPolicy(initial_backoff_ms=1000, max_backoff_ms=10_000, multiplier=3)


@pytest.mark.parametrize(
    ("attempt", "jitter", "expected"),
    [(1, 0, 500), (1, 0.5, 750), (1, 1, 1000), (2, 0, 1500), (3, 1, 9000), (4, 0, 5000), (900, 1, 10_000)],
)
def test_half_of_the_backoff_is_random_and_none_is_over_the_maximum(
    attempt: int, jitter: float, expected: int
) -> None:
    assert backoff_ms(POLICY, attempt, None, jitter) == expected


@pytest.mark.parametrize(("asked_s", "expected"), [(0, 500), (0.2, 500), (4, 4000), (60, 10_000)])
def test_the_wait_asked_for_counts_up_to_the_maximum(asked_s: float, expected: int) -> None:
    assert backoff_ms(POLICY, 1, asked_s, 0) == expected
