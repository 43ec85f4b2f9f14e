"""Delays: ``after``, delayed raise, cancel; time is an argument."""

import pytest

from durachart.definitions.build import build_machine
from durachart.engine import EvaluationFailed, UnknownTimer, fire_timer, initial_macrostep, macrostep


def raising(event, delay=None, timer_id=None):
    params = {"event": {"type": event}}
    if delay is not None:
        params["delay"] = delay
    if timer_id is not None:
        params["id"] = timer_id
    return {"type": "xstate.raise", "params": params}


def scheduled(started):
    return [(timer["id"], timer["due_in"]) for timer in started.described["scheduled"]]


def test_a_state_arms_its_timers_on_entry_and_disarms_them_on_exit(play):
    config = {
        "id": "m",
        "initial": "a",
        "states": {"a": {"on": {"GO": "b"}, "after": {"200": "c", "100": "b"}}, "b": {}, "c": {}},
    }
    started = play(config)
    assert scheduled(started) == [("xstate.after.100.m.a", 100), ("xstate.after.200.m.a", 200)]
    assert scheduled(started("GO")) == []


def test_a_timer_fires_at_its_time_and_not_before(play):
    config = {"initial": "a", "states": {"a": {"after": {"100": "b"}}, "b": {}}}
    started = play(config)
    assert started(99).value == "a"
    assert started(1).value == "b"


def test_a_timer_armed_by_a_timer_counts_from_the_firing_of_the_first(play):
    config = {
        "initial": "a",
        "states": {
            "a": {"after": {"10": "b"}},
            "b": {"after": {"10": "c"}},
            "c": {"after": {"10": "d"}},
            "d": {},
        },
    }
    assert play(config)(25).value == "c"


def test_timers_due_together_fire_in_the_order_of_arming(play):
    config = {
        "initial": "a",
        "states": {
            "a": {
                "entry": [raising("X", 50), raising("Y", 50), raising("W", 40)],
                "on": {"X": {"actions": "x"}, "Y": {"actions": "y"}, "W": {"actions": "w"}},
            }
        },
    }
    assert play(config)(50).effects == ["w", "x", "y"]


def test_a_timer_without_delay_waits_for_time_to_be_looked_at(play):
    config = {"initial": "a", "states": {"a": {"after": {"0": "b"}}, "b": {}}}
    started = play(config)
    assert started("ANY").value == "a"
    assert started(0).value == "b"


def test_an_expired_timer_whose_guard_fails_is_gone(play):
    config = {"initial": "a", "states": {"a": {"after": {"10": {"guard": "no", "target": "b"}}}, "b": {}}}
    started = play(config, guards={"no": "false"})(10)
    assert (started.value, scheduled(started)) == ("a", [])


def test_a_delayed_raise_outlives_the_state_that_asked_for_it(play):
    config = {
        "initial": "a",
        "on": {"LATER": {"actions": "later"}},
        "states": {"a": {"entry": raising("LATER", 100, "t"), "on": {"GO": "b"}}, "b": {}},
    }
    assert play(config)("GO")(100).effects == ["later"]


def test_cancel_disarms_by_id_and_only_what_is_pending(play):
    config = {
        "initial": "a",
        "states": {
            "a": {
                "entry": [raising("X", 100, "one"), raising("Y", 100)],
                "on": {
                    "STOP": {"actions": {"type": "xstate.cancel", "params": {"sendId": "one"}}},
                    "X": {"actions": "x"},
                    "Y": {"actions": "y"},
                },
            }
        },
    }
    started = play(config)("STOP")("STOP")
    assert scheduled(started) == [(None, 100)]
    assert started(100).effects == ["y"]
    assert scheduled(started("STOP")) == []


def test_an_id_in_use_goes_to_the_new_timer_and_the_old_one_still_fires(play):
    config = {
        "initial": "a",
        "states": {
            "a": {
                "entry": raising("X", 30, "t"),
                "on": {
                    "AGAIN": {"actions": raising("Y", 40, "t")},
                    "STOP": {"actions": {"type": "xstate.cancel", "params": {"sendId": "t"}}},
                    "X": {"actions": "x"},
                    "Y": {"actions": "y"},
                },
            }
        },
    }
    started = play(config)("AGAIN")
    assert scheduled(started) == [(None, 30), ("t", 40)]
    assert scheduled(started("STOP")) == [(None, 30)]
    assert started(100).effects == ["x"]


