"""Actions by trusted implementations."""

import pytest

from durachart.definitions.build import build_machine
from durachart.engine import EvaluationFailed, initial_macrostep, macrostep


class Plugins:
    def __init__(self, **actions):
        self.guards = {}
        self.actions = actions
        self.delays = {"soon": lambda context, event, params, now_ms, budget: context["n"]}


def after(action, params=None):
    use = {"type": "act", "params": params} if params else "act"
    config = {"initial": "a", "context": {"n": 1, "m": 2}, "states": {"a": {"on": {"E": {"actions": use}}}}}
    machine = build_machine(config, plugins=Plugins(act=action))
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    return macrostep(machine, snapshot, {"type": "E", "v": 5}, now_ms=9).snapshot.context


def test_a_mapping_is_laid_over_the_context():
    changed = after(
        lambda context, event, params, now_ms, budget: {"n": event["v"] + params["k"] + now_ms}, {"k": 1}
    )
    assert changed == {"n": 15, "m": 2}


def test_none_changes_nothing():
    assert after(lambda *_: None) == {"n": 1, "m": 2}


def test_anything_else_is_a_failure():
    with pytest.raises(EvaluationFailed, match="gave list, not a mapping"):
        after(lambda *_: [1])


def test_an_exception_is_a_failure_that_names_it():
    def broken(*_):
        raise KeyError("order")

    with pytest.raises(EvaluationFailed, match="KeyError: 'order'"):
        after(broken)


def test_an_exception_without_text_is_named_by_its_class():
    def broken(*_):
        raise RuntimeError

    with pytest.raises(EvaluationFailed, match="RuntimeError"):
        after(broken)


def test_delays_may_be_computed_by_a_plugin():
    config = {"initial": "a", "context": {"n": 40}, "states": {"a": {"after": {"soon": "a"}}}}
    machine = build_machine(config, plugins=Plugins())
    assert initial_macrostep(machine, now_ms=2).snapshot.timers[0].due_at_ms == 42
