"""In which order things happen within a microstep."""

NESTED = {
    "id": "m",
    "initial": "a",
    "entry": "+m",
    "states": {
        "a": {
            "entry": "+a",
            "exit": "-a",
            "initial": "a1",
            "states": {
                "a1": {"entry": "+a1", "exit": "-a1", "on": {"GO": {"target": "#m.b.b2", "actions": "go"}}}
            },
        },
        "b": {
            "entry": "+b",
            "exit": "-b",
            "initial": "b1",
            "states": {"b1": {"entry": "+b1"}, "b2": {"entry": ["+b2", "again"]}},
        },
    },
}


def test_states_are_left_from_the_inside_then_actions_run_then_states_are_entered_from_the_outside(play):
    started = play(NESTED)
    assert started.effects == ["+m", "+a", "+a1"]
    assert started("GO").effects == ["-a1", "-a", "go", "+b", "+b2", "again"]


def test_initial_actions_run_after_the_entry_actions_of_the_state_that_starts(play):
    machine = {
        "initial": {"target": "a", "actions": "i0"},
        "entry": "+root",
        "states": {
            "a": {
                "entry": "+a",
                "initial": {"target": "x", "actions": ["i1", "i2"]},
                "states": {"x": {"entry": "+x"}},
            }
        },
    }
    assert play(machine).effects == ["+root", "i0", "+a", "i1", "i2", "+x"]


def test_initial_actions_do_not_run_when_a_state_is_entered_only_on_the_way_to_a_target(play):
    machine = {
        "initial": "z",
        "states": {
            "z": {"on": {"DEEP": "a.x", "SHALLOW": "a"}},
            "a": {"initial": {"target": "x", "actions": "i"}, "states": {"x": {}}},
        },
    }
    assert play(machine)("DEEP").effects == []
    assert play(machine)("SHALLOW").effects == ["i"]


def test_an_effect_sees_the_context_as_of_its_place_in_the_list(play):
    machine = {
        "initial": "a",
        "context": {"n": 0},
        "states": {"a": {"on": {"E": {"actions": ["look", "inc", "look"]}}}},
    }
    actions = {"inc": {"assign": {"n": "context.n + 1"}}, "look": {"params": {"n": "context.n"}}}
    started = play(machine, actions=actions)("E")
    assert [effect["params"] for effect in started.described["actions"]] == [{"n": 0}, {"n": 1}]


def test_the_entries_of_one_assign_see_the_context_as_it_was_before(play):
    machine = {
        "initial": "a",
        "context": {"x": 1, "y": 2},
        "states": {"a": {"on": {"SWAP": {"actions": "swap"}}}},
    }
    actions = {"swap": {"assign": {"x": "context.y", "y": "context.x"}}}
    assert play(machine, actions=actions)("SWAP").context == {"x": 2, "y": 1}


def test_an_assign_without_entries_counts_as_a_change_of_nothing(play):
    machine = {"initial": "a", "context": {"x": 1}, "states": {"a": {"on": {"E": {"actions": "none"}}}}}
    assert play(machine, actions={"none": {"assign": {}}})("E").context == {"x": 1}


def test_computed_parameters_are_laid_over_the_static_ones(play):
    machine = {
        "initial": "a",
        "context": {"n": 7},
        "states": {
            "a": {
                "entry": [
                    {"type": "fx", "params": {"k": 1, "n": 0}},
                    "bare",
                    {"type": "plain", "params": {"a": 1}},
                ]
            }
        },
    }
    started = play(machine, actions={"fx": {"params": {"n": "context.n + params.k"}}})
    assert started.described["actions"] == [
        {"type": "fx", "params": {"k": 1, "n": 8}},
        {"type": "bare"},
        {"type": "plain", "params": {"a": 1}},
    ]
