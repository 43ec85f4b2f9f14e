"""Invoked actors, as data: the engine asks for them and never runs them."""

CONFIG = {
    "id": "m",
    "initial": "a",
    "context": {"n": 0},
    "states": {
        "a": {"on": {"GO": "w"}},
        "w": {
            "entry": "+w",
            "exit": "-w",
            "invoke": [
                {
                    "id": "job",
                    "src": "worker",
                    "input": {"q": 1},
                    "onDone": {"target": "a", "actions": "take"},
                    "onError": {"target": "bad"},
                    "onSnapshot": {"actions": "seen"},
                },
                {"src": "other"},
            ],
            "initial": {"target": "x", "actions": "i"},
            "states": {"x": {}},
            "on": {"OUT": "a", "END": "z"},
        },
        "bad": {},
        "z": {"type": "final", "invoke": {"src": "last"}},
    },
}
TAKE = {"take": {"assign": {"n": "event.output"}}}


def test_actors_are_asked_for_after_entry_and_stopped_after_exit(play):
    started = play(CONFIG, actions=TAKE)("GO")
    assert started.described["actions"] == [
        {"type": "+w"},
        {"type": "xstate.spawnChild", "params": {"id": "job", "src": "worker", "input": {"q": 1}}},
        {"type": "xstate.spawnChild", "params": {"id": "1.m.w", "src": "other"}},
        {"type": "i"},
    ]
    assert started("OUT").described["actions"] == [
        {"type": "-w"},
        {"type": "xstate.stopChild", "params": {"id": "job"}},
        {"type": "xstate.stopChild", "params": {"id": "1.m.w"}},
    ]


def test_their_events_select_the_transitions_of_invoke(play):
    done = play(CONFIG, actions=TAKE)("GO")({"type": "xstate.done.actor.job", "output": 7})
    assert (done.value, done.context) == ("a", {"n": 7})
    assert play(CONFIG)("GO")({"type": "xstate.error.actor.job"}).value == "bad"
    assert play(CONFIG)("GO")({"type": "xstate.snapshot.job"}).effects == ["seen"]


def test_a_failed_actor_that_nothing_handles_fails_the_machine(play):
    started = play(CONFIG)("GO")({"type": "xstate.error.actor.1.m.w", "error": "broken"})
    assert started.described["status"] == "error"
    assert started.described["error"] == "broken"
    assert started.value == {"w": "x"}
    assert started.effects == ["xstate.stopChild", "xstate.stopChild"]
    assert started("OUT").value == {"w": "x"}


def test_what_still_runs_is_stopped_last_when_the_machine_is_done(play):
    started = play(CONFIG)("GO")("END")
    assert started.effects == [
        "-w",
        "xstate.stopChild",
        "xstate.stopChild",
        "xstate.spawnChild",
        "xstate.stopChild",
    ]
