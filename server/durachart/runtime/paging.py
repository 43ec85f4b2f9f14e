"""Pages, sized and read the same way by every list of what may be large.

A page ends early when what it shows would pass what gRPC's clients take of one message, and it is read in
pieces, so that a list of large contexts does not have all of them in memory at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from durachart.runtime.errors import InvalidArgument

T = TypeVar("T")
P = TypeVar("P")

PAGE_BYTES: Final = 2 * 1024 * 1024
"""About what a page shows at most; one item may be larger."""
_PIECE_BYTES: Final = 8 * 1024 * 1024
# Rows that are read before it is known how large they are.
_FIRST_PIECE: Final = 32
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


def size_bytes(text: str) -> int:
    """What a text takes in a message. Nearly all are ASCII, of which that is known."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


async def read_page(
    read: Callable[[P, int], Awaitable[list[T]]],
    after: P,
    limit: int,
    *,
    position: Callable[[T], P],
    stored_bytes: Callable[[T], int],
    shown_bytes: Callable[[T], int],
) -> tuple[list[T], T | None]:
    """Up to ``limit`` rows, fewer when they are large, and at least one if there is any.

    Args:
        read: Reads at most so many rows from a position on.
        after: The position to begin at.
        limit: >= 1.
        position: Where to go on after a row.
        stored_bytes: About what a row takes in memory.
        shown_bytes: About what is shown of it.

    Returns:
        The rows, and the one that comes next; None: there is none.
    """
    found: list[T] = []
    shown = stored = 0
    piece = _FIRST_PIECE
    while True:
        piece = max(min(piece, limit + 1 - len(found)), 1)
        rows = await read(after, piece)
        for row in rows:
            shown += shown_bytes(row)
            if len(found) == limit or (found and shown > PAGE_BYTES):
                return found, row
            found.append(row)
            stored += stored_bytes(row)
        if len(rows) < piece:
            return found, None
        after = position(rows[-1])
        piece = _PIECE_BYTES // max(stored // len(found), 1)
