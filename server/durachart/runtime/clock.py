"""Time and chance, passed in: what the runtime decides depends on its arguments alone."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """The wall clock and the source of identities."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch; may jump in either direction."""

    def new_uid(self) -> str:
        """An identity nobody has had before, 32 characters."""


class SystemClock:
    """The machine's own."""

    def now_ms(self) -> int:
        """See `Clock`."""
        return time.time_ns() // 1_000_000

    def new_uid(self) -> str:
        """See `Clock`."""
        return uuid.uuid4().hex


@lru_cache(maxsize=4096)
def instant(at_ms: int) -> datetime:
    """Milliseconds since the epoch as an aware instant."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)
