"""How long a thread may keep the interpreter from another one."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_TURN_S: Final = 0.000_1


class _Turns:
    """Who wants short turns, of all threads, and how long they were before the first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = 0
        self._before = 0.0

    def shorten(self) -> None:
        with self._lock:
            if not self._wanted:
                self._before = sys.getswitchinterval()
                _set(min(self._before, _TURN_S))
            self._wanted += 1

    def set_back(self) -> None:
        with self._lock:
            self._wanted -= 1
            if not self._wanted:
                _set(self._before)


_turns: Final = _Turns()


@contextmanager
def short_turns() -> Iterator[None]:
    """Let threads take turns every tenth of a millisecond instead of every five; process-wide.

    A transaction is written by a thread that lets go of the interpreter for each statement and wants it
    back afterwards, a dozen times in all. By default a busy event loop keeps it for five milliseconds each
    time, and the two work one after the other. Any number of threads may want it at once: turns are as before
    when the last of them is done.
    """
    _turns.shorten()
    try:
        yield
    finally:
        _turns.set_back()


def _set(turn_s: float) -> None:
    # Python keeps whole microseconds and cuts what is left: what it tells is too little to be set again.
    sys.setswitchinterval(turn_s + 0.000_000_5)
