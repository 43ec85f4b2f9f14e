"""The text of one attempt as it grows, bounded, readable from any offset."""

from __future__ import annotations

from bisect import bisect_right


class GenerationTooLarge(Exception):
    """The text would exceed its bound; nothing of what did not fit was kept.

    Attributes:
        limit_bytes: The bound, in bytes of UTF-8.
    """

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the generated text is larger than {limit_bytes:,} bytes")
        self.limit_bytes = limit_bytes


class GenerationText:
    """An append-only text, kept in pieces so that a long one is not copied for each token.

    Offsets and lengths count Unicode code points.
    """

    __slots__ = ("_bytes", "_ends", "_last_read", "_limit_bytes", "_pieces")

    def __init__(self, limit_bytes: int) -> None:
        """Begin empty; ``limit_bytes`` bounds the text's UTF-8 form."""
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._pieces: list[str] = []
        self._ends: list[int] = []
        self._last_read = (0, 0, "")

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def append(self, piece: str) -> None:
        """Add to the end.

        Raises:
            GenerationTooLarge: The piece does not fit.
        """
        size = self._bytes + len(piece.encode("utf-8", "surrogatepass"))
        if size > self._limit_bytes:
            raise GenerationTooLarge(self._limit_bytes)
        if piece:
            self._ends.append(len(self) + len(piece))
            self._pieces.append(piece)
            self._bytes = size

    def read(self, offset: int) -> str:
        """Everything from ``offset``, which is at most the length, to the end."""
        start, end, text = self._last_read
        length = len(self)
        # Viewers that keep up ask for the same stretch one after the other.
        if start != offset or end != length:
            text = self._join(offset)
            self._last_read = (offset, length, text)
        return text

    def _join(self, offset: int) -> str:
        first = bisect_right(self._ends, offset)
        if first == len(self._pieces):
            return ""
        skipped = offset - (self._ends[first - 1] if first else 0)
        return "".join([self._pieces[first][skipped:], *self._pieces[first + 1 :]])
