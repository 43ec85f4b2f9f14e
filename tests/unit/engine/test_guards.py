"""Guards and their composition."""

import pytest

from durachart.definitions.build import build_machine
from durachart.engine import EvaluationFailed, initial_macrostep, macrostep


def asked(play, guards, guard="g", context=None, event=None):
    config = {
        "id": "m",
        "initial": "a",
        "context": context or {},
        "states": {"a": {"on": {"E": {"guard": guard, "target": "b"}}}, "b": {}},
    }
    return play(config, guards=guards)(event or "E").value == "b"


@pytest.mark.parametrize(
    ("composite", "expected"),
    [
        ({"and": ["t", "t"]}, True),
        ({"and": ["t", "f"]}, False),
        ({"and": []}, True),
        ({"or": ["f", "t"]}, True),
        ({"or": ["f", "f"]}, False),
        ({"or": []}, False),
        ({"not": "f"}, True),
        ({"not": "t"}, False),
    ],
)
def test_guards_compose(play, composite, expected):
    assert asked(play, {"t": "true", "f": "false", "g": composite}) is expected


def test_members_after_the_decisive_one_are_not_asked(play):
    guards = {"t": "true", "f": "false", "boom": "1 / 0 == 1", "g": {"or": ["t", "boom"]}}
    assert asked(play, guards)
    assert not asked(play, {**guards, "g": {"and": ["f", "boom"]}})


def test_a_guard_sees_its_static_parameters_and_members_see_none(play):
    guards = {"big": "context.n > params.min", "without": "size(params) == 0", "g": {"and": ["without"]}}
    assert asked(play, guards, {"type": "big", "params": {"min": 3}}, {"n": 4})
    assert not asked(play, guards, {"type": "big", "params": {"min": 3}}, {"n": 3})
    assert asked(play, guards, {"type": "g", "params": {"min": 3}})


def test_a_guard_sees_the_event(play):
    assert asked(play, {"g": "event.v == 2"}, event={"type": "E", "v": 2})
    assert not asked(play, {"g": "event.v == 2"}, event={"type": "E", "v": 3})


PARALLEL = {
    "id": "m",
    "type": "parallel",
    "states": {
        "r": {
            "initial": "x",
            "states": {"x": {"id": "ex", "initial": "deep", "states": {"deep": {}}}, "y": {}},
        },
        "s": {"initial": "x", "states": {"x": {"on": {"E": {"guard": "g", "target": "y"}}}, "y": {}}},
    },
}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("#ex", True),
        ("#m.r.x.deep", True),
        ("#m.r.y", False),
        ({"r": "x"}, True),
        ({"r": "y"}, False),
        ({"r": {"x": "deep"}, "s": "x"}, True),
        ({"r": {"x": "deep"}, "s": "y"}, False),
        ({"nowhere": "x"}, False),
        ("r", True),
        ("r.x.deep", True),
        ("r.y", False),
        ({}, True),
    ],
)
def test_state_in_looks_at_the_configuration(play, wanted, expected):
    started = play(PARALLEL, guards={"g": {"stateIn": wanted}})("E")
    assert (started.value["s"] == "y") is expected


def test_guards_of_one_microstep_see_the_context_before_it(play):
    def region():
        return {"initial": "x", "states": {"x": {"on": {"E": {"guard": "first", "actions": "inc"}}}}}

    config = {"type": "parallel", "context": {"n": 0}, "states": {"r": region(), "s": region()}}
    started = play(
        config, guards={"first": "context.n == 0"}, actions={"inc": {"assign": {"n": "context.n + 1"}}}
    )
    assert started("E").context == {"n": 2}


def failing(guard):
    config = {
        "id": "m",
        "initial": "a",
        "states": {"a": {"on": {"E": {"guard": "g", "target": "b"}}}, "b": {}},
    }
    machine = build_machine(config, {"guards": guard})
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    with pytest.raises(EvaluationFailed) as caught:
        macrostep(machine, snapshot, {"type": "E"}, now_ms=0)
    return caught.value


def test_a_guard_that_fails_says_where():
    error = failing({"g": "event.v / 0 == 1"})
    assert error.where == "guard 'g' on 'E' in state 'm.a'"


def test_a_guard_without_implementation_fails_when_it_is_asked():
    assert "guard 'g' has no implementation" in failing({}).message
    assert "guard 'other' has no implementation" in failing({"g": {"not": "other"}}).message


def test_a_guard_that_gives_no_boolean_fails(play):
    machine = build_machine(
        {"initial": "a", "states": {"a": {"on": {"E": {"guard": "g", "target": "a"}}}}},
        plugins=_Plugins({"g": lambda *_: 1}),
    )
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    with pytest.raises(EvaluationFailed, match="gave int, not a boolean"):
        macrostep(machine, snapshot, {"type": "E"}, now_ms=0)


def test_an_eventless_guard_that_fails_says_so():
    machine = build_machine(
        {"id": "m", "initial": "a", "states": {"a": {"always": {"guard": "g", "target": "a"}}}}
    )
    with pytest.raises(EvaluationFailed) as caught:
        initial_macrostep(machine, now_ms=0)
    assert caught.value.where == "guard 'g' of an `always` transition in state 'm.a'"


class _Plugins:
    def __init__(self, guards):
        self.guards = guards
        self.actions = {}
        self.delays = {}
