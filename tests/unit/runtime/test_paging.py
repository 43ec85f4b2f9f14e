"""Pages of what may be large: complete, in order, bounded in what they show and in what is read at once."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durachart.runtime.errors import InvalidArgument
from durachart.runtime.paging import DEFAULT_PAGE, LARGEST_PAGE, PAGE_BYTES, page_limit, read_page, size_bytes

MIB = 1024 * 1024


def pages(sizes: list[int], limit: int) -> tuple[list[list[int]], int]:
    """The pages of rows of these sizes, by number, and the most bytes that one read brought."""
    most = 0

    async def read(after: int, count: int) -> list[int]:
        nonlocal most
        found = list(range(after, min(after + count, len(sizes))))
        most = max(most, sum(sizes[row] for row in found))
        return found

    async def all_pages() -> list[list[int]]:
        made = []
        after: int | None = 0
        while after is not None:
            found, after = await read_page(
                read,
                after,
                limit,
                position=lambda row: row + 1,
                stored_bytes=sizes.__getitem__,
                shown_bytes=sizes.__getitem__,
            )
            made.append(found)
        return made

    return asyncio.run(all_pages()), most


@given(st.lists(st.sampled_from([0, 10, 1_000, 300_000, MIB, 3 * MIB]), max_size=60), st.integers(1, 20))
def test_pages_hold_every_row_once_and_no_more_than_fits(sizes: list[int], limit: int) -> None:
    made, _ = pages(sizes, limit)
    assert [row for page in made for row in page] == list(range(len(sizes)))
    for page in made:
        assert len(page) <= limit
        assert len(page) == 1 or sum(sizes[row] for row in page) <= PAGE_BYTES
        assert page or not sizes


def test_large_rows_are_read_a_few_at_a_time() -> None:
    made, most = pages([MIB] * 400, 1_000)
    assert {len(page) for page in made} == {2}
    assert most <= 32 * MIB


def test_small_rows_take_few_reads() -> None:
    made, most = pages([100] * 1_000, 1_000)
    assert [len(page) for page in made] == [1_000]
    assert most >= 96_800


def test_what_is_stored_but_not_shown_bounds_reads_alone() -> None:
    reads: list[int] = []

    async def read(after: int, count: int) -> list[int]:
        reads.append(count)
        return list(range(after, min(after + count, 100)))

    found, following = asyncio.run(
        read_page(
            read, 0, 90, position=lambda row: row + 1, stored_bytes=lambda _: MIB, shown_bytes=lambda _: 0
        )
    )
    assert (found, following) == (list(range(90)), 90)
    assert max(reads) == 32
    assert reads[1:-1] == [8] * len(reads[1:-1])


@pytest.mark.parametrize("text", ["", "abc", "ä", "数据" * 10, "\ud800"])
def test_texts_are_counted_in_bytes(text: str) -> None:
    assert size_bytes(text) == len(text.encode("utf-8", "surrogatepass"))


def test_a_page_has_a_default_and_a_largest_size() -> None:
    assert [page_limit(size) for size in (0, 1, LARGEST_PAGE, LARGEST_PAGE + 1)] == [
        DEFAULT_PAGE,
        1,
        LARGEST_PAGE,
        LARGEST_PAGE,
    ]
    with pytest.raises(InvalidArgument):
        page_limit(-1)
