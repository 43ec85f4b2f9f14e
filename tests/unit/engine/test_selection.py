"""Which transition an event selects."""

import pytest

from durachart.definitions.build import build_machine
from durachart.engine import InvalidEvent, initial_macrostep, macrostep


def test_the_first_candidate_whose_guard_passes_wins(play):
    machine = {
        "initial": "a",
        "context": {"n": 5},
        "states": {
            "a": {"on": {"E": [{"guard": "no", "target": "b"}, {"guard": "yes", "target": "c"}, "d"]}},
            "b": {},
            "c": {},
            "d": {},
        },
    }
    guards = {"no": "context.n > 9", "yes": "context.n > 1"}
    assert play(machine, guards=guards)("E").value == "c"


def test_a_child_is_asked_before_its_parent(play):
    machine = {
        "initial": "a",
        "states": {
            "a": {"initial": "x", "on": {"E": "b", "F": "b"}, "states": {"x": {"on": {"E": "y"}}, "y": {}}},
            "b": {},
        },
    }
    assert play(machine)("E").value == {"a": "y"}
    assert play(machine)("F").value == "b"


def test_a_parent_is_asked_when_the_childs_guards_fail(play):
    machine = {
        "initial": "a",
        "states": {
            "a": {
                "initial": "x",
                "on": {"E": "b"},
                "states": {"x": {"on": {"E": {"guard": "no", "target": "y"}}}, "y": {}},
            },
            "b": {},
        },
    }
    assert play(machine, guards={"no": "false"})("E").value == "b"


def test_a_forbidden_event_blocks_parents_and_wildcards_but_is_not_accepted(play):
    machine = build_machine(
        {
            "initial": "a",
            "on": {"E": {"actions": "root"}},
            "states": {"a": {"on": {"E": {}, "*": {"actions": "any"}}}},
        }
    )
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    step = macrostep(machine, snapshot, {"type": "E"}, now_ms=0)
    assert (step.accepted, step.changed, step.effects) == (False, False, ())
    assert step.snapshot is snapshot


def test_an_empty_list_of_candidates_does_not_block(play):
    machine = {"initial": "a", "on": {"E": {"actions": "root"}}, "states": {"a": {"on": {"E": []}}}}
    assert play(machine)("E").effects == ["root"]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("a.b.c", "exact"),
        ("a.b.d", "two"),
        ("a.b", "two"),
        ("a.x", "one"),
        ("a", "one"),
        ("ab", "any"),
        ("other", "any"),
        ("a.*", "one"),
    ],
)
def test_the_exact_type_is_asked_first_then_wildcards_by_length(play, event, expected):
    machine = {
        "initial": "s",
        "states": {
            "s": {
                "on": {
                    "*": {"actions": "any"},
                    "a.*": {"actions": "one"},
                    "a.b.*": {"actions": "two"},
                    "a.b.c": {"actions": "exact"},
                }
            }
        },
    }
    assert play(machine)(event).effects == [expected]


def test_wildcards_are_asked_when_the_exact_types_guards_fail(play):
    machine = {
        "initial": "s",
        "states": {"s": {"on": {"a.b": {"guard": "no", "actions": "exact"}, "a.*": {"actions": "wild"}}}},
    }
    assert play(machine, guards={"no": "false"})("a.b").effects == ["wild"]


def test_a_star_inside_a_descriptor_matches_nothing_but_itself(play):
    machine = {
        "initial": "s",
        "states": {"s": {"on": {"a.*.b": {"actions": "odd"}, "*.b": {"actions": "odder"}}}},
    }
    assert play(machine)("a.x.b").effects == []
    assert play(machine)("a.*.b").effects == ["odd"]


def test_the_wildcard_does_not_match_the_init_event(play):
    machine = {"initial": "s", "states": {"s": {"on": {"*": {"actions": "any"}}}}}
    assert play(machine)("xstate.init").effects == []


@pytest.mark.parametrize("event", [{}, {"type": ""}, {"type": "*"}, {"type": ["unhashable"]}])
def test_an_event_without_a_usable_type_is_refused(event):
    machine = build_machine({"initial": "s", "states": {"s": {}}})
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    with pytest.raises(InvalidEvent):
        macrostep(machine, snapshot, event, now_ms=0)


def test_an_unknown_event_is_no_error_and_changes_nothing(play):
    started = play({"initial": "s", "states": {"s": {"on": {"E": "s"}}}})
    assert started("UNKNOWN").value == "s"
    assert started.described["status"] == "active"


def test_types_nobody_names_share_one_plan():
    machine = build_machine({"initial": "s", "states": {"s": {"on": {"a.*": {}, "*": {}}}}})
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    for number in range(100):
        macrostep(machine, snapshot, {"type": f"unknown{number}"}, now_ms=0)
        macrostep(machine, snapshot, {"type": f"a.{number}"}, now_ms=0)
    assert len(snapshot.configuration.plans) == 2


def test_an_empty_object_is_a_transition_wherever_one_may_stand(play):
    machine = {
        "initial": "a",
        "on": {"*": {"actions": "any"}},
        "always": {"actions": "root"},
        "states": {"a": {"initial": "x", "onDone": {}, "always": {}, "states": {"x": {"type": "final"}}}},
    }
    assert play(machine).effects == []
