"""How long a thread may keep the interpreter from another one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_TURN_S: Final = 0.000_1


@contextmanager
def short_turns() -> Iterator[None]:
    """Let threads take turns every tenth of a millisecond instead of every five; process-wide.

    A transaction is written by a thread that lets go of the interpreter for each statement and wants it
    back afterwards, a dozen times in all. By default a busy event loop keeps it for five milliseconds each
    time, and the two work one after the other. Not to be entered by two threads at once.
    """
    before = sys.getswitchinterval()
    _set(min(before, _TURN_S))
    try:
        yield
    finally:
        _set(before)


def _set(turn_s: float) -> None:
    # Python keeps whole microseconds and cuts what is left: what it tells is too little to be set again.
    sys.setswitchinterval(turn_s + 0.000_000_5)
