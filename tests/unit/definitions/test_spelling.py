"""``did you mean …`` suggests what is near and stays silent otherwise."""

from __future__ import annotations

import pytest

from durachart.definitions.spelling import did_you_mean, edit_distance, nearest


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [
        ("", "", 0),
        ("abc", "abc", 0),
        ("abc", "abd", 1),
        ("abc", "acb", 1),
        ("abc", "ab", 1),
        ("kitten", "sitting", 3),
    ],
)
def test_distance_counts_edits(first: str, second: str, distance: int) -> None:
    assert edit_distance(first, second, 10) == edit_distance(second, first, 10) == distance


def test_distance_stops_at_its_limit() -> None:
    assert edit_distance("kitten", "sitting", 1) == 2
    assert edit_distance("a", "abcdef", 2) == 3


def test_nearest_prefers_the_fewest_edits_then_the_first() -> None:
    assert nearest("confrimed", ["cancelled", "confirmed"]) == "confirmed"
    assert nearest("ab", ["ac", "bb"]) == "ac"
    assert nearest("Draft", ["drift", "draft"]) == "draft"


def test_beginning_of_a_word_is_near_it_when_nothing_else_is() -> None:
    assert nearest("timeout", ["retry", "timeout_ms"]) == "timeout_ms"
    assert nearest("don", ["donation"]) is None


def test_nothing_near_suggests_nothing() -> None:
    assert nearest("paid", ["confirmed", "x"]) is None
    assert did_you_mean("paid", []) == ""
    assert nearest("", ["a"]) is None
    assert nearest("x" * 65, ["x" * 64]) is None


def test_a_word_is_not_its_own_suggestion() -> None:
    assert nearest("draft", ["draft"]) is None
