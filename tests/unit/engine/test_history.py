"""History states: what they remember and where they lead."""

import json

from durachart.engine import macrostep, snapshot_from_json, snapshot_to_json


def machine(kind=None, **more):
    history = {"type": "history", **({"history": kind} if kind else {}), **more}
    return {
        "id": "m",
        "initial": "out",
        "states": {
            "out": {"on": {"BACK": "p.hist", "IN": "p"}},
            "p": {
                "initial": "x",
                "on": {"LEAVE": "out"},
                "states": {
                    "hist": history,
                    "x": {"on": {"NEXT": "y"}, "entry": "+x"},
                    "y": {
                        "initial": "y1",
                        "states": {"y1": {"entry": "+y1", "on": {"NEXT": "y2"}}, "y2": {"entry": "+y2"}},
                    },
                },
            },
        },
    }


def test_shallow_history_restores_the_child_and_starts_it_anew(play):
    started = play(machine("shallow"))("IN")("NEXT")("NEXT")
    assert started.value == {"p": {"y": "y2"}}
    assert started("LEAVE")("BACK").value == {"p": {"y": "y1"}}


def test_deep_history_restores_the_leaf(play):
    assert play(machine("deep"))("IN")("NEXT")("NEXT")("LEAVE")("BACK").value == {"p": {"y": "y2"}}


def test_history_without_a_kind_is_shallow(play):
    assert play(machine())("IN")("NEXT")("NEXT")("LEAVE")("BACK").value == {"p": {"y": "y1"}}


def test_without_a_record_the_default_target_is_entered(play):
    assert play(machine("deep", target="y"))("BACK").value == {"p": {"y": "y1"}}
    assert play(machine("deep", target="y.y2"))("BACK").value == {"p": {"y": "y2"}}
    assert play(machine("shallow", target="#m.p.y.y2"))("BACK").value == {"p": {"y": "y2"}}


def test_without_a_record_or_a_target_the_parent_starts_with_its_initial_actions(play):
    config = machine("shallow")
    config["states"]["p"]["initial"] = {"target": "x", "actions": "i"}
    started = play(config)("BACK")
    assert started.value == {"p": "x"}
    assert started.effects == ["i", "+x"]


def test_a_record_is_replaced_at_each_exit_and_never_cleared(play):
    started = play(machine("shallow"))("IN")("NEXT")("LEAVE")("BACK")("LEAVE")
    assert started("BACK").value == {"p": {"y": "y1"}}
    assert started("LEAVE")("IN").value == {"p": "x"}
    assert started("LEAVE")("BACK").value == {"p": "x"}


def test_history_of_a_parallel_state_restores_every_region(play):
    def region():
        return {"initial": "a", "states": {"a": {"on": {"E": "b"}}, "b": {}}}

    config = {
        "initial": "p",
        "states": {
            "p": {
                "type": "parallel",
                "on": {"LEAVE": "out"},
                "states": {"r": region(), "s": region(), "hist": {"type": "history", "history": "deep"}},
            },
            "out": {"on": {"BACK": "p.hist"}},
        },
    }
    config["states"]["p"]["states"]["s"]["states"]["a"]["on"] = {"F": "b"}
    started = play(config)("F")("LEAVE")("BACK")
    assert started.value == {"p": {"r": "a", "s": "b"}}


def test_history_of_a_parallel_state_without_a_record_starts_all_regions(play):
    config = {
        "initial": "out",
        "states": {
            "out": {"on": {"BACK": "p.hist"}},
            "p": {
                "type": "parallel",
                "states": {"r": {"entry": "+r"}, "s": {"entry": "+s"}, "hist": {"type": "history"}},
            },
        },
    }
    started = play(config)("BACK")
    assert (started.value, started.effects) == ({"p": {"r": {}, "s": {}}}, ["+r", "+s"])


def test_a_default_that_is_a_history_state_leads_on(play):
    config = {
        "initial": "out",
        "states": {
            "out": {"on": {"BACK": "p.first"}},
            "p": {
                "initial": "x",
                "states": {
                    "first": {"type": "history", "target": "second"},
                    "second": {"type": "history", "target": "y"},
                    "x": {},
                    "y": {},
                },
            },
        },
    }
    assert play(config)("BACK").value == {"p": "y"}


def test_a_compound_state_may_start_in_its_history(play):
    config = {
        "initial": "p",
        "states": {
            "p": {
                "initial": "hist",
                "on": {"LEAVE": "out"},
                "states": {"hist": {"type": "history", "target": "x"}, "x": {"on": {"NEXT": "y"}}, "y": {}},
            },
            "out": {"on": {"IN": "p"}},
        },
    }
    started = play(config)
    assert started.value == {"p": "x"}
    assert started("NEXT")("LEAVE")("IN").value == {"p": "y"}


def test_what_is_left_in_a_microstep_is_remembered_before_it_enters(play):
    config = machine("deep")
    config["states"]["p"]["on"]["AGAIN"] = {"target": ".hist", "reenter": True}
    started = play(config)("IN")("NEXT")("NEXT")("AGAIN")
    assert (started.value, started.effects) == ({"p": {"y": "y2"}}, ["+y2"])


def test_steps_are_kept_apart_by_what_history_remembers(play):
    started = play(machine("deep"))
    seen = []
    for events in (
        ["IN", "LEAVE"],
        ["IN", "NEXT", "LEAVE"],
        ["IN", "NEXT", "NEXT", "LEAVE"],
        ["IN", "LEAVE"],
    ):
        for event in events:
            started(event)
        seen.append(started("BACK").value)
        started("LEAVE")
    assert seen == [{"p": "x"}, {"p": {"y": "y1"}}, {"p": {"y": "y2"}}, {"p": "x"}]


def test_steps_that_come_to_consult_more_history_are_kept_apart(play):
    config = {
        "id": "m",
        "initial": "out",
        "states": {
            "out": {"on": {"BACK": "p.hist", "PQ": "p.q", "Q2": "p.q.two"}},
            "p": {
                "initial": "x",
                "on": {"LEAVE": "out"},
                "states": {
                    "hist": {"type": "history"},
                    "x": {},
                    "q": {
                        "initial": "inner",
                        "states": {"inner": {"type": "history", "target": "one"}, "one": {}, "two": {}},
                    },
                },
            },
        },
    }
    started = play(config)
    assert started("BACK").value == {"p": "x"}
    assert started("LEAVE")("PQ").value == {"p": {"q": "one"}}
    assert started("LEAVE")("BACK").value == {"p": {"q": "one"}}
    assert started("LEAVE")("Q2").value == {"p": {"q": "two"}}
    assert started("LEAVE")("BACK").value == {"p": {"q": "two"}}


def test_what_history_remembers_survives_storing(play):
    simulator = play(machine("deep"))("IN")("NEXT")("NEXT")("LEAVE").simulator
    stored = json.loads(json.dumps(snapshot_to_json(simulator.machine, simulator.snapshot)))
    restored = snapshot_from_json(simulator.machine, stored)
    assert restored == simulator.snapshot
    step = macrostep(simulator.machine, restored, {"type": "BACK"}, now_ms=0)
    assert step.snapshot.configuration.value == {"p": {"y": "y2"}}
