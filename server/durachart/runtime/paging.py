"""Page sizes, read the same way by every list."""

from __future__ import annotations

from typing import Final

from durachart.runtime.errors import InvalidArgument

DEFAULT_PAGE: Final = 100
LARGEST_PAGE: Final = 1_000


def page_limit(page_size: int) -> int:
    """How many items a page may have: 0 is the default, what is over the maximum is the maximum.

    Raises:
        InvalidArgument: It is negative.
    """
    if page_size < 0:
        raise InvalidArgument("page_size", f"a page cannot have {page_size} items; 0 is {DEFAULT_PAGE}")
    return min(page_size or DEFAULT_PAGE, LARGEST_PAGE)
