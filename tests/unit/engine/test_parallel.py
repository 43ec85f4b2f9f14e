"""Parallel states: every region answers for itself."""


def regions(**states):
    return {"id": "m", "type": "parallel", "states": states}


def two_state_region(event, **more):
    return {"initial": "off", "states": {"off": {"on": {event: "on"}}, "on": {}}, **more}


def test_every_region_takes_its_own_transition(play):
    machine = regions(a=two_state_region("E"), b=two_state_region("E"), c=two_state_region("OTHER"))
    assert play(machine)("E").value == {"a": "on", "b": "on", "c": "off"}


def test_the_parallel_state_itself_is_asked_only_when_no_region_selected_anything(play):
    machine = {
        **regions(a=two_state_region("E"), b=two_state_region("F")),
        "on": {"E": {"actions": "root"}, "G": {"actions": "root"}},
    }
    assert play(machine)("E").effects == []
    assert play(machine)("G").effects == ["root"]


def test_regions_that_all_decline_leave_it_to_the_parallel_state(play):
    def guarded():
        return {"initial": "x", "states": {"x": {"on": {"E": {"guard": "no", "actions": "inner"}}}}}

    machine = {**regions(a=guarded(), b=guarded()), "on": {"E": {"actions": "root"}}}
    assert play(machine, guards={"no": "false"})("E").effects == ["root"]


def test_regions_are_entered_in_document_order_and_left_in_reverse(play):
    machine = {
        "initial": "p",
        "states": {
            "p": {
                "type": "parallel",
                "entry": "+p",
                "exit": "-p",
                "on": {"OUT": "z"},
                "states": {
                    "a": {
                        "entry": "+a",
                        "exit": "-a",
                        "initial": "x",
                        "states": {"x": {"entry": "+ax", "exit": "-ax"}},
                    },
                    "b": {"entry": "+b", "exit": "-b"},
                },
            },
            "z": {"entry": "+z"},
        },
    }
    started = play(machine)
    assert started.effects == ["+p", "+a", "+ax", "+b"]
    assert started("OUT").effects == ["-b", "-ax", "-a", "-p", "+z"]


def test_a_target_inside_one_region_starts_the_others_at_their_initial(play):
    machine = {
        "initial": "z",
        "states": {
            "z": {"on": {"IN": "p.a.y"}},
            "p": {
                "type": "parallel",
                "states": {
                    "a": {"initial": "x", "states": {"x": {}, "y": {}}},
                    "b": {"initial": "x", "states": {"x": {}, "y": {}}},
                },
            },
        },
    }
    assert play(machine)("IN").value == {"p": {"a": "y", "b": "x"}}


def test_several_targets_choose_a_state_in_each_region(play):
    machine = {
        "initial": "z",
        "states": {
            "z": {"on": {"IN": {"target": ["p.b.y", "p.a.y"]}}},
            "p": {
                "type": "parallel",
                "states": {
                    "a": {"initial": "x", "states": {"x": {}, "y": {}}},
                    "b": {"initial": "x", "states": {"x": {}, "y": {}}},
                },
            },
        },
    }
    assert play(machine)("IN").value == {"p": {"a": "y", "b": "y"}}


def test_of_two_conflicting_transitions_the_first_region_wins(play):
    leaving = {"initial": "x", "states": {"x": {"on": {"E": {"target": "#m.out1", "actions": "first"}}}}}
    also = {"initial": "x", "states": {"x": {"on": {"E": {"target": "#m.out2", "actions": "second"}}}}}
    machine = {
        "id": "m",
        "initial": "p",
        "states": {"p": {"type": "parallel", "states": {"a": leaving, "b": also}}, "out1": {}, "out2": {}},
    }
    started = play(machine)("E")
    assert (started.value, started.effects) == ("out1", ["first"])


def test_of_conflicting_eventless_transitions_the_one_declared_further_in_wins(play):
    machine = {
        "id": "m",
        "initial": "p",
        "context": {"go": False},
        "states": {
            "p": {
                "type": "parallel",
                "on": {"GO": {"actions": "go"}},
                "states": {
                    "a": {"initial": "x", "states": {"x": {}}},
                    "b": {
                        "initial": "x",
                        "states": {
                            "x": {"always": {"guard": "go", "target": "y", "actions": "inner"}},
                            "y": {},
                        },
                    },
                },
                "always": {"guard": "go", "target": "out", "actions": "outer"},
            },
            "out": {},
        },
    }
    machine["states"]["p"]["always"]["target"] = "#m.out"
    started = play(machine, guards={"go": "context.go"}, actions={"go": {"assign": {"go": "true"}}})("GO")
    assert started.effects[0] == "inner"
    assert started.value == "out"


def test_a_region_without_states_shows_as_an_empty_object(play):
    assert play(regions(a={}, b={})).value == {"a": {}, "b": {}}


def test_a_parallel_state_with_one_region_behaves_like_its_region(play):
    machine = {**regions(a=two_state_region("E")), "on": {"E": {"actions": "root"}}}
    assert play(machine)("E").value == {"a": "on"}
    assert play(machine)("E")("E").effects == ["root"]


def test_nested_parallel_states_are_asked_region_by_region(play):
    inner = {"type": "parallel", "states": {"x": two_state_region("E"), "y": two_state_region("F")}}
    machine = regions(a=inner, b=two_state_region("F"))
    assert play(machine)("F").value == {"a": {"x": "off", "y": "on"}, "b": "on"}


def test_regions_then_the_parallel_state_then_the_states_around_it_are_asked(play):
    def region():
        return {"initial": "x", "states": {"x": {"on": {"E": {"guard": "event.a", "actions": "region"}}}}}

    machine = {
        "initial": "p",
        "on": {"E": {"actions": "root"}},
        "states": {
            "p": {
                "type": "parallel",
                "on": {"E": {"guard": "event.b", "actions": "parallel"}},
                "states": {"r": region(), "s": region()},
            }
        },
    }
    guards = {"event.a": "has(event.a)", "event.b": "has(event.b)"}
    started = play(machine, guards=guards)
    assert started({"type": "E", "a": 1}).effects == ["region", "region"]
    assert started({"type": "E", "b": 1}).effects == ["parallel"]
    assert started("E").effects == ["root"]
