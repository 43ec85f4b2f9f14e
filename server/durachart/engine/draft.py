"""The state of a macrostep while it runs: the only mutable thing in the engine, seen by nobody outside."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

from durachart.engine.model import Event, Machine, StateNode
from durachart.engine.snapshot import Snapshot, Status, Timer

if TYPE_CHECKING:
    from durachart.engine.actions import Effect
    from durachart.engine.microstep import Microstep

_LATEST_MS = 2**53
"""Instants beyond this lose exactness as JSON numbers."""

MAX_TIMERS = 1_000
"""Pending timers of one instance; every step would pay for more."""


class Draft:
    """The next snapshot in the making, with what actions read and write.

    Attributes:
        machine: The definition.
        configuration: As after the last microstep.
        context: Replaced, never written to.
        history_value: Replaced, never written to.
        status: See ``Snapshot``.
        output: See ``Snapshot``.
        timers: Replaced, never written to.
        error: See ``Snapshot``.
        next_sequence: See ``Snapshot``.
        event: The event being processed; eventless microsteps keep the last one.
        now_ms: The instant of the macrostep.
        budget: Handed to every callable.
        effects: So far, in execution order.
        queue: The internal queue, first in first out.
        microsteps: Taken so far.
        changed: Whether an action of this microstep changed anything (an assign counts even when it sets
            equal values).
    """

    __slots__ = (
        "budget",
        "changed",
        "configuration",
        "context",
        "effects",
        "error",
        "event",
        "history_value",
        "machine",
        "microsteps",
        "next_sequence",
        "now_ms",
        "output",
        "queue",
        "status",
        "timers",
    )

    def __init__(
        self, machine: Machine, snapshot: Snapshot, event: Event, now_ms: int, budget: object
    ) -> None:
        self.machine = machine
        (
            self.configuration,
            self.context,
            history_value,
            status,
            self.output,
            self.timers,
            self.error,
            self.next_sequence,
        ) = snapshot
        self.history_value: Mapping[str, tuple[StateNode, ...]] = history_value
        self.status: Status = status
        self.event = event
        self.now_ms = now_ms
        self.budget: Any = budget
        self.effects: list[Effect] = []
        self.queue: list[Event] = []
        self.microsteps: list[Microstep] = []
        self.changed = False

    def schedule(self, event: Event, delay_ms: float, timer_id: str | None, owner: str | None) -> None:
        """Arm a timer.

        An id that is pending already goes to the new timer; the older one still fires but can no longer be
        cancelled, as in XState.

        Raises:
            ValueError: The delay reaches beyond what JSON numbers hold exactly, or too many timers are
                pending.
        """
        due_at_ms = delay_ms + self.now_ms
        if not -_LATEST_MS <= due_at_ms <= _LATEST_MS:
            raise ValueError(f"a delay of {delay_ms} ms is out of range")
        if len(self.timers) >= MAX_TIMERS:
            raise ValueError(f"more than {MAX_TIMERS:,} timers would be pending")
        sequence = self.next_sequence
        self.next_sequence = sequence + 1
        key = f"#{sequence}"
        if timer_id is not None:
            key = timer_id
            self.timers = tuple(
                timer._replace(key=f"#{timer.sequence}", id=None) if timer.id == timer_id else timer
                for timer in self.timers
            )
        self.timers += (Timer(key, timer_id, event, delay_ms, ceil(due_at_ms), sequence, owner),)

    def cancel(self, timer_id: str) -> None:
        """Disarm the timer with this id, if it is pending."""
        if self.timers:
            self.timers = tuple(timer for timer in self.timers if timer.id != timer_id)
