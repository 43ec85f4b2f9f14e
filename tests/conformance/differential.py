"""Runs the same cases in Durachart and in the npm package ``xstate``, and says where they differ."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from durachart.definitions.build import build_machine
from durachart.definitions.errors import DefinitionInvalid
from durachart.definitions.simulation import run_script

Case = dict[str, Any]

MAX_MICROSTEPS = 100
"""Well beyond where the runner gives a machine up as endless."""

RUNNER = Path(__file__).with_name("xstate_runner.mjs")
XSTATE = Path(__file__).parents[1] / "node" / "node_modules" / "xstate"


def divergence(case: Case, described: Sequence[Case], expect: Sequence[Case]) -> str:
    """Where the first difference is; ``""`` when there is none."""
    if len(described) != len(expect):
        return f"{case['id']}: {len(described)} steps instead of {len(expect)}"
    for index, (found, expected) in enumerate(zip(described, expect, strict=True)):
        ignored = {"error"}
        if expected["status"] == "error" and index == 0:
            ignored |= {"value", "context"}
        for key in sorted((set(found) | set(expected)) - ignored):
            if found.get(key) != expected.get(key):
                item = "start" if index == 0 else case["events"][index - 1]
                return (
                    f"{case['id']} after {item}: {key} is {found.get(key)!r} instead of {expected.get(key)!r}"
                )
    return ""


def run_case(case: Case) -> list[Case]:
    """What Durachart does with the script of a case or a corpus row.

    Raises:
        DefinitionInvalid: It refuses the machine.
    """
    machine = build_machine(case["machine"], case["implementations"])
    return run_script(machine, case["events"], case.get("input"), max_microsteps=MAX_MICROSTEPS)


@dataclass
class Comparison:
    """What came of comparing.

    Attributes:
        divergences: Sentences, each with the id of its case.
        diverging: The cases themselves, with what XState does as ``expect``.
        counts: Of cases by outcome.
    """

    divergences: list[str] = field(default_factory=list)
    diverging: list[Case] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def compare(cases: Iterable[Case]) -> Comparison:
    """Run cases in both and compare.

    XState's copy with active nodes in document order decides. Cases in which it differs from XState itself
    are counted as order quirks; cases that never settle, and those that use a timer's id twice at once, are
    counted and not compared.
    """
    listed = list(cases)
    lines = "".join(json.dumps(case) + "\n" for case in listed)
    answered = subprocess.run(
        ["node", str(RUNNER), str(XSTATE)],
        input=lines,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    comparison = Comparison()
    for case, line in zip(listed, answered.stdout.splitlines(), strict=True):
        _compare_one(case, json.loads(line), comparison)
    return comparison


def _compare_one(case: Case, answer: Case, comparison: Comparison) -> None:
    counts = comparison.counts
    counts["cases"] += 1
    try:
        described = run_case(case)
    except DefinitionInvalid as error:
        counts["refused"] += 1
        if "refused" not in answer:
            _diverges(case, answer, f"{case['id']}: refused although XState takes it: {error}", comparison)
        return
    if "refused" in answer:
        _diverges(
            case, answer, f"{case['id']}: taken although XState refuses it: {answer['refused']}", comparison
        )
        return
    for flag in answer["flags"]:
        counts[flag] += 1
    if answer["flags"]:
        return
    if answer["expect"] != answer["ordered"]:
        counts["order quirks"] += 1
    if found := divergence(case, described, answer["ordered"]):
        _diverges(case, answer, found, comparison)
    else:
        counts["agree"] += 1


def _diverges(case: Case, answer: Case, sentence: str, comparison: Comparison) -> None:
    comparison.counts["diverge"] += 1
    comparison.divergences.append(sentence)
    comparison.diverging.append({**case, "expect": answer.get("ordered")})
