"""The machine's state as a value, and the forms in which it leaves the engine.

A snapshot is a tuple: nothing can change it, making one costs a tenth of a frozen dataclass (a step makes
one per event), and snapshots share whatever a step did not touch. What it refers to is shared too: whoever
holds a snapshot must not write into its context, history value or events.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Literal, NamedTuple

from durachart.engine.configuration import Configuration
from durachart.engine.model import Event, Machine, StateNode

Status = Literal["active", "done", "error"]


class Missing(Enum):
    """The type of ``MISSING``."""

    MISSING = "missing"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING
"""No value at all, where ``None`` is a value (JSON ``null``)."""


class Timer(NamedTuple):
    """A delayed event that waits for its time.

    Attributes:
        key: Unique among the pending timers of one snapshot: the id, else ``#<sequence>``.
        id: What ``xstate.cancel`` names; ``None`` for a delayed raise without id.
        event: What it delivers.
        delay_ms: The delay as the machine stated it.
        due_at_ms: When it fires, on the clock of the step's ``now_ms``; never before the delay has passed.
        sequence: Order of arming within one snapshot; breaks ties of ``due_at_ms``.
        owner: Id of the state whose ``after`` it is; ``None`` for a delayed raise.
    """

    key: str
    id: str | None
    event: Event
    delay_ms: int | float
    due_at_ms: int
    sequence: int
    owner: str | None


class Snapshot(NamedTuple):
    """The stable state of one instance between two events.

    Attributes:
        configuration: The active state nodes.
        context: The machine's data.
        history_value: What each history node remembers, by its id: nodes in document order.
        status: ``done`` and ``error`` are final: later events change nothing.
        output: The machine's output once done; ``MISSING`` while there is none.
        timers: Pending delayed events in the order of arming; empty unless active.
        error: For people, when status is ``error``.
        next_sequence: Sequence number of the next timer.
    """

    configuration: Configuration
    context: dict[str, Any]
    history_value: Mapping[str, tuple[StateNode, ...]]
    status: Status
    output: Any
    timers: tuple[Timer, ...]
    error: str | None
    next_sequence: int


def state_value(machine: Machine, snapshot: Snapshot) -> Any:
    """XState's state value: the key of a compound state's atomic child, else an object by key. Shared."""
    del machine
    return snapshot.configuration.value


def tags(machine: Machine, snapshot: Snapshot) -> list[str]:
    """The tags of the active states, sorted, each once. Shared."""
    del machine
    return snapshot.configuration.tags


def meta(machine: Machine, snapshot: Snapshot) -> dict[str, Any]:
    """The meta data of the active states that have any, by state id, in document order. Shared."""
    del machine
    return snapshot.configuration.meta
