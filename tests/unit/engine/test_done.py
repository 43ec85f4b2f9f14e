"""Final states, done events, completion, output."""


def test_a_final_child_raises_the_done_event_of_its_parent_with_its_output(play):
    config = {
        "id": "m",
        "initial": "a",
        "context": {"got": None},
        "states": {
            "a": {
                "initial": "x",
                "onDone": {"target": "b", "actions": "take"},
                "states": {"x": {"on": {"E": "y"}}, "y": {"type": "final", "output": {"k": 1}}},
            },
            "b": {},
        },
    }
    started = play(config, actions={"take": {"assign": {"got": "event.output.k"}}})("E")
    assert (started.value, started.context) == ("b", {"got": 1})


def test_a_done_event_without_output_has_no_such_key(play):
    config = {
        "id": "m",
        "initial": "a",
        "context": {"has": None},
        "states": {
            "a": {"initial": "x", "onDone": {"actions": "look"}, "states": {"x": {"type": "final"}}},
        },
    }
    assert play(config, actions={"look": {"assign": {"has": "has(event.output)"}}}).context == {"has": False}


def test_a_computed_output_replaces_the_static_one(play):
    config = {
        "id": "m",
        "initial": "a",
        "context": {"n": 3},
        "states": {
            "a": {
                "initial": "x",
                "onDone": {"actions": "fx"},
                "states": {"x": {"type": "final", "output": 1}},
            },
        },
    }
    actions = {"fx": {"params": {"output": "event.output"}}}
    started = play(config, actions=actions, outputs={"m.a.x": {"n": "context.n", "twice": "context.n * 2"}})
    assert started.described["actions"] == [{"type": "fx", "params": {"output": {"n": 3, "twice": 6}}}]


def test_a_parallel_state_is_done_when_all_its_regions_are(play):
    def region(event):
        return {"initial": "x", "states": {"x": {"on": {event: "y"}}, "y": {"type": "final"}}}

    config = {
        "id": "m",
        "initial": "p",
        "states": {
            "p": {"type": "parallel", "onDone": "b", "states": {"r": region("E"), "s": region("F")}},
            "b": {},
        },
    }
    started = play(config)("E")
    assert started.value == {"p": {"r": "y", "s": "x"}}
    assert started("F").value == "b"


def test_nested_parallel_states_complete_outwards_in_one_microstep(play):
    def leaf():
        return {"initial": "x", "states": {"x": {"on": {"E": "y"}}, "y": {"type": "final"}}}

    config = {
        "id": "m",
        "initial": "p",
        "states": {
            "p": {
                "type": "parallel",
                "onDone": {"actions": "outer"},
                "states": {
                    "q": {"type": "parallel", "onDone": {"actions": "inner"}, "states": {"r": leaf()}},
                    "s": leaf(),
                },
            }
        },
    }
    started = play(config)("E")
    assert started.effects == ["inner", "outer"]
    assert started.described["status"] == "active"


def test_a_region_that_is_itself_final_counts_as_complete(play):
    config = {
        "id": "m",
        "initial": "p",
        "states": {
            "p": {
                "type": "parallel",
                "onDone": "b",
                "states": {
                    "r": {"type": "final"},
                    "s": {"initial": "x", "states": {"x": {"on": {"E": "y"}}, "y": {"type": "final"}}},
                },
            },
            "b": {},
        },
    }
    started = play(config)
    assert started.value == {"p": {"r": {}, "s": "x"}}
    assert started("E").value == "b"


def test_a_compound_state_is_complete_only_by_its_own_final_child(play):
    config = {
        "type": "parallel",
        "id": "m",
        "states": {
            "r": {
                "initial": "x",
                "states": {"x": {"initial": "deep", "states": {"deep": {"type": "final"}}}},
            },
        },
    }
    assert play(config).described["status"] == "active"


def final_machine(**more):
    return {
        "id": "m",
        "initial": "a",
        "exit": "-m",
        "context": {"n": 1},
        "states": {
            "a": {"on": {"E": "z"}, "exit": "-a", "after": {"1000": "a"}},
            "z": {"type": "final", "entry": "+z", "exit": "-z", "output": {"k": 7}},
        },
        **more,
    }


def test_the_machine_is_done_when_the_root_has_a_final_child(play):
    started = play(final_machine())("E")
    assert started.described["status"] == "done"
    assert started.effects == ["-a", "+z", "-z", "-m"]
    assert started.described["scheduled"] == []
    assert "output" not in started.described


def test_the_machines_output_is_computed_from_the_done_event(play):
    started = play(final_machine(), outputs={"m": "{'type': event.type, 'k': event.output.k}"})("E")
    assert started.described["output"] == {"type": "xstate.done.state.m.z", "k": 7}


def test_a_static_output_of_the_machine_may_be_null(play):
    assert play(final_machine(output=None))("E").described["output"] is None


def test_nothing_happens_after_the_machine_is_done(play):
    started = play(final_machine())("E")
    before = started.described
    assert started("E").described == {**before, "actions": []}
    assert started(5000).described == {**before, "actions": []}


def test_events_raised_while_completing_are_dropped(play):
    config = final_machine(on={"LATE": {"actions": "late"}})
    config["states"]["z"]["entry"] = {"type": "xstate.raise", "params": {"event": {"type": "LATE"}}}
    assert play(config)("E").effects == ["-a", "-z", "-m"]


def test_a_parallel_root_is_done_when_it_is_complete(play):
    config = {
        "id": "m",
        "type": "parallel",
        "states": {
            "r": {"initial": "x", "states": {"x": {"on": {"E": "y"}}, "y": {"type": "final"}}},
            "s": {"initial": "y", "states": {"y": {"type": "final"}}},
        },
    }
    started = play(config, outputs={"m": "event.type"})
    assert started.described["status"] == "active"
    assert started("E").described["output"] == "xstate.done.state.m"


def test_a_machine_that_is_one_final_state_is_done_at_once(play):
    started = play({"id": "m", "type": "final", "output": 5, "entry": "+m", "exit": "-m"})
    assert started.described["status"] == "done"
    assert started.described["output"] == 5
    assert started.effects == ["+m", "-m"]
