"""Halves of characters in a provider's stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durachart.workers.surrogates import SurrogateMender

FIRST, SECOND = "\ud83d", "\ude80"


def mend(*pieces: str) -> list[str]:
    mender = SurrogateMender()
    return [*map(mender.feed, pieces), mender.finish()]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["a", "🚀"], ["a", "🚀", ""]),
        (["a" + FIRST, SECOND + "b"], ["a", "🚀b", ""]),
        ([FIRST, "", SECOND], ["", "", "🚀", ""]),
        ([FIRST, "x"], ["", "\ufffdx", ""]),
        ([FIRST], ["", "\ufffd"]),
        (["x" + SECOND], ["x\ufffd", ""]),
        ([FIRST + FIRST, SECOND], ["\ufffd", "🚀", ""]),
    ],
)
def test_halves_are_joined_and_lone_ones_replaced(pieces: list[str], expected: list[str]) -> None:
    assert mend(*pieces) == expected


@given(st.text(alphabet=st.characters(exclude_categories=())), st.integers(0, 20))
def test_what_comes_out_can_always_be_encoded(text: str, cut: int) -> None:
    mended = "".join(mend(text[:cut], text[cut:]))
    assert mended.encode().decode() == mended


@given(st.lists(st.text()))
def test_whole_text_passes_unchanged(pieces: list[str]) -> None:
    assert mend(*pieces) == [*pieces, ""]
