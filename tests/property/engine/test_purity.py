"""Same input, same output, in any process; nothing passed in is written to; snapshots are data."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from durachart.definitions.build import build_machine
from durachart.definitions.simulation import Simulator, run_script
from durachart.engine import initial_macrostep, macrostep, snapshot_from_json, snapshot_to_json
from tests.conformance.generator import make_case

SEEDS = st.integers(min_value=0, max_value=2**32)

RUN = """
import json, sys
from durachart.definitions.build import build_machine
from durachart.definitions.simulation import run_script
for line in sys.stdin:
    case = json.loads(line)
    machine = build_machine(case["machine"], case["implementations"])
    print(json.dumps(run_script(machine, case["events"], case.get("input"))))
"""


def test_another_process_with_another_hash_seed_gives_the_same_result(repository: Path):
    cases = [make_case(seed) for seed in range(500, 560)]
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    answers = []
    for hash_seed in ("1", "2"):
        environment = {
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PATH": os.environ.get("PATH", ""),
        }
        ran = subprocess.run(
            [sys.executable, "-c", RUN],
            input=lines,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        answers.append(ran.stdout.splitlines())
    here = [
        json.dumps(
            run_script(
                build_machine(case["machine"], case["implementations"]), case["events"], case.get("input")
            )
        )
        for case in cases
    ]
    assert answers[0] == answers[1] == here


@given(SEEDS)
@settings(max_examples=60)
def test_storing_the_snapshot_between_every_two_events_changes_nothing(seed: int):
    case = make_case(seed)
    machine = build_machine(case["machine"], case["implementations"])
    kept, stored = (Simulator(machine, case.get("input")) for _ in range(2))
    for event in case["events"]:
        if stored.snapshot is not None:
            data = json.loads(json.dumps(snapshot_to_json(machine, stored.snapshot)))
            stored.snapshot = snapshot_from_json(machine, data)
        kept.play(event)
        stored.play(event)
        assert stored.describe() == kept.describe()
        assert stored.snapshot == kept.snapshot


@given(SEEDS)
@settings(max_examples=60)
def test_a_machine_built_anew_between_every_two_events_changes_nothing(seed: int):
    """No answer depends on what the memo tables happen to hold."""
    case = make_case(seed)
    kept = Simulator(build_machine(case["machine"], case["implementations"]), case.get("input"))
    fresh = Simulator(kept.machine, case.get("input"))
    for event in case["events"]:
        if fresh.snapshot is not None:
            data = snapshot_to_json(fresh.machine, fresh.snapshot)
            fresh.machine = build_machine(case["machine"], case["implementations"])
            fresh.snapshot = snapshot_from_json(fresh.machine, data)
        kept.play(event)
        fresh.play(event)
        assert fresh.describe() == kept.describe()


@given(SEEDS)
@settings(max_examples=60)
def test_definition_events_and_snapshots_are_never_written_to(seed: int):
    case = make_case(seed)
    before = copy.deepcopy(case)
    machine = build_machine(case["machine"], case["implementations"])
    simulator = Simulator(machine, case.get("input"))
    for event in case["events"]:
        snapshot = simulator.snapshot
        data = None if snapshot is None else json.dumps(snapshot_to_json(machine, snapshot))
        simulator.play(event)
        if snapshot is not None:
            assert json.dumps(snapshot_to_json(machine, snapshot)) == data
    assert case == before


@given(SEEDS, st.integers(min_value=0, max_value=2**52))
@settings(max_examples=30)
def test_only_time_passed_in_is_time(seed: int, now_ms: int):
    """A step at another instant differs in its timers alone, when no expression reads ``now``."""
    case = make_case(seed)
    machine = build_machine(case["machine"], case["implementations"])
    if Simulator(machine, case.get("input")).snapshot is None:
        return
    early = initial_macrostep(machine, input=case.get("input"), now_ms=0)
    late = initial_macrostep(machine, input=case.get("input"), now_ms=now_ms)
    assert [timer.due_at_ms + now_ms for timer in early.snapshot.timers] == [
        timer.due_at_ms for timer in late.snapshot.timers
    ]
    assert early.snapshot._replace(timers=()) == late.snapshot._replace(timers=())
    assert early.effects == late.effects


@given(SEEDS)
@settings(max_examples=30)
def test_a_step_taken_twice_gives_the_same_twice(seed: int):
    case = make_case(seed)
    machine = build_machine(case["machine"], case["implementations"])
    snapshot = Simulator(machine, case.get("input")).snapshot
    if snapshot is None:
        return
    for event in case["events"]:
        if "type" in event:
            try:
                once = macrostep(machine, snapshot, event, now_ms=5)
            except Exception as error:
                once = str(error)
            try:
                again = macrostep(machine, snapshot, event, now_ms=5)
            except Exception as error:
                again = str(error)
            assert once == again
