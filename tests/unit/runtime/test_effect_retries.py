"""Whether another attempt follows, and the waits between attempts."""

from __future__ import annotations

from typing import Any

import pytest

from durachart.definitions.effect_spec import RetryPolicy
from durachart.runtime.effects.retries import wait_before_next_ms

POLICY = RetryPolicy(
    max_attempts=1_000, initial_backoff_ms=1000, max_backoff_ms=10_000, multiplier=3, non_retryable=("BAD",)
)


def _wait(attempt: int = 1, *, reason: str = "BUSY", jitter: float = 0, **given: Any) -> int | None:
    given.setdefault("max_attempts", POLICY.max_attempts)
    return wait_before_next_ms(POLICY, reason, attempt=attempt, jitter=jitter, **given)


@pytest.mark.parametrize(
    ("attempt", "jitter", "expected"),
    [(1, 0, 500), (1, 0.5, 750), (1, 1, 1000), (2, 0, 1500), (3, 1, 9000), (4, 0, 5000), (900, 1, 10_000)],
)
def test_half_of_the_backoff_is_random_and_none_is_over_the_maximum(
    attempt: int, jitter: float, expected: int
) -> None:
    assert _wait(attempt, jitter=jitter) == expected


@pytest.mark.parametrize(("share", "jitter", "expected"), [(0.0, 0.9, 1000), (1.0, 0.0, 0), (1.0, 0.5, 500)])
def test_the_definition_says_which_share_of_a_wait_is_random(
    share: float, jitter: float, expected: int
) -> None:
    policy = RetryPolicy(initial_backoff_ms=1000, jitter=share)
    assert wait_before_next_ms(policy, "BUSY", attempt=1, max_attempts=3, jitter=jitter) == expected


@pytest.mark.parametrize(("at_least_ms", "expected"), [(0, 500), (200, 500), (4_000, 4000), (60_000, 10_000)])
def test_the_other_sides_wait_counts_up_to_the_maximum(at_least_ms: int, expected: int) -> None:
    assert _wait(at_least_ms=at_least_ms) == expected


@pytest.mark.parametrize(("asked_ms", "expected"), [(0, 0), (4_000, 4_000), (60_000, 10_000)])
def test_a_workers_wait_replaces_the_policys_up_to_the_maximum(asked_ms: int, expected: int) -> None:
    assert _wait(7, asked_ms=asked_ms) == expected


def test_attempts_end_with_their_number_or_a_final_reason() -> None:
    assert _wait(1, max_attempts=2) is not None
    assert _wait(2, max_attempts=2) is None
    assert _wait(1, reason="BAD", asked_ms=0) is None


def test_an_effect_given_back_begins_with_the_first_wait_again() -> None:
    assert _wait(8, max_attempts=1_000 + 7) == 500
    assert _wait(9, max_attempts=1_000 + 7) == 1500
