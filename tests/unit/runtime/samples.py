"""A machine with everything the runtime has to deal with, and what drives it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from itertools import count
from typing import Any

from durachart.definitions.definition import Definition, load_definition
from durachart.runtime.commands import CreateInstance, SendEvent
from durachart.runtime.instance import Instance, Pinned, Seat
from durachart.runtime.judge.judge import Judge
from durachart.runtime.judge.moment import Moment
from durachart.runtime.judge.stepping import Verdict
from durachart.runtime.settings import RuntimeSettings
from durachart.store.interface import NO_JOURNAL
from durachart.store.keys import InstanceKey

START_MS = 1_900_000_000_000

JOB: dict[str, Any] = {
    "machine": {
        "id": "job",
        "description": "Work that is charged for.",
        "initial": "idle",
        "context": {"n": 0, "who": None},
        "states": {
            "idle": {
                "tags": ["resting"],
                "on": {
                    "GO": {"target": "working", "actions": "inc"},
                    "ADD": {"actions": "add"},
                    "NOTE": {"actions": "note"},
                    "IF_POSITIVE": {"guard": "positive", "actions": "inc"},
                    "DIVIDE": {"actions": "divide"},
                    "FORBIDDEN": {},
                    "TELL": {
                        "actions": [{"type": "xstate.emit", "params": {"event": {"type": "TOLD", "n": 1}}}]
                    },
                },
            },
            "working": {
                "entry": "charge",
                "meta": {"hint": "wait"},
                "after": {"60000": "late"},
                "on": {
                    "PAID": {"target": "finished", "actions": "pay"},
                    "REFUSED": "idle",
                    "STOPPED": "idle",
                    "BROKEN": {"actions": "divide"},
                    "LEAVE": "idle",
                },
            },
            "late": {"on": {"GO": "working", "WAIT": "waiting"}},
            "waiting": {
                "after": {"1000": {"actions": "divideTimer", "target": "idle"}},
                "on": {"GO": "idle"},
            },
            "finished": {"type": "final", "entry": "mail"},
        },
        "output": {"ok": True},
    },
    "implementations": {
        "guards": {"positive": "context.n > 0"},
        "actions": {
            "inc": {"assign": {"n": "context.n + 1"}},
            "add": {"assign": {"n": "context.n + (has(event.by) ? event.by : 1)"}},
            "note": {"assign": {"who": "event.who"}},
            "divide": {"assign": {"n": "10 / (context.n - context.n)"}},
            "divideTimer": {"assign": {"n": "10 / (context.n - context.n)"}},
            "charge": {"params": {"amount": "context.n"}},
            "pay": {"assign": {"n": "size(event.output.receipt)"}},
        },
        "context": {"who": "has(input.who) ? dyn(input.who) : null"},
    },
    "schemas": {
        "input": {"type": "object", "properties": {"who": {"type": "string"}}, "additionalProperties": False},
        "events": {
            "ADD": {
                "type": "object",
                "properties": {"by": {"type": "integer"}},
                "additionalProperties": False,
            }
        },
    },
    "effects": {
        "charge": {
            "handler": "payments.charge",
            "done": "PAID",
            "failed": "REFUSED",
            "rejected": "BROKEN",
            "stopped": "STOPPED",
            "cancel_on_exit": True,
            "retry": {"max_attempts": 2},
        },
        "mail": {"handler": "mail.send"},
    },
}


@cache
def job() -> Definition:
    return load_definition(JOB)


def job_json(**changes: Any) -> str:
    """The definition as a caller publishes it; ``changes`` are laid over the machine."""
    return json.dumps({**JOB, "machine": {**JOB["machine"], **changes}})


def key(name: str = "j-1") -> InstanceKey:
    return InstanceKey("", "job", name)


def uid_maker() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"{next(numbers):032}"


class SimulatedClock:
    """A wall clock that stands until it is moved, in either direction."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.now = now_ms
        self._new_uid = uid_maker()

    def now_ms(self) -> int:
        return self.now

    def new_uid(self) -> str:
        return self._new_uid()


class Trial:
    """One instance, judged without a store."""

    def __init__(self, settings: RuntimeSettings | None = None) -> None:
        self.judge = Judge(settings or RuntimeSettings(), uid_maker())
        self.pinned = Pinned(job(), 1)
        self.seat = Seat(None, NO_JOURNAL)
        self.now_ms = START_MS
        self.verdicts: list[Verdict] = []

    @property
    def moment(self) -> Moment:
        return Moment(self.now_ms, "ada", "")

    @property
    def instance(self) -> Instance:
        assert self.seat.instance is not None
        return self.seat.instance

    def take(self, verdict: Verdict) -> Verdict:
        self.seat = verdict.seat
        self.verdicts.append(verdict)
        return verdict

    def create(self, input_json: str = "", **given: Any) -> Verdict:
        command = CreateInstance(key(), input_json, **given)
        return self.take(self.judge.create(self.seat, command, self.pinned, self.moment))

    def send(self, event_type: str, data: Any = None, **given: Any) -> Verdict:
        text = "" if data is None else data if isinstance(data, str) else json.dumps(data)
        command = SendEvent(key(), event_type, text, **given)
        return self.take(self.judge.event(self.seat, command, self.pinned, self.moment))
