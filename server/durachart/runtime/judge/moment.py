"""When a command is judged, and for whom."""

from __future__ import annotations

from typing import NamedTuple


class Moment(NamedTuple):
    """When a command is judged, and for whom.

    Attributes:
        wall_ms: The wall clock. The recorded instant is never before the instance's last one.
        actor: Who asks.
        traceparent: Empty: not traced.
    """

    wall_ms: int
    actor: str
    traceparent: str = ""
