"""The growing text of an attempt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durachart.runtime.generation.text import GenerationText, GenerationTooLarge


def test_offsets_count_code_points_not_bytes() -> None:
    text = GenerationText(1000)
    for piece in ["a", "é", "漢字", "👩‍🚀", "!"]:
        text.append(piece)
    whole = "aé漢字👩‍🚀!"
    assert len(text) == len(whole) == 8
    assert [text.read(offset) for offset in range(9)] == [whole[offset:] for offset in range(9)]


@given(st.lists(st.one_of(st.text(max_size=8).map(lambda piece: piece), st.integers(0, 100)), max_size=40))
def test_reads_between_appends_see_exactly_what_was_appended(steps: list[str | int]) -> None:
    text, whole = GenerationText(10_000), ""
    for step in steps:
        if isinstance(step, str):
            text.append(step)
            whole += step
        else:
            offset = min(step, len(whole))
            assert text.read(offset) == whole[offset:]
    assert text.read(0) == whole


def test_the_bound_is_in_bytes_and_what_fits_is_kept() -> None:
    text = GenerationText(7)
    text.append("漢字")
    text.append("a")
    with pytest.raises(GenerationTooLarge) as refused:
        text.append("b")
    assert refused.value.limit_bytes == 7
    assert text.read(0) == "漢字a"
