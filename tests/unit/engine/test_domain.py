"""What a transition leaves: domain, reentry, targets."""

import pytest


def machine(transition, on="a"):
    config = {
        "id": "m",
        "entry": "+m",
        "exit": "-m",
        "initial": "a",
        "states": {
            "a": {
                "entry": "+a",
                "exit": "-a",
                "initial": "x",
                "states": {
                    "x": {"entry": "+x", "exit": "-x", "on": {"NEXT": "y"}},
                    "y": {"entry": "+y", "exit": "-y"},
                },
            },
            "b": {"entry": "+b", "exit": "-b"},
        },
    }
    (config if on == "m" else config["states"][on])["on"] = {"E": transition}
    return config


@pytest.mark.parametrize(
    ("transition", "effects"),
    [
        ({"target": "a"}, ["-y", "+x"]),
        ({"target": ".x"}, ["-y", "+x"]),
        ({"target": "a", "reenter": True}, ["-y", "-a", "+a", "+x"]),
        ({"target": ".y", "reenter": True}, ["-y", "-a", "+a", "+y"]),
        ({"actions": "only"}, ["only"]),
        ({"actions": "only", "reenter": True}, ["only"]),
        ({"target": [], "actions": "only"}, ["only"]),
        ({"target": "", "actions": "only"}, ["only"]),
        ({"target": "b"}, ["-y", "-a", "+b"]),
        ({"target": "#m.a.y"}, ["-y", "+y"]),
        ({"target": "#m"}, ["-y", "-a", "+m", "+a", "+x"]),
        ({"target": "#m", "reenter": True}, ["-y", "-a", "-m", "+m", "+a", "+x"]),
    ],
)
def test_a_compound_state_leaves_what_the_target_asks_for(play, transition, effects):
    assert play(machine(transition))("NEXT")("E").effects == effects


def test_a_self_target_of_an_atomic_state_runs_the_actions_alone(play):
    config = machine({"target": "b", "actions": "act"}, on="b")
    config["initial"] = "b"
    assert play(config)("E").effects == ["act"]


def test_a_reentering_self_target_of_an_atomic_state_leaves_and_enters_it(play):
    config = machine({"target": "b", "actions": "act", "reenter": True}, on="b")
    config["initial"] = "b"
    assert play(config)("E").effects == ["-b", "act", "+b"]


def test_a_root_transition_to_a_child_stays_in_the_root(play):
    assert play(machine({"target": ".b"}, on="m"))("E").effects == ["-x", "-a", "+b"]


def test_a_reentering_root_transition_leaves_everything_the_root_included(play):
    effects = play(machine({"target": ".b", "reenter": True}, on="m"))("E").effects
    assert effects == ["-x", "-a", "-m", "+m", "+b"]


def test_a_transition_of_a_parallel_state_into_its_region_is_internal(play):
    config = {
        "type": "parallel",
        "exit": "-root",
        "on": {"E": ".a.y"},
        "states": {
            "a": {"initial": "x", "exit": "-a", "states": {"x": {"exit": "-x"}, "y": {"entry": "+y"}}},
            "b": {"exit": "-b", "entry": "+b"},
        },
    }
    assert play(config)("E").effects == ["-b", "-x", "-a", "+y", "+b"]
