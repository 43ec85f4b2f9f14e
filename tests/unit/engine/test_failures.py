"""A step that fails changes nothing; whoever called decides what that means."""

import pickle

import pytest

from durachart.definitions.build import build_machine
from durachart.engine import (
    EvaluationFailed,
    MicrostepLimitExceeded,
    UnknownTimer,
    initial_macrostep,
    macrostep,
)

CONFIG = {
    "id": "m",
    "initial": "a",
    "context": {"n": 1},
    "states": {
        "a": {
            "on": {
                "ASSIGN": {"target": "b", "actions": ["fine", "boom"]},
                "EFFECT": {"actions": "fx"},
                "ENTER": "b",
                "EXIT": "c",
            },
            "exit": "fine",
        },
        "b": {"entry": "boom"},
        "c": {"initial": "x", "states": {"x": {"type": "final"}}, "after": {"late": "a"}},
    },
}
IMPLEMENTATIONS = {
    "actions": {
        "boom": {"assign": {"n": "context.n / 0"}},
        "fx": {"params": {"a": "context.missing.x"}},
        "fine": {"assign": {"n": "context.n + 1"}},
    },
    "delays": {"late": "context.n / 0"},
    "outputs": {"m.c.x": "context.n / 0"},
}


@pytest.mark.parametrize(
    ("event", "where"),
    [
        ("ASSIGN", "action 'boom' on 'ASSIGN' in state 'm.a'"),
        ("EFFECT", "action 'fx' on 'EFFECT' in state 'm.a'"),
        ("ENTER", "action 'boom' (entry) of state 'm.b'"),
        ("EXIT", "action 'xstate.after.late' (entry) of state 'm.c'"),
    ],
)
def test_a_failure_names_its_place_and_leaves_the_snapshot_as_it_was(event, where):
    machine = build_machine(CONFIG, IMPLEMENTATIONS)
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    with pytest.raises(EvaluationFailed) as caught:
        macrostep(machine, snapshot, {"type": event}, now_ms=0)
    assert caught.value.where == where
    assert snapshot.context == {"n": 1}
    assert snapshot.configuration.value == "a"


def test_an_output_that_fails_names_its_state():
    machine = build_machine(CONFIG, {**IMPLEMENTATIONS, "delays": {"late": 5}})
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    with pytest.raises(EvaluationFailed) as caught:
        macrostep(machine, snapshot, {"type": "EXIT"}, now_ms=0)
    assert caught.value.where == "output of state 'm.c.x'"


def test_a_context_that_cannot_be_computed_fails_the_start():
    machine = build_machine({"initial": "a", "states": {"a": {}}}, {"context": {"k": "input.missing"}})
    with pytest.raises(EvaluationFailed) as caught:
        initial_macrostep(machine, input={}, now_ms=0)
    assert caught.value.where == "initial context key 'k'"


def test_xstates_policy_discards_the_whole_item_and_ends_in_status_error(play):
    config = {
        "initial": "a",
        "context": {"n": 0},
        "states": {"a": {"on": {"E": [{"actions": ["inc", "fx", "boom"]}], "OK": {"actions": "inc"}}}},
    }
    actions = {"inc": {"assign": {"n": "context.n + 1"}}, "boom": {"assign": {"n": "context.n / 0"}}}
    started = play(config, actions=actions)("OK")("E")
    described = started.described
    assert (described["status"], described["context"], described["actions"]) == ("error", {"n": 1}, [])
    assert "boom" in described["error"]
    assert started("OK").described == described
    assert started(10).described == described


def test_a_failed_start_has_no_snapshot(play):
    started = play(
        {"initial": "a", "context": {"n": 0}, "states": {"a": {"entry": "boom"}}},
        actions=IMPLEMENTATIONS["actions"],
    )
    assert started.simulator.snapshot is None
    assert started("E").described["status"] == "error"


def test_a_timer_that_fails_ends_the_advance(play):
    config = {
        "initial": "a",
        "context": {"n": 0},
        "states": {"a": {"after": {"10": {"actions": "boom"}, "20": "a"}}},
    }
    started = play(config, actions=IMPLEMENTATIONS["actions"])(100)
    assert started.described["status"] == "error"


@pytest.mark.parametrize(
    "error",
    [
        EvaluationFailed("here", "what"),
        MicrostepLimitExceeded(7, "m", "E", ("m.a", "m.b")),
        UnknownTimer("k"),
    ],
)
def test_errors_survive_the_way_to_another_process(error):
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied), vars(copied)) == (type(error), str(error), vars(error))
