"""Snapshots as JSON, and what they show."""

import json

import pytest

from durachart.definitions.build import build_machine
from durachart.engine import (
    MISSING,
    SnapshotInvalid,
    initial_macrostep,
    macrostep,
    meta,
    snapshot_from_json,
    snapshot_to_json,
    state_value,
    tags,
)

CONFIG = {
    "id": "m",
    "initial": "p",
    "tags": "t1",
    "context": {"n": None},
    "states": {
        "p": {
            "type": "parallel",
            "tags": ["t2", "t1"],
            "meta": {"k": 1},
            "after": {"50": "q"},
            "states": {
                "r": {
                    "initial": "x",
                    "states": {"x": {"on": {"E": "y"}}, "y": {"meta": "text"}, "h": {"type": "history"}},
                },
                "s": {},
            },
            "on": {"OUT": "q", "DONE": "z"},
        },
        "q": {},
        "z": {"type": "final"},
    },
}


@pytest.fixture
def machine():
    return build_machine(CONFIG, {"outputs": {"m": "context.n"}})


def after(machine, *events):
    snapshot = initial_macrostep(machine, now_ms=1_000).snapshot
    for event in events:
        snapshot = macrostep(machine, snapshot, {"type": event}, now_ms=1_000).snapshot
    return snapshot


def test_a_snapshot_shows_value_tags_and_meta(machine):
    snapshot = after(machine, "E")
    assert state_value(machine, snapshot) == {"p": {"r": "y", "s": {}}}
    assert tags(machine, snapshot) == ["t1", "t2"]
    assert meta(machine, snapshot) == {"m.p": {"k": 1}, "m.p.r.y": "text"}


@pytest.mark.parametrize("events", [(), ("E",), ("E", "OUT"), ("DONE",)])
def test_a_snapshot_survives_json(machine, events):
    snapshot = after(machine, *events)
    data = json.loads(json.dumps(snapshot_to_json(machine, snapshot)))
    assert data["format"] == 1
    assert snapshot_from_json(machine, data) == snapshot


def test_an_output_of_null_is_not_no_output(machine):
    done = after(machine, "DONE")
    assert (done.output, "output" in snapshot_to_json(machine, done)) == (None, True)
    active = after(machine)
    assert (active.output, "output" in snapshot_to_json(machine, active)) == (MISSING, False)
    assert not MISSING
    assert repr(MISSING) == "MISSING"


def test_an_error_survives_json():
    machine = build_machine({"initial": "a", "states": {"a": {"invoke": {"id": "x", "src": "y"}}}})
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    failed = macrostep(machine, snapshot, {"type": "xstate.error.actor.x"}, now_ms=0).snapshot
    restored = snapshot_from_json(machine, snapshot_to_json(machine, failed))
    assert (restored.status, restored.error) == ("error", "xstate.error.actor.x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2 is unknown"),
        ({"configuration": ["m.gone"]}, "m.gone"),
        ({"configuration": ["m.p.r.x"]}, "cannot be active together"),
        ({"configuration": ["m.q", "m.z"]}, "cannot be active together"),
        ({"configuration": ["m.p"]}, "cannot be active together"),
        ({"configuration": []}, "cannot be active together"),
        ({"configuration": ["m", "m.p", "m.p.r.h"], "irregular": True}, "cannot be active together"),
        ({"history": {"m.gone": []}}, "m.gone"),
        ({"timers": [{"id": "x"}]}, "Timer"),
        ({"history": None}, "no snapshot"),
    ],
)
def test_data_that_is_no_snapshot_of_this_machine_is_refused(machine, change, message):
    data = {**snapshot_to_json(machine, after(machine)), **change}
    with pytest.raises(SnapshotInvalid, match=message):
        snapshot_from_json(machine, data)


def test_names_show_in_messages(machine):
    assert repr(machine) == "<Machine m: 9 states>"
    assert repr(machine.by_id["m.p.r"]) == "<StateNode m.p.r>"
    assert repr(after(machine).configuration) == "<Configuration {'p': {'r': 'x', 's': {}}}>"
