"""Starting an instance."""

from durachart.definitions.build import build_machine
from durachart.engine import initial_macrostep


def test_the_context_is_computed_from_input_and_laid_over_the_static_one(play):
    config = {"initial": "a", "context": {"n": 1, "m": 2}, "states": {"a": {}}}
    started = play(config, input={"by": 5}, context={"n": "input.by + context.m", "extra": "context.n"})
    assert started.context == {"n": 7, "m": 2, "extra": 1}


def test_entry_actions_see_the_init_event_with_its_input(play):
    config = {"initial": "a", "states": {"a": {"entry": "fx"}}}
    actions = {"fx": {"params": {"type": "event.type", "v": "event.input.v"}}}
    started = play(config, input={"v": 3}, actions=actions)
    assert started.described["actions"][0]["params"] == {"type": "xstate.init", "v": 3}


def test_without_input_the_init_event_has_no_such_key(play):
    config = {"initial": "a", "states": {"a": {"entry": "fx"}}}
    started = play(config, actions={"fx": {"params": {"has": "has(event.input)"}}})
    assert started.described["actions"][0]["params"] == {"has": False}


def test_starting_twice_gives_the_same_snapshot():
    machine = build_machine({"initial": "a", "context": {"n": 1}, "states": {"a": {"after": {"10": "a"}}}})
    assert initial_macrostep(machine, now_ms=3) == initial_macrostep(machine, now_ms=3)


def test_a_machine_without_states_is_one_atomic_state(play):
    started = play({"id": "m", "on": {"E": {"actions": "fx"}}})
    assert started.value == {}
    assert started("E").effects == ["fx"]


def test_a_start_may_go_on_eventlessly_to_the_end(play):
    config = {"initial": "a", "states": {"a": {"always": "b"}, "b": {"type": "final"}}}
    assert play(config).described["status"] == "done"
