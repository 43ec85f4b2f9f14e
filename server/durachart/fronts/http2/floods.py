"""What a peer may ask for that costs it nothing: pings, settings, resets, empty frames."""

from __future__ import annotations

_MOST = 1_000
_PER_S = 1.0


class FloodGuard:
    """Counts frames that carry nothing, and says when there are too many.

    A thousand a second are far more than any client has use for, and cost little. What the peer's frames
    make us answer is counted like this too, so that answers cannot pile up before a peer that does not read.
    """

    __slots__ = ("_count", "_since")

    def __init__(self) -> None:
        self._count = 0
        self._since = float("-inf")

    def is_too_much(self, now: float, frames: int = 1) -> bool:
        """Count so many more at ``now``, in seconds on any clock that goes forward."""
        if now - self._since > _PER_S:
            self._since = now
            self._count = 0
        self._count += frames
        return self._count > _MOST
