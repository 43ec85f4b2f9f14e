"""Named places in the code at which a test ends or halts this very process.

A process can be killed from outside at any instant, but the instants that matter are a few microseconds
long: after a commit and before its answer, after a handler and before its result. So those have names.
`reach` is called there. It does nothing unless one of them is armed, which ``DURACHART_CRASH_AT`` asks for
at the start of ``durachart serve``::

    DURACHART_CRASH_AT=commit.after:37        SIGKILL when that place is reached for the 37th time
    DURACHART_CRASH_AT=timer.before:1:stop    SIGSTOP instead; SIGCONT lets it go on

Nothing is cleaned up, flushed or told to anybody. For tests of your own against a server of your own.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_log = logging.getLogger(__name__)

VARIABLE: Final = "DURACHART_CRASH_AT"

POINTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "commit.before": "a batch has been judged; its transaction has not begun",
        "commit.inside": "SQLite: a transaction's journal is written; its effects and timers are not",
        "commit.written": "SQLite: everything of a transaction is written; it is not committed",
        "commit.after": "a transaction is on disk; nobody has been told",
        "reply.set": "callers' answers are decided and watchers told; no answer has been sent",
        "lease.after": "leases of effects are on disk; no worker has been told",
        "effect.leased": "an attempt's lease is on disk; its handler has not begun",
        "effect.returned": "a handler has returned; the end of its attempt is not committed",
        "effect.ended": "the end of an attempt is on disk; its worker has not gone on",
        "timer.before": "a timer is due; its event has not been judged",
        "timer.after": "a timer's event is on disk; its worker has not gone on",
        "retention.batch": "retention has removed one batch; the next has not begun",
    }
)
"""Every place, and what it is between."""

_SIGNALS: Final = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


class CrashPointUnknown(ValueError):
    """What was asked for is not a place at which this process can be made to crash."""

    def __init__(self, asked: str) -> None:
        self.asked = asked
        super().__init__(
            f"{VARIABLE}: {asked!r} is no crash point; write NAME:N, or NAME:N:stop to halt, with N from 1 "
            f"and one of {', '.join(POINTS)}"
        )


class _Armed:
    """One place, and which time it is reached counts."""

    def __init__(self, name: str, times: int, number: signal.Signals) -> None:
        self.name = name
        self._times = times
        self._number = number
        # `next` of it is one step of the interpreter: places are reached in several threads.
        self._reached = itertools.count(1)

    def reach(self) -> None:
        if next(self._reached) == self._times:
            os.kill(os.getpid(), self._number)


_armed: _Armed | None = None


def reach(name: str) -> None:
    """Crash here, if this is the place and the time; else nothing, in some 40 ns.

    Args:
        name: One of ``POINTS``.
    """
    if _armed is not None and _armed.name == name:
        _armed.reach()


def arm(asked: str) -> None:
    """Say where to crash, ``NAME:N`` or ``NAME:N:stop``; ``""``: nowhere, which is how a process begins.

    Raises:
        CrashPointUnknown: It names no place; nothing is armed.
    """
    global _armed
    if not asked:
        _armed = None
        return
    name, _, rest = asked.partition(":")
    times, _, action = rest.partition(":")
    if name not in POINTS or not (times.isdecimal() and int(times)) or (action or "kill") not in _SIGNALS:
        raise CrashPointUnknown(asked)
    _armed = _Armed(name, int(times), _SIGNALS[action or "kill"])
    _log.warning("this process will crash on purpose at=%s", asked)