def test_named_delays_are_computed_when_the_timer_is_armed(play):
    config = {
        "id": "m",
        "initial": "a",
        "context": {"n": 3},
        "states": {
            "a": {"after": {"wait": "b", "fixed": "b"}, "on": {"E": {"actions": raising("R", "wait", "r")}}},
            "b": {},
        },
    }
    started = play(config, delays={"wait": "context.n * 10", "fixed": 7})("E")
    assert scheduled(started) == [
        ("xstate.after.fixed.m.a", 7),
        ("xstate.after.wait.m.a", 30),
        ("r", 30),
    ]


@pytest.mark.parametrize("delays", [{}, {"odd": "'soon'"}, {"odd": "true"}])
def test_a_delay_that_is_no_number_means_at_once(play, delays):
    config = {"initial": "a", "states": {"a": {"after": {"odd": "b"}}, "b": {}}}
    started = play(config, delays=delays)
    assert (started.value, scheduled(started)) == ("b", [])


def test_a_fractional_delay_never_fires_early(play):
    config = {"initial": "a", "states": {"a": {"after": {"1.5": "b"}}, "b": {}}}
    started = play(config)
    assert started(1).value == "a"
    assert started(1).value == "b"


@pytest.mark.parametrize("delay", ["1e300", "-1e300"])
def test_a_delay_out_of_range_is_a_failure(delay):
    machine = build_machine(
        {"initial": "a", "states": {"a": {"after": {"far": "b"}}, "b": {}}}, {"delays": {"far": delay}}
    )
    with pytest.raises(EvaluationFailed, match="out of range"):
        initial_macrostep(machine, now_ms=0)


def test_a_timer_is_due_on_the_clock_of_the_step_that_armed_it():
    machine = build_machine({"id": "m", "initial": "a", "states": {"a": {"after": {"100": "b"}}, "b": {}}})
    (timer,) = initial_macrostep(machine, now_ms=5_000).snapshot.timers
    assert (timer.due_at_ms, timer.delay_ms, timer.owner, timer.key) == (
        5_100,
        100,
        "m.a",
        "xstate.after.100.m.a",
    )


def test_firing_takes_the_timer_even_when_its_event_selects_nothing():
    machine = build_machine({"initial": "a", "states": {"a": {"entry": raising("NOBODY", 10)}}})
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    step = fire_timer(machine, snapshot, "#0", now_ms=10)
    assert (step.accepted, step.changed, step.snapshot.timers) == (False, False, ())
    assert snapshot.timers != ()


def test_a_timer_fires_once():
    machine = build_machine({"initial": "a", "states": {"a": {"after": {"10": "b"}}, "b": {}}})
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    (timer,) = snapshot.timers
    after = fire_timer(machine, snapshot, timer.key, now_ms=10).snapshot
    with pytest.raises(UnknownTimer) as caught:
        fire_timer(machine, after, timer.key, now_ms=10)
    assert caught.value.key == timer.key


def test_rearming_is_a_change_but_only_the_timers_differ():
    machine = build_machine(
        {
            "initial": "a",
            "states": {"a": {"after": {"10": "b"}, "on": {"E": {"target": "a", "reenter": True}}}, "b": {}},
        }
    )
    snapshot = initial_macrostep(machine, now_ms=0).snapshot
    step = macrostep(machine, snapshot, {"type": "E"}, now_ms=5)
    assert step.changed
    assert step.snapshot.timers[0].due_at_ms == 15
    assert step.snapshot._replace(timers=(), next_sequence=0) == snapshot._replace(timers=(), next_sequence=0)


def test_pending_timers_are_bounded(play):
    more = [raising("X", 1_000) for _ in range(500)]
    config = {
        "initial": "a",
        "states": {"a": {"on": {"MORE": {"actions": more}, "ONE": {"actions": more[0]}}}},
    }
    started = play(config)("MORE")("MORE")
    assert len(scheduled(started)) == 1_000
    assert "timers would be pending" in started("ONE").described["error"]
