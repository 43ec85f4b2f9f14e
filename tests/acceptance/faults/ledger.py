"""A machine whose state tells which events it has taken and in which order, and the same in ten lines.

Every event carries a number of its own, and the context keeps a rolling hash of them: two histories that
differ in one event, or in the order of two, end in different contexts. The model beside the document says
what each event must do, knowing nothing of the interpreter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

MACHINE_ID: Final = "ledger"
ALARM_MS: Final = 300
"""From ARM to the tick that follows from it."""

POST_HANDLER: Final = "ledger.post"
"""Of the effects that a worker of its own runs."""

_RETRY: Final = {"max_attempts": 100, "initial_backoff_ms": 10, "max_backoff_ms": 10}
_MULTIPLIER: Final = 31
_MODULUS: Final = 1_000_000_007

DOCUMENT: Final[Mapping[str, Any]] = {
    "machine": {
        "id": MACHINE_ID,
        "initial": "idle",
        "context": {"taken": 0, "chain": 0, "ticks": 0, "noted": 0},
        "on": {
            "ADD": {"guard": "positive", "actions": "add"},
            "NOTE": {"actions": ["add", "note"]},
            "NOTED": {"actions": "noted"},
            "REMARK": {"actions": ["add", "remark"]},
            "POST": {"actions": ["add", "post"]},
            "BREAK": {"actions": "divide"},
        },
        "states": {
            "idle": {"on": {"ARM": {"target": "armed", "actions": "add"}}},
            "armed": {"after": {str(ALARM_MS): {"target": "idle", "actions": "tick"}}},
        },
    },
    "implementations": {
        "guards": {"positive": "event.n > 0"},
        "actions": {
            "add": {
                "assign": {
                    "taken": "context.taken + 1",
                    "chain": f"(context.chain * {_MULTIPLIER} + event.n) % {_MODULUS}",
                }
            },
            "tick": {"assign": {"ticks": "context.ticks + 1"}},
            "noted": {"assign": {"noted": "context.noted + 1"}},
            "divide": {"assign": {"taken": "1 / (event.n - event.n)"}},
            "note": {"params": {"n": "event.n"}},
            "remark": {"params": {"n": "event.n"}},
            "post": {"params": {"n": "event.n"}},
        },
    },
    "schemas": {
        "context": {
            "type": "object",
            "properties": {name: {"type": "integer"} for name in ("taken", "chain", "ticks", "noted")},
            "required": ["taken", "chain", "ticks", "noted"],
        },
        "events": {
            name: {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
            for name in ("ADD", "NOTE", "REMARK", "POST", "ARM", "BREAK")
        },
    },
    "effects": {
        "note": {"handler": "log", "done": "NOTED", "retry": _RETRY},
        "remark": {"handler": "log", "retry": _RETRY},
        "post": {"handler": POST_HANDLER, "done": "NOTED", "retry": _RETRY},
    },
}


class Cause(NamedTuple):
    """What asks for a step.

    Attributes:
        kind: ``create``, ``event``, ``timer`` or ``effect``.
        event_type: ``""`` for a creation, and for the end of an effect that the machine does not hear of.
        n: The event's own number; 0 where it has none.
    """

    kind: str
    event_type: str
    n: int = 0


class Ledger(NamedTuple):
    """A state of the machine, as the model has it."""

    taken: int = 0
    chain: int = 0
    ticks: int = 0
    noted: int = 0
    armed: bool = False

    @classmethod
    def shown(cls, value: object, context: Mapping[str, int] | None) -> Ledger:
        """The state that an answer shows."""
        assert context is not None
        return cls(**context, armed=value == "armed")

    def after(self, cause: Cause) -> Ledger | str:
        """The state that follows, or the reason for which the event is refused."""
        match cause.kind, cause.event_type:
            case ("timer", _):
                return self._replace(ticks=self.ticks + 1, armed=False) if self.armed else "no timer"
            case ("effect", "NOTED"):
                return self._replace(noted=self.noted + 1)
            case ("effect", ""):
                return self
            case ("event", "ADD"):
                return self._added(cause.n) if cause.n > 0 else "GUARD_REJECTED"
            case ("event", "NOTE" | "REMARK" | "POST"):
                return self._added(cause.n)
            case ("event", "ARM"):
                return "EVENT_NOT_ALLOWED" if self.armed else self._added(cause.n)._replace(armed=True)
            case ("event", "BREAK"):
                return "EVALUATION_FAILED"
        return "EVENT_NOT_ALLOWED"

    def _added(self, n: int) -> Ledger:
        return self._replace(taken=self.taken + 1, chain=(self.chain * _MULTIPLIER + n) % _MODULUS)


def document_json() -> str:
    """The document as it is published."""
    return json.dumps(DOCUMENT)
