"""What one item of a script did to a simulated machine, as data: one record an item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from durachart.definitions.simulation import ADVANCE, Simulator
from durachart.engine import Effect, InvalidEvent, Machine, Macrostep, Snapshot, Verdict, explain

Item = Mapping[str, Any]
Outcome = Literal["started", "accepted", "refused", "advanced", "ignored", "failed"]

ABSENT = "(absent)"


@dataclass(frozen=True, slots=True)
class Change:
    """A key of the context before and after; ``ABSENT`` where it was or is not there."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Record:
    """What one item did.

    Attributes:
        item: The event, or ``{"$advance_ms": N}``; None for the start.
        outcome: ``refused``: the machine did not take the event; ``ignored``: it had ended before;
            ``failed``: something in it raised, which ends it.
        left: Ids of the states that were left, in order.
        entered: Ids of the states that were entered, in order.
        actions: Types of the actions that ran, in order; those built in are left out.
        effects: What the step asks the world for, in order.
        context: The keys that changed; for the start, every key.
        value: State value afterwards.
        status: ``active``, ``done`` or ``error`` afterwards.
        can: Event types it would take next.
        timers: Delayed events that wait, with ``due_in`` in milliseconds.
        output: The machine's output once it is done; None when it has none.
        error: Why it failed; ``""`` otherwise.
        verdicts: For a refused event, what the guard of every candidate said.
    """

    item: Item | None
    outcome: Outcome
    left: tuple[str, ...]
    entered: tuple[str, ...]
    actions: tuple[str, ...]
    effects: tuple[Effect, ...]
    context: tuple[Change, ...]
    value: Any
    status: str
    can: tuple[str, ...]
    timers: tuple[Mapping[str, Any], ...]
    output: Any = None
    error: str = ""
    verdicts: tuple[Verdict, ...] = field(default=())


def trace(machine: Machine, items: Iterable[Item], machine_input: Any = None) -> Iterable[Record]:
    """Start an instance and process a script, one record an item as it is processed.

    Args:
        machine: The definition.
        items: Events, or ``{"$advance_ms": N}``; read as they are needed.
        machine_input: None is no input.

    Raises:
        InvalidEvent: An item is neither.
    """
    simulator = Simulator(machine, machine_input)
    yield _record(simulator, None, "failed" if simulator.error else "started", None)
    for item in items:
        before = simulator.snapshot
        ended = simulator.status != "active"
        if ADVANCE in item:
            simulator.advance(_milliseconds(item))
            outcome: Outcome = "advanced"
        else:
            simulator.send(item)
            outcome = "accepted" if any(one.accepted for one in simulator.macrosteps) else "refused"
        if ended:
            outcome = "ignored"
        elif simulator.error:
            outcome = "failed"
        yield _record(simulator, item, outcome, before)


def _milliseconds(item: Item) -> int:
    value = item[ADVANCE]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidEvent(f"`{ADVANCE}` needs a whole number of milliseconds, not {value!r}")
    return value


def _record(simulator: Simulator, item: Item | None, outcome: Outcome, before: Snapshot | None) -> Record:
    machine = simulator.machine
    described = simulator.describe()
    steps = [one for macrostep in simulator.macrosteps for one in _steps(macrostep)]
    verdicts: list[Verdict] = []
    if outcome == "refused" and item is not None and before is not None:
        verdicts = explain(machine, before, dict(item), now_ms=simulator.now_ms)
    return Record(
        item=item,
        outcome=outcome,
        left=tuple(node.id for one in steps for node in one.exited),
        entered=tuple(node.id for one in steps for node in one.entered),
        actions=tuple(
            action.type for one in steps for action in one.actions if action.kind in ("assign", "effect")
        ),
        effects=tuple(effect for macrostep in simulator.macrosteps for effect in macrostep.effects),
        context=tuple(_changes({} if before is None else before.context, described["context"])),
        value=described["value"],
        status=described["status"],
        can=tuple(described["can"]),
        timers=tuple(described["scheduled"]),
        output=described.get("output"),
        error=simulator.error,
        verdicts=tuple(verdicts),
    )


def _steps(macrostep: Macrostep) -> Iterable[Any]:
    return (one.step for one in macrostep.microsteps if one.step is not None)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[Change]:
    for key in {**before, **after}:
        old, new = before.get(key, ABSENT), after.get(key, ABSENT)
        if old != new or type(old) is not type(new):
            yield Change(key, old, new)
