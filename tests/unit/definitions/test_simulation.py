"""The simulator: scripts in, descriptions in the corpus's format out."""

import gc
import tracemalloc

import pytest

from durachart.definitions.build import build_machine
from durachart.definitions.simulation import Simulator, run_script
from durachart.engine import InvalidEvent

LAMP = {
    "id": "lamp",
    "initial": "off",
    "context": {"n": 0},
    "tags": "machine",
    "meta": {"kind": "lamp"},
    "states": {
        "off": {"on": {"TOGGLE": {"target": "on", "actions": "count"}}},
        "on": {"after": {"100": "off"}},
    },
}
COUNT = {"actions": {"count": {"assign": {"n": "context.n + 1"}}}}


def test_a_script_is_described_step_by_step():
    machine = build_machine(LAMP, COUNT)
    timer = "xstate.after.100.lamp.on"
    off = {
        "value": "off",
        "context": {"n": 0},
        "actions": [],
        "status": "active",
        "tags": ["machine"],
        "can": ["TOGGLE"],
        "scheduled": [],
        "meta": {"lamp": {"kind": "lamp"}},
    }
    on = {**off, "value": "on", "context": {"n": 1}, "can": []}
    on["scheduled"] = [{"id": timer, "event": {"type": timer}, "delay": 100, "due_in": 100}]
    waited = {**on, "scheduled": [{**on["scheduled"][0], "due_in": 40}]}
    script = [{"type": "TOGGLE"}, {"$advance_ms": 60}, {"$advance_ms": 40}]
    assert run_script(machine, script) == [off, on, waited, {**off, "context": {"n": 1}}]


@pytest.mark.parametrize(
    "item", [{}, {"type": 5}, {"$advance_ms": -1}, {"$advance_ms": 1.5}, {"$advance_ms": True}, {"type": "*"}]
)
def test_what_is_no_event_is_refused(item):
    with pytest.raises(InvalidEvent):
        run_script(build_machine(LAMP, COUNT), [item])


def test_time_does_not_run_backwards():
    with pytest.raises(ValueError, match="backwards"):
        Simulator(build_machine(LAMP, COUNT)).advance(-1)


def test_a_failed_start_is_described_once():
    machine = build_machine(
        {"initial": "a", "context": {"k": 1}, "states": {"a": {"always": {"guard": "nobody"}}}}
    )
    (described,) = run_script(machine, [{"type": "E"}])
    assert (described["status"], described["value"], described["context"]) == ("error", {}, {"k": 1})
    assert "nobody" in described["error"]


def test_memory_stays_flat_over_many_machines():
    def run(count):
        for _ in range(count):
            run_script(build_machine(LAMP, COUNT), [{"type": "TOGGLE"}, {"$advance_ms": 100}])
        gc.collect()

    run(50)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run(300)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 100_000


def test_timers_that_rearm_without_delay_end_in_an_error():
    machine = build_machine(
        {"initial": "a", "states": {"a": {"after": {"0": {"target": "a", "reenter": True}}}}}
    )
    (_, described) = run_script(machine, [{"$advance_ms": 1}])
    assert described["status"] == "error"
    assert "more than 10,000 timers fired within 1 ms" in described["error"]
