"""Configurations: one object per set of states, bounded tables, and sets that XState leaves incomplete."""

import json

from durachart.definitions.build import build_machine
from durachart.engine import initial_macrostep, macrostep, snapshot_from_json, snapshot_to_json
from durachart.engine.configuration import Configuration
from durachart.engine.model import Machine


def ring(size):
    return {
        "id": "m",
        "initial": "s0",
        "context": {"n": 0},
        "states": {
            f"s{index}": {
                "on": {
                    "NEXT": {"target": f"s{(index + 1) % size}", "actions": "inc"},
                    "STAY": [{"guard": "no"}, {"actions": "inc"}],
                },
                "always": {"guard": "no", "target": "s0"},
            }
            for index in range(size)
        },
    }


IMPLEMENTATIONS = {"actions": {"inc": {"assign": {"n": "context.n + 1"}}}, "guards": {"no": "false"}}


def limited(config, limit, implementations=IMPLEMENTATIONS):
    machine = build_machine(config, implementations)
    return Machine(machine.nodes, context=machine.context, make_budget=machine.make_budget, memo_limit=limit)


def walk(machine, events):
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    values = []
    for event in events:
        snapshot = macrostep(machine, snapshot, {"type": event}, now_ms=0).snapshot
        values.append((snapshot.configuration.value, snapshot.context["n"]))
    return values


def test_the_same_states_are_the_same_object():
    machine = build_machine(ring(3), IMPLEMENTATIONS)
    first = initial_macrostep(machine, now_ms=0).snapshot
    again = initial_macrostep(machine, now_ms=0).snapshot
    assert first.configuration is again.configuration
    assert hash(first.configuration) == hash(Configuration(first.configuration.nodes))


def test_notes_are_forgotten_with_everything_else():
    table = limited(ring(3), 2).configurations
    table.note("a", 1)
    assert table.notes == {"a": 1}
    table.note("b", 2)
    assert table.notes == {"a": 1, "b": 2}
    table.note("c", 3)
    assert table.notes == {"c": 3}


def test_forgetting_changes_no_answer():
    events = ["NEXT", "STAY", "NEXT", "NEXT", "STAY", "UNKNOWN"] * 30
    expected = walk(build_machine(ring(7), IMPLEMENTATIONS), events)
    for limit in (1, 2, 3, 5, 8, 13):
        assert walk(limited(ring(7), limit), events) == expected


def test_the_tables_of_a_machine_are_bounded():
    machine = limited(ring(500), 100)
    walk(machine, ["NEXT", "STAY"] * 1_000)
    assert machine.configurations.size <= 100


def test_a_snapshot_outlives_what_was_remembered_about_it():
    machine = limited(ring(50), 20)
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    walk(machine, ["NEXT"] * 100)
    stepped = macrostep(machine, snapshot, {"type": "NEXT"}, now_ms=0)
    assert stepped.snapshot.configuration.value == "s1"
    assert macrostep(machine, snapshot, {"type": "NEXT"}, now_ms=0).snapshot == stepped.snapshot


def test_a_forgotten_configuration_shares_the_tables_of_its_successor():
    machine = limited(ring(5), 8)
    old = initial_macrostep(machine, now_ms=0).snapshot
    walk(machine, ["NEXT"] * 9)
    new = initial_macrostep(machine, now_ms=0).snapshot
    macrostep(machine, new, {"type": "STAY"}, now_ms=0)
    macrostep(machine, old, {"type": "STAY"}, now_ms=0)
    assert old.configuration == new.configuration
    assert old.configuration is not new.configuration
    assert old.configuration.plans is new.configuration.plans


IRREGULAR = {
    # Leaving the root and coming back through a history state of the root enters everything but the root.
    "id": "m",
    "type": "parallel",
    "entry": "+m",
    "exit": "-m",
    "tags": "root",
    "states": {
        "r": {
            "initial": "x",
            "states": {"x": {"on": {"E": {"target": "#m.h", "reenter": True}, "F": "y"}}, "y": {}},
        },
        "h": {"type": "history"},
    },
}


def test_a_root_that_was_left_and_not_entered_again_is_not_active_but_shown(play):
    started = play(IRREGULAR)("E")
    assert started.effects == ["-m"]
    assert (started.value, started.described["tags"]) == ({"r": "x"}, [])
    assert not started.simulator.snapshot.configuration.is_regular
    assert started("F").value == {"r": "y"}


def test_an_irregular_configuration_survives_json(play):
    simulator = play(IRREGULAR)("E").simulator
    data = json.loads(json.dumps(snapshot_to_json(simulator.machine, simulator.snapshot)))
    assert data["irregular"] is True
    assert snapshot_from_json(simulator.machine, data) == simulator.snapshot


def test_of_two_active_children_of_a_compound_state_the_first_is_shown(play):
    config = {
        "id": "m",
        "initial": "a",
        "states": {
            "a": {"on": {"ATOMIC": {"target": ["b", "c"]}, "NESTED": {"target": ["d", "c"]}}},
            "b": {"on": {"E": {"actions": "fromB"}}},
            "c": {"on": {"E": {"actions": "fromC"}}},
            "d": {"initial": "x", "states": {"x": {}}},
        },
    }
    assert play(config)("ATOMIC").value == "b"
    assert play(config)("ATOMIC")("E").effects == ["fromB"]
    nested = {**config, "states": {key: config["states"][key] for key in "adbc"}}
    assert play(nested)("NESTED").value == {"d": "x", "c": {}}
    assert play(nested)("NESTED")("E").effects == ["fromC"]


def test_a_state_called_atomic_does_not_enter_its_children(play):
    config = {
        "id": "m",
        "initial": "a",
        "states": {
            "a": {
                "type": "atomic",
                "initial": "x",
                "states": {"x": {"on": {"E": {"actions": "fromX"}}}},
                "on": {"IN": ".x"},
            }
        },
    }
    assert play(config).value == "a"
    assert play(config)("IN").value == "a"


def test_an_incomplete_set_is_completed_for_the_value_from_the_initial_states():
    machine = build_machine(
        {
            "id": "m",
            "type": "parallel",
            "states": {
                "r": {
                    "initial": "x",
                    "states": {"x": {"type": "parallel", "states": {"x1": {}, "x2": {}}}, "y": {}},
                },
                "s": {"initial": "x", "states": {"x": {}, "y": {}}},
            },
        }
    )
    node = machine.by_id
    assert Configuration((node["m"],)).value == {"r": {"x": {"x1": {}, "x2": {}}}, "s": "x"}
    assert Configuration((node["m"], node["m.r"], node["m.s.y"])).value["s"] == "y"
    assert Configuration((node["m"], node["m.r"], node["m.s.y"])).value["r"] == {"x": {"x1": {}, "x2": {}}}
    assert Configuration(()).value == {}
