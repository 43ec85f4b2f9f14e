"""Runs a machine in memory, with simulated time, and describes each step the way XState would.

XState's policy for failures: a step that fails discards itself and puts the machine into status ``error`` for
good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from durachart.engine import (
    MAX_MICROSTEPS,
    MISSING,
    Effect,
    EngineError,
    InvalidEvent,
    Machine,
    Macrostep,
    Snapshot,
    can,
    fire_timer,
    initial_macrostep,
    macrostep,
    meta,
    state_value,
    tags,
)

MAX_FIRINGS = 10_000
"""Timers that may fire while one item of a script lets time pass."""

ADVANCE = "$advance_ms"
"""The key of a script item that lets time pass instead of sending an event."""


class Simulator:
    """One instance in memory, started.

    Attributes:
        machine: The definition.
        now_ms: Simulated time; 0 at the start.
        snapshot: As after the last step; ``None`` when the start failed.
        error: Why the status is ``error``; ``""`` otherwise.
        macrosteps: What the start, or the last ``send`` or ``advance``, did; empty when it failed.
    """

    def __init__(self, machine: Machine, input: Any = None, *, max_microsteps: int = MAX_MICROSTEPS) -> None:  # noqa: A002
        """Start an instance; ``input=None`` is no input."""
        self.machine = machine
        self.now_ms = 0
        self.snapshot: Snapshot | None = None
        self.error = ""
        self.macrosteps: list[Macrostep] = []
        self._limit = max_microsteps
        self._take(lambda: initial_macrostep(machine, input=input, now_ms=0, max_microsteps=max_microsteps))

    @property
    def status(self) -> str:
        """``active``, ``done`` or ``error``."""
        return "error" if self.error or self.snapshot is None else self.snapshot.status

    def send(self, event: Mapping[str, Any]) -> None:
        """Process one event; it takes no time. Nothing happens unless active.

        Raises:
            InvalidEvent: The event has no ``type``, or one that no event may have.
        """
        if not isinstance(event.get("type"), str):
            raise InvalidEvent(f"an event needs a string `type`: {str(dict(event))[:200]}")
        self.macrosteps = []
        snapshot = self.snapshot
        if snapshot is not None and self.status == "active":
            self._take(
                lambda: macrostep(
                    self.machine, snapshot, dict(event), now_ms=self.now_ms, max_microsteps=self._limit
                )
            )

    def play(self, item: Mapping[str, Any]) -> None:
        """Process one item of a script: an event, or ``{"$advance_ms": n}``.

        Raises:
            InvalidEvent: It is neither.
        """
        if ADVANCE not in item:
            self.send(item)
            return
        milliseconds = item[ADVANCE]
        if not isinstance(milliseconds, int) or isinstance(milliseconds, bool) or milliseconds < 0:
            raise InvalidEvent(f"`{ADVANCE}` needs a whole number of milliseconds, not {milliseconds!r}")
        self.advance(milliseconds)

    def advance(self, milliseconds: int) -> None:
        """Let time pass (>= 0); every timer fires at its own time, the earliest first.

        A timer armed on the way counts from the instant it was armed at. More than ``MAX_FIRINGS`` are a
        failure.
        """
        if milliseconds < 0:
            raise ValueError("time does not run backwards")
        self.macrosteps = []
        target_ms = self.now_ms + milliseconds
        firings = 0
        while self.status == "active":
            snapshot = self.snapshot
            assert snapshot is not None
            due = [timer for timer in snapshot.timers if timer.due_at_ms <= target_ms]
            if not due:
                break
            timer = min(due, key=lambda timer: (timer.due_at_ms, timer.sequence))
            firings += 1
            if firings > MAX_FIRINGS:
                self._fail(f"more than {MAX_FIRINGS:,} timers fired within {milliseconds} ms")
                break
            self.now_ms = max(self.now_ms, timer.due_at_ms)
            self._fire(snapshot, timer.key)
        self.now_ms = target_ms

    def _fire(self, snapshot: Snapshot, key: str) -> None:
        self._take(
            lambda: fire_timer(self.machine, snapshot, key, now_ms=self.now_ms, max_microsteps=self._limit)
        )

    def _take(self, step: Callable[[], Macrostep]) -> None:
        try:
            taken = step()
        except InvalidEvent:
            raise
        except EngineError as error:
            self._fail(str(error))
        else:
            self.snapshot = taken.snapshot
            self.error = taken.snapshot.error or ""
            self.macrosteps.append(taken)

    def _fail(self, message: str) -> None:
        self.error = message
        # A failure discards all that the item did, timers that fired before it included.
        self.macrosteps = []

    def describe(self) -> dict[str, Any]:
        """The present state and what the last item did, as JSON data in the corpus's format."""
        active = self.status == "active"
        snapshot = self.snapshot
        described: dict[str, Any] = {
            "value": {} if snapshot is None else state_value(self.machine, snapshot),
            "context": self.machine.context if snapshot is None else snapshot.context,
            "actions": [_describe_effect(effect) for taken in self.macrosteps for effect in taken.effects],
            "status": self.status,
            "tags": [] if snapshot is None else tags(self.machine, snapshot),
            "can": self._can() if active else [],
            "scheduled": self._scheduled() if active else [],
        }
        if snapshot is not None and snapshot.output is not MISSING:
            described["output"] = snapshot.output
        if snapshot is not None and meta(self.machine, snapshot):
            described["meta"] = meta(self.machine, snapshot)
        if self.error:
            described["error"] = self.error
        return described

    def _can(self) -> list[str]:
        snapshot = self.snapshot
        assert snapshot is not None
        return [
            name for name in self.machine.event_types if can(self.machine, snapshot, name, now_ms=self.now_ms)
        ]

    def _scheduled(self) -> list[dict[str, Any]]:
        assert self.snapshot is not None
        timers = sorted(self.snapshot.timers, key=lambda timer: (timer.due_at_ms, timer.sequence))
        return [
            {
                "id": timer.id,
                "event": timer.event,
                "delay": timer.delay_ms,
                "due_in": timer.due_at_ms - self.now_ms,
            }
            for timer in timers
        ]


def _describe_effect(effect: Effect) -> dict[str, Any]:
    if effect.params is None:
        return {"type": effect.type}
    return {"type": effect.type, "params": effect.params}


def run_script(
    machine: Machine,
    events: Iterable[Mapping[str, Any]],
    input: Any = None,  # noqa: A002 - XState's word
    *,
    max_microsteps: int = MAX_MICROSTEPS,
) -> list[dict[str, Any]]:
    """Start an instance and process a script.

    Args:
        machine: The definition.
        events: Events, or ``{"$advance_ms": n}`` to let time pass.
        input: See ``Simulator``.
        max_microsteps: See ``Simulator``.

    Returns:
        What ``Simulator.describe`` says after the start and after each item; after the start alone when
        that failed.

    Raises:
        InvalidEvent: An item is neither.
    """
    simulator = Simulator(machine, input, max_microsteps=max_microsteps)
    described = [simulator.describe()]
    if simulator.snapshot is None:
        return described
    for event in events:
        simulator.play(event)
        described.append(simulator.describe())
    return described
