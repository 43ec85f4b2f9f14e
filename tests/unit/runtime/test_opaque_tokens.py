"""Tokens are good for what they were given out for, and for nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durachart.runtime.errors import InvalidArgument, PageTokenInvalid, ResumeTokenInvalid
from durachart.runtime.opaque import PageTokens, ResumePoint, ResumeTokens, encode
from durachart.runtime.paging import page_limit
from durachart.store.keys import InstanceKey, shard


def test_a_page_token_gives_its_position_back() -> None:
    tokens = PageTokens("instances", "", "order")
    assert tokens.read(tokens.make("order", "ä/1"), str, str) == ("order", "ä/1")


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "!!!!",
        "AAAA",
        encode([]),
        encode(["instances"]),
        PageTokens("instances", "", "other").make("order", "1"),
        PageTokens("instances", "", "order").make("order"),
        PageTokens("instances", "", "order").make("order", 1),
    ],
)
def test_a_page_token_of_another_list_is_refused(token: str) -> None:
    with pytest.raises(PageTokenInvalid):
        PageTokens("instances", "", "order").read(token, str, str)


@pytest.mark.parametrize(
    "point", [ResumePoint(0), ResumePoint(2**60), ResumePoint(7, InstanceKey("", "order", "é"))]
)
def test_a_resume_token_gives_its_point_back(point: ResumePoint) -> None:
    tokens = ResumeTokens("a" * 32)
    assert tokens.read(tokens.make(point)) == point


@pytest.mark.parametrize(
    "token",
    [
        "x",
        encode(["a" * 8]),
        encode(["a" * 8, -1]),
        encode(["a" * 8, "1"]),
        encode(["a" * 8, True]),
        encode(["a" * 8, 1, "", "order", 5]),
        encode(["a" * 8, 2**63]),
        encode(["a" * 8, 2**64 - 1]),
        ResumeTokens("b" * 32).make(ResumePoint(1)),
    ],
)
def test_a_resume_token_of_another_store_is_refused(token: str) -> None:
    with pytest.raises(ResumeTokenInvalid):
        ResumeTokens("a" * 32).read(token)


@given(st.text())
def test_no_text_makes_reading_a_token_fail_otherwise(text: str) -> None:
    with pytest.raises(ResumeTokenInvalid):
        ResumeTokens("a" * 32).read(text)
    with pytest.raises(PageTokenInvalid):
        PageTokens("x").read(text, str)


@pytest.mark.parametrize("position", [2**63, 2**64 - 1])
def test_a_forged_position_beyond_what_databases_count_in_is_refused(position: int) -> None:
    tokens = PageTokens("journal")
    assert tokens.read(tokens.make(2**63 - 1), int) == (2**63 - 1,)
    with pytest.raises(PageTokenInvalid):
        tokens.read(tokens.make(position), int)


def test_page_sizes_are_read_the_same_way_everywhere() -> None:
    assert [page_limit(size) for size in (0, 1, 1_000, 5_000)] == [100, 1, 1_000, 1_000]
    with pytest.raises(InvalidArgument):
        page_limit(-1)


def test_shards_are_stored_and_never_change() -> None:
    keys = [InstanceKey("", "order", "1"), InstanceKey("eu", "order", "1"), InstanceKey("", "canvas", "ü")]
    assert [shard(key) for key in keys] == [23, 166, 243]
    spread = {shard(InstanceKey("", "order", str(n))) for n in range(5_000)}
    assert len(spread) == 256
