"""What is remembered of a configuration's allowed events answers as asking every candidate each time does."""

from typing import Any

from durachart.definitions.build import build_machine
from durachart.definitions.simulation import Simulator
from durachart.engine import Machine, Snapshot, allowed_events, queries
from durachart.engine.select import find_eventless, find_plan

Row = dict[str, Any]
UNKNOWN = ("UNKNOWN", "a.b.c")


def asked_each_time(machine: Machine, snapshot: Snapshot, now_ms: int) -> list[str]:
    """The same question with nothing remembered: every type's candidates are asked."""
    if snapshot.status != "active":
        return []
    question = queries._Question(machine, snapshot, {}, now_ms)
    eventless = find_eventless(machine, snapshot.configuration)
    allowed = []
    for name in {*machine.event_types, *UNKNOWN}:
        if not name.startswith("xstate."):
            question.ask_about({"type": name})
            plan = find_plan(machine, snapshot.configuration, name)
            if queries._may_be_accepted(plan, eventless, question):
                allowed.append(name)
    return sorted(allowed)


def test_what_is_remembered_is_what_asking_each_time_gives(rows: list[Row], found: list[Row]) -> None:
    compared = 0
    for row in [*rows[::3], *found]:
        machine = build_machine(row["machine"], row["implementations"])
        simulator = Simulator(machine, row.get("input"))
        for event in [None, *row["events"]]:
            if event is not None:
                simulator.play(event)
            snapshot = simulator.snapshot
            if snapshot is None:
                continue
            for now_ms in (0, 1_700_000_000_000):
                expected = asked_each_time(machine, snapshot, now_ms)
                assert allowed_events(machine, snapshot, UNKNOWN, now_ms=now_ms) == expected, row["id"]
                compared += bool(expected)
    assert compared > 5_000
