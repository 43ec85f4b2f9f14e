"""Which effects of one macrostep are left to be run when it ends."""

from __future__ import annotations

from typing import Any

from durachart.definitions.definition import Definition, load_definition
from durachart.runtime.instance import Pinned
from tests.unit.runtime.samples import Trial, key


def _definition(states: dict[str, Any]) -> Definition:
    return load_definition(
        {
            "machine": {"id": "job", "initial": "start", "context": {"n": 0}, "states": states},
            "implementations": {
                "guards": {"again": "context.n < 2"},
                "actions": {"count": {"assign": {"n": "context.n + 1"}}},
            },
            "effects": {"call": {"handler": "h", "cancel_on_exit": True}, "keep": {"handler": "h"}},
        }
    )


def _states_of_effects(states: dict[str, Any]) -> list[tuple[str, str]]:
    trial = Trial()
    trial.pinned = Pinned(_definition(states), 1)
    trial.create()
    verdict = trial.send("GO")
    assert trial.instance.key == key()
    running = [effect.effect_id for effect in trial.instance.effects]
    assert running == [row.effect_id for row in verdict.outbox if row.finalized_at_ms is None]
    return [(row.type, row.state) for row in verdict.outbox]


def test_a_state_left_in_the_same_step_takes_its_effects_with_it() -> None:
    states = {
        "start": {"on": {"GO": "through"}},
        "through": {"entry": ["call", "keep"], "always": "end"},
        "end": {"entry": "call"},
    }
    assert _states_of_effects(states) == [
        ("call", "cancelled"),
        ("keep", "available"),
        ("call", "available"),
    ]


def test_of_a_state_entered_twice_the_last_stay_counts() -> None:
    states = {
        "start": {"on": {"GO": "busy"}},
        "busy": {
            "entry": ["count", "call", {"type": "call", "params": {"second": True}}],
            "always": {"guard": "again", "target": "busy", "reenter": True},
        },
    }
    assert _states_of_effects(states) == [
        ("call", "cancelled"),
        ("call", "cancelled"),
        ("call", "available"),
        ("call", "available"),
    ]


def test_effects_of_transitions_belong_to_no_state() -> None:
    states = {
        "start": {"on": {"GO": {"target": "through", "actions": "call"}}},
        "through": {"always": {"target": "end", "actions": "call"}},
        "end": {},
    }
    assert _states_of_effects(states) == [("call", "available"), ("call", "available")]
