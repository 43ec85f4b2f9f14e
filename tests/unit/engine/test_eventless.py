"""Eventless transitions and raised events: a macrostep runs to completion."""

import pytest

from durachart.definitions.build import build_machine
from durachart.engine import MicrostepLimitExceeded, initial_macrostep, macrostep

INC = {"inc": {"assign": {"n": "context.n + 1"}}}


def test_eventless_transitions_run_until_none_is_enabled(play):
    config = {
        "initial": "a",
        "context": {"n": 0},
        "states": {"a": {"always": {"guard": "few", "target": "a", "reenter": True, "actions": "inc"}}},
    }
    assert play(config, guards={"few": "context.n < 5"}, actions=INC).context == {"n": 5}


def test_eventless_transitions_go_before_raised_events(play):
    config = {
        "initial": "a",
        "states": {
            "a": {
                "entry": {"type": "xstate.raise", "params": {"event": {"type": "R"}}},
                "always": "b",
                "on": {"R": "c"},
            },
            "b": {"on": {"R": "d"}},
            "c": {},
            "d": {},
        },
    }
    assert play(config).value == "d"


def test_raised_events_are_processed_in_the_order_of_raising(play):
    config = {
        "initial": "a",
        "states": {
            "a": {
                "entry": [
                    {"type": "xstate.raise", "params": {"event": {"type": "X", "v": 1}}},
                    {"type": "xstate.raise", "params": {"event": {"type": "Y"}}},
                ],
                "on": {"X": {"actions": "x"}, "Y": {"actions": "y"}},
            }
        },
    }
    started = play(config, actions={"x": {"params": {"v": "event.v"}}})
    assert started.described["actions"] == [{"type": "x", "params": {"v": 1}}, {"type": "y"}]


def test_eventless_transitions_run_after_an_event_that_selects_nothing(play):
    config = {
        "initial": "a",
        "states": {"a": {"always": {"guard": "asked", "target": "b"}}, "b": {}},
    }
    assert play(config, guards={"asked": "event.type == 'UNKNOWN'"})("UNKNOWN").value == "b"


def test_an_eventless_step_that_changes_nothing_is_not_repeated(play):
    config = {"initial": "a", "states": {"a": {"always": {"actions": "ping"}}}}
    started = play(config)
    assert started.effects == ["ping"]
    assert started("UNKNOWN").effects == ["ping"]


def test_after_a_raised_event_eventless_transitions_are_asked_again(play):
    config = {
        "initial": "a",
        "states": {
            "a": {
                "entry": {"type": "xstate.raise", "params": {"event": {"type": "NOBODY"}}},
                "always": {"actions": "ping"},
            }
        },
    }
    assert play(config).effects == ["ping", "ping"]


def test_an_assign_of_an_equal_value_is_a_change():
    machine = build_machine(
        {"initial": "a", "context": {"n": 1}, "states": {"a": {"always": {"actions": "same"}}}},
        {"actions": {"same": {"assign": {"n": "context.n"}}}},
    )
    with pytest.raises(MicrostepLimitExceeded):
        initial_macrostep(machine, now_ms=0)


def test_a_new_record_of_a_history_state_is_a_change():
    machine = build_machine(
        {
            "initial": "a",
            "states": {
                "a": {
                    "initial": "x",
                    "always": {"target": "a", "reenter": True},
                    "states": {"x": {}, "hist": {"type": "history"}},
                }
            },
        }
    )
    with pytest.raises(MicrostepLimitExceeded):
        initial_macrostep(machine, now_ms=0)


def test_each_region_contributes_its_innermost_eventless_transition(play):
    config = {
        "type": "parallel",
        "context": {"go": False},
        "always": {"guard": "go", "actions": "root"},
        "on": {"GO": {"actions": "go"}},
        "states": {
            "a": {"initial": "x", "states": {"x": {"always": {"guard": "go", "target": "y"}}, "y": {}}},
            "b": {},
            "c": {},
        },
    }
    actions = {"go": {"assign": {"go": "true"}}}
    started = play(config, guards={"go": "context.go"}, actions=actions)("GO")
    assert started.value["a"] == "y"
    assert started.effects == ["root", "root"]


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_a_macrostep_has_at_most_the_microsteps_allowed(limit):
    machine = build_machine(
        {
            "initial": "a",
            "states": {
                "a": {"on": {"E": "b"}},
                "b": {
                    "entry": {"type": "xstate.raise", "params": {"event": {"type": "E"}}},
                    "on": {"E": "c"},
                },
                "c": {
                    "entry": {"type": "xstate.raise", "params": {"event": {"type": "E"}}},
                    "on": {"E": "b"},
                },
            },
        }
    )
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    with pytest.raises(MicrostepLimitExceeded) as caught:
        macrostep(machine, snapshot, {"type": "E"}, now_ms=0, max_microsteps=limit)
    assert caught.value.limit == limit


def test_a_machine_that_never_settles_is_named_with_its_event_and_its_circle():
    machine = build_machine(
        {
            "id": "m",
            "initial": "a",
            "context": {"n": 0},
            "states": {
                "a": {"on": {"E": "b"}},
                "b": {"always": "c"},
                "c": {"always": "d"},
                "d": {"always": "c"},
            },
        }
    )
    start = initial_macrostep(machine, now_ms=0).snapshot
    with pytest.raises(MicrostepLimitExceeded) as caught:
        macrostep(machine, start, {"type": "E"}, now_ms=0)
    error = caught.value
    assert (error.limit, error.machine_id, error.event_type) == (1000, "m", "E")
    assert sorted(error.states) == ["m.c", "m.d"]
    assert str(error).startswith("machine 'm' did not come to rest within 1000 microsteps after 'E'; it went")


def test_a_machine_that_keeps_raising_what_nothing_handles_names_where_it_was():
    machine = build_machine(
        {
            "id": "m",
            "initial": "a",
            "states": {"a": {"entry": [{"type": "xstate.raise", "params": {"event": {"type": "E"}}}] * 30}},
        }
    )
    with pytest.raises(
        MicrostepLimitExceeded, match=r"within 25 microsteps after 'xstate\.init'; look"
    ) as caught:
        initial_macrostep(machine, now_ms=0, max_microsteps=25)
    assert caught.value.states == ()


def test_exactly_the_limit_is_allowed():
    states = {f"s{index}": {"always": f"s{index + 1}"} for index in range(9)}
    machine = build_machine({"initial": "s0", "states": {**states, "s9": {}}})
    step = initial_macrostep(machine, now_ms=0, max_microsteps=10)
    assert len(step.microsteps) == 10
    with pytest.raises(MicrostepLimitExceeded):
        initial_macrostep(machine, now_ms=0, max_microsteps=9)
