"""Random walks through every reference machine: no part is out of reach, its promises hold everywhere.

``Play`` checks after each step that the context fits its schema, and that what is accepted was allowed.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from durachart.engine import snapshot_from_json, snapshot_to_json
from tests.machines.play import MACHINES, Play, definition
from tests.machines.test_broadcast import COMPONENTS
from tests.machines.test_concierge import JUST_ENDED, LATER_TODAY, LIVE

NAMES = ["broadcast", "canvas", "concierge", "flow", "negotiation", "order"]

_FAILED = {"effect_id": "e-1", "error": {"reason": "BUSY", "message": "Busy."}}
_OUTPUT = {"text": "t", "finish_reason": "stop", "model": "local", "usage": None}
_OFFER = {"by": "buyer", "terms": {"price_cents": 1, "days": 1}}

PAYLOADS: dict[str, dict[str, list[dict[str, Any]]]] = {
    "order": {"ADD_ITEM": [{"sku": "tea"}], "PAYMENT_FAILED": [{"reason": "declined"}]},
    "canvas": {
        "SUBMIT": [{"prompt": "Explain."}, {"prompt": " "}],
        "SAVE": [{"prompt": "Draft."}],
        "SET_EVALS": [{"evals": ["Short."]}],
        "SELECT_MODEL": [{"model": "local"}],
        "GENERATION_DONE": [{"effect_id": "e-1", "output": _OUTPUT}],
        "GENERATION_FAILED": [_FAILED],
        "GENERATION_STOPPED": [{"effect_id": "e-1"}],
    },
    "negotiation": {
        **{name: [_OFFER, _OFFER | {"by": "seller"}] for name in ("PROPOSE", "COUNTER")},
        **{
            name: [{"by": "buyer"}, {"by": "seller"}, {"by": "eve"}]
            for name in ("ACCEPT", "REJECT", "RENEGOTIATE", "WITHDRAW")
        },
    },
    "concierge": {
        "MESSAGE": [{"text": "Hello"}],
        "EVENT_CONTEXT": [{"events": events} for events in ([], [LIVE], [LATER_TODAY], [JUST_ENDED])],
        "ROUTING_FAILED": [{"reason": "unreachable"}],
    },
    "flow": {
        "COUNTER_UPDATED": [{"effect_id": "e-1"}],
        "MESSAGE_SENT": [{"effect_id": "e-1"}],
        "STEP_FAILED": [_FAILED],
    },
    "broadcast": {
        "COMPONENT_READY": [{"output": {"component": component}} for component in COMPONENTS],
        **{name: [_FAILED] for name in ("COMPONENT_FAILED", "START_FAILED", "STOP_FAILED", "FEED_FAILED")},
    },
}
# What walks begin with, by turns; a machine that is not here begins with nothing.
INPUTS: dict[str, list[dict[str, Any]]] = {
    "flow": [
        {
            "message": {"id": "m-1", "kind": kind},
            "steps": list("abcdefgh"),
            "stuck_after_ms": 9,
            "max_recoveries": 2,
        }
        | more
        for kind, more in [
            ("text", {"optional": ["b", "d"]}),
            ("text", {"max_recoveries": 0}),
            ("backchannel", {}),
            ("privileged", {}),
            ("privileged", {"stuck_after_ms": 8}),
            ("privileged", {"message": {"id": "m-1", "kind": "privileged", "command": "void"}}),
            ("privileged", {"message": {"id": "m-1", "kind": "privileged", "command": "run_next_steps"}}),
        ]
    ],
}
# What ends a walk, or takes it far back, is tried less often than its share.
RARE = {
    "WITHDRAW",
    "SESSION_END",
    "CANCEL",
    "SUSPEND",
    "COMPONENT_FAILED",
    "EMERGENCY_STOP",
    "REJECT",
    "ABORT",
}


def walk(name: str, seed: int, steps: int = 150) -> Play:
    chance = random.Random(seed)
    given = INPUTS.get(name, [None])
    play = Play(name, given[seed % len(given)])
    for _ in range(steps):
        if chance.random() < 0.1:
            play.wait(minutes=chance.choice([1, 31, 60 * 24]))
            continue
        allowed = play.allowed
        if not allowed:
            break
        known = play.definition.event_types if chance.random() < 0.1 else allowed
        event_type = chance.choice([one for one in known for _ in range(1 if one in RARE else 16)])
        play.send(event_type, **chance.choice(PAYLOADS[name].get(event_type, [{}])))
    return play


def test_every_reference_machine_is_explored() -> None:
    assert sorted(path.parent.name for path in MACHINES.glob("*/machine.yaml")) == NAMES
    assert all(definition(name).machine_id == name for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_state_is_entered_and_every_transition_taken(name: str) -> None:
    walks = [walk(name, seed) for seed in range(100)]
    machine = definition(name).machine
    declared = {
        transition
        for node in machine.nodes
        for transition in [*(one for many in node.on.values() for one in many), *node.always]
    }
    taken = set().union(*(play.taken for play in walks))
    assert {(one.source.id, one.event_type) for one in declared - taken} == set()
    entered = set().union(*(play.entered for play in walks))
    assert {node.id for node in machine.nodes if node.type != "history"} - entered == set()


@pytest.mark.parametrize("name", NAMES)
def test_snapshots_survive_storing_wherever_a_walk_ends(name: str) -> None:
    for seed in range(20):
        play = walk(name, seed, steps=10)
        stored = snapshot_to_json(play.machine, play.snapshot)
        assert snapshot_to_json(play.machine, snapshot_from_json(play.machine, stored)) == stored


@pytest.mark.parametrize("name", NAMES)
def test_every_event_a_machine_handles_has_a_schema_and_a_place(name: str) -> None:
    found = definition(name)
    assert set(found.event_types) == set(found.schemas.events)
    assert found.schemas.context is not None
    assert found.schemas.input is not None


@pytest.mark.parametrize("name", NAMES)
def test_machine_describes_itself(name: str) -> None:
    machine = definition(name).machine
    assert all(node.description for node in machine.root.regions)
    assert (MACHINES / name / "machine.yaml").read_text().startswith("# ")
