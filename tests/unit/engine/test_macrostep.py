"""What a macrostep reports: accepted, changed, effects with owners, microsteps."""

import copy

import pytest

from durachart.definitions.build import build_machine
from durachart.engine import MISSING, Effect, initial_macrostep, macrostep

CONFIG = {
    "id": "m",
    "initial": "a",
    "context": {"n": 0, "list": [1]},
    "states": {
        "a": {
            "on": {
                "GO": {"target": "b", "actions": "on.go"},
                "EFFECT": {"actions": "fx"},
                "SAME": {"target": "a"},
                "FORBIDDEN": {},
                "EMPTY": {"target": []},
                "ASSIGN": {"actions": "inc"},
                "DELAY": {
                    "actions": {"type": "xstate.raise", "params": {"event": {"type": "T"}, "delay": 5}}
                },
                "EMIT": {"actions": {"type": "xstate.emit", "params": {"event": {"type": "note"}}}},
            },
            "exit": "on.exit",
        },
        "b": {
            "entry": ["on.entry", {"type": "xstate.emit", "params": {"event": {"type": "in"}}}],
            "always": "c",
        },
        "c": {},
    },
}
ACTIONS = {"actions": {"inc": {"assign": {"n": "context.n + 1"}}, "on.entry": {"params": {"n": "context.n"}}}}


def step(event):
    machine = build_machine(CONFIG, ACTIONS)
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    return macrostep(machine, snapshot, {"type": event}, now_ms=0), snapshot


@pytest.mark.parametrize(
    ("event", "accepted", "changed"),
    [
        ("GO", True, True),
        ("EFFECT", True, False),
        ("SAME", True, False),
        ("FORBIDDEN", False, False),
        ("EMPTY", True, False),
        ("ASSIGN", True, True),
        ("DELAY", True, True),
        ("EMIT", True, False),
        ("UNKNOWN", False, False),
    ],
)
def test_accepted_means_a_target_or_an_action_and_changed_means_another_snapshot(event, accepted, changed):
    taken, before = step(event)
    assert (taken.accepted, taken.changed) == (accepted, changed)
    assert (taken.snapshot is before) is not changed


def test_an_event_that_lets_an_eventless_transition_fire_is_accepted():
    machine = build_machine(
        {"initial": "a", "states": {"a": {"always": {"guard": "g", "actions": "fx"}}}},
        {"guards": {"g": "event.type == 'E'"}},
    )
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    assert macrostep(machine, snapshot, {"type": "E"}, now_ms=0).accepted
    assert not macrostep(machine, snapshot, {"type": "F"}, now_ms=0).accepted


def test_effects_of_entry_actions_are_owned_by_their_state():
    taken, _ = step("GO")
    assert taken.effects == (
        Effect("on.exit", None, None, "action"),
        Effect("on.go", None, None, "action"),
        Effect("on.entry", {"n": 0}, "m.b", "action"),
        Effect("xstate.emit", {"event": {"type": "in"}}, "m.b", "emit"),
    )


def test_microsteps_tell_what_was_left_and_entered():
    taken, _ = step("GO")
    first, second = taken.microsteps
    assert (first.exited, first.entered, first.event["type"]) == (("m.a",), ("m.b",), "GO")
    assert [transition.event_type for transition in first.transitions] == ["GO"]
    assert (second.exited, second.entered, second.event["type"]) == (("m.b",), ("m.c",), "GO")
    assert taken.exited == {"m.a", "m.b"}
    assert taken.entered == {"m.b", "m.c"}


def test_an_event_that_selects_nothing_is_a_microstep_without_transitions():
    taken, _ = step("UNKNOWN")
    (microstep,) = taken.microsteps
    assert (microstep.transitions, microstep.exited, microstep.entered) == ((), (), ())


def test_the_start_is_a_macrostep_that_is_accepted():
    machine = build_machine(CONFIG, ACTIONS)
    started = initial_macrostep(machine, now_ms=0)
    assert (started.accepted, started.changed, started.entered) == (True, True, {"m", "m.a"})
    assert started.exited == frozenset()
    assert started.snapshot.output is MISSING


def test_what_a_step_does_not_touch_is_shared():
    machine = build_machine(CONFIG, ACTIONS)
    before = initial_macrostep(machine, now_ms=0).snapshot
    after = macrostep(machine, before, {"type": "ASSIGN"}, now_ms=0).snapshot
    assert after.context is not before.context
    assert after.context["list"] is before.context["list"]
    assert after.history_value is before.history_value


def test_nothing_passed_in_is_written_to():
    config, implementations = copy.deepcopy(CONFIG), copy.deepcopy(ACTIONS)
    machine = build_machine(config, implementations)
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    event = {"type": "ASSIGN"}
    for _ in range(3):
        snapshot = macrostep(machine, snapshot, event, now_ms=0).snapshot
    assert (config, implementations, event) == (CONFIG, ACTIONS, {"type": "ASSIGN"})


def test_an_inactive_snapshot_takes_no_events():
    machine = build_machine({"initial": "a", "states": {"a": {"on": {"E": "z"}}, "z": {"type": "final"}}})
    done = macrostep(machine, initial_macrostep(machine, now_ms=0).snapshot, {"type": "E"}, now_ms=0).snapshot
    taken = macrostep(machine, done, {"type": "E"}, now_ms=0)
    assert taken == (done, (), False, False, ())


def test_the_budget_of_a_macrostep_reaches_every_callable():
    seen = []

    def record(context, event, params, now_ms, budget):
        seen.append((now_ms, budget))

    class Plugins:
        def __init__(self):
            self.guards = {"g": lambda *seen_by_guard: record(*seen_by_guard) is None}
            self.actions = {"act": record}
            self.delays = {}

    config = {"initial": "a", "states": {"a": {"on": {"E": {"guard": "g", "actions": "act"}}}}}
    machine = build_machine(config, plugins=Plugins())
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    macrostep(machine, snapshot, {"type": "E"}, now_ms=7, budget="mine")
    assert seen == [(7, "mine"), (7, "mine")]


def test_a_machine_with_expressions_makes_one_budget_per_macrostep():
    machine = build_machine(CONFIG, ACTIONS)
    made = []
    make = machine.make_budget
    machine.make_budget = lambda: made.append(make()) or made[-1]
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    macrostep(machine, snapshot, {"type": "ASSIGN"}, now_ms=0)
    assert len(made) == 2
