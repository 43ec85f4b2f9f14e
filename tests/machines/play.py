"""One instance of a reference machine in memory, judged as the service judges: a refusal changes nothing.

Every state on the way is held against the machine's own promises: the context fits its schema, and whatever
is accepted was among the allowed events.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from durachart.definitions.definition import Definition, load_definition
from durachart.definitions.loader import load_document
from durachart.engine import (
    EvaluationFailed,
    Macrostep,
    Snapshot,
    allowed_events,
    explain,
    fire_timer,
    initial_macrostep,
    macrostep,
    meta,
    state_value,
    tags,
)
from durachart.engine.model import Transition

MACHINES = Path(__file__).resolve().parents[2] / "machines"
START = datetime(2025, 5, 1, 9, 0, tzinfo=UTC)


@cache
def definition(name: str) -> Definition:
    return load_definition(load_document(MACHINES / name / "machine.yaml"))


class Play:
    """An instance.

    Attributes:
        now: The instant of the next event.
        version: As the service counts.
        snapshot: The present state.
        effects: What the last accepted event asked for, as ``(type, params)``.
        taken: Every transition taken so far.
        entered: Ids of every state entered so far.
    """

    def __init__(self, name: str, given: Any = None, *, now: datetime = START) -> None:
        self.definition = definition(name)
        self.machine = self.definition.machine
        self.now = now
        self.version = 0
        self.effects: list[tuple[str, Any]] = []
        self.taken: set[Transition] = set()
        self.entered: set[str] = set()
        value = self.definition.start_input(given)
        assert self.definition.schemas.validate_input(value) == []
        self.snapshot: Snapshot
        self._take(initial_macrostep(self.machine, input=value, now_ms=self._now_ms))

    def send(self, event_type: str, **data: Any) -> str:
        """``accepted``, or the reason of the refusal."""
        if self.snapshot.status != "active":
            return "INSTANCE_FINISHED"
        if self.definition.schemas.validate_event(event_type, data):
            return "PAYLOAD_INVALID"
        event = {"type": event_type, **data}
        allowed = self.allowed
        try:
            step = macrostep(self.machine, self.snapshot, event, now_ms=self._now_ms)
        except EvaluationFailed:
            return "EVALUATION_FAILED"
        if not step.accepted:
            verdicts = explain(self.machine, self.snapshot, event, now_ms=self._now_ms)
            return "GUARD_REJECTED" if any(verdict.guard for verdict in verdicts) else "EVENT_NOT_ALLOWED"
        assert event_type in allowed
        self.version += 1
        self._take(step)
        return "accepted"

    def accept(self, event_type: str, **data: Any) -> Play:
        """Send an event that has to be accepted."""
        outcome = self.send(event_type, **data)
        assert outcome == "accepted", f"{event_type} in {self.value}: {outcome}"
        return self

    def wait(self, **duration: float) -> Play:
        """Let time pass; timers fire at their own instants."""
        until = self.now + timedelta(**duration)
        until_ms = _milliseconds(until)
        while self.snapshot.status == "active":
            due = [timer for timer in self.snapshot.timers if timer.due_at_ms <= until_ms]
            if not due:
                break
            timer = min(due, key=lambda timer: (timer.due_at_ms, timer.sequence))
            self.now = max(self.now, datetime.fromtimestamp(timer.due_at_ms / 1000, UTC))
            self._take(fire_timer(self.machine, self.snapshot, timer.key, now_ms=self._now_ms))
            self.version += 1
        self.now = until
        return self

    @property
    def value(self) -> Any:
        return state_value(self.machine, self.snapshot)

    @property
    def context(self) -> dict[str, Any]:
        return self.snapshot.context

    @property
    def tags(self) -> list[str]:
        return tags(self.machine, self.snapshot)

    @property
    def meta(self) -> dict[str, Any]:
        return meta(self.machine, self.snapshot)

    @property
    def allowed(self) -> list[str]:
        return allowed_events(self.machine, self.snapshot, self.definition.event_types, now_ms=self._now_ms)

    @property
    def timers(self) -> list[str]:
        return [timer.event["type"] for timer in self.snapshot.timers]

    @property
    def _now_ms(self) -> int:
        return _milliseconds(self.now)

    def _take(self, step: Macrostep) -> None:
        self.snapshot = step.snapshot
        self.effects = [(effect.type, effect.params) for effect in step.effects]
        self.taken.update(taken for microstep in step.microsteps for taken in microstep.transitions)
        self.entered |= step.entered
        assert self.definition.schemas.validate_context(self.context) == []


def _milliseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
