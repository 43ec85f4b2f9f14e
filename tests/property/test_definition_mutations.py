"""Whatever a definition is turned into, checking it ends with findings and never with an exception."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from durachart.definitions.definition import check_definition, load_definition, load_published
from durachart.definitions.diagram import render_mermaid
from durachart.definitions.errors import DefinitionInvalid
from durachart.definitions.loader import load_document

MACHINES = Path(__file__).resolve().parents[2] / "machines"
NAMES = sorted(path.parent.name for path in MACHINES.glob("*/machine.yaml"))
JUNK: list[Any] = [
    None, True, 0, -1, 1.5, "", "x", "#x", ".x", "*", "a.*", "~/", "context.a +", "xstate.raise",
    [], {}, [None], [[]], {"": ""}, {"type": "x"}, {"type": 5}, {"target": "idle"}, {"$ref": "#"},
    {"and": ["a"]}, {"stateIn": 5}, {"assign": {"a": "event.x"}}, 10**30,
]  # fmt: skip
KEYS = (
    "id type states on always after onDone entry exit initial history target guard actions params meta "
    "tags context cond invoke output event delay sendId description 1 a.b $ref properties required enum "
    "handler retry"
).split()

Place = tuple[dict[str, Any] | list[Any], Any]


def places(value: Any) -> list[Place]:
    """Every container and key in the document."""
    found: list[Place] = []
    pending = [value]
    while pending:
        current = pending.pop()
        items = current.items() if isinstance(current, dict) else enumerate(current)
        for key, child in items:
            found.append((current, key))
            if isinstance(child, dict | list):
                pending.append(child)
    return found


def mutate(document: dict[str, Any], chance: random.Random) -> None:
    container, key = chance.choice(places(document))
    other, other_key = chance.choice(places(document))
    replacement = copy.deepcopy(chance.choice([*JUNK, other[other_key]]))
    kind = chance.random()
    if kind < 0.6:
        container[key] = replacement
    elif kind < 0.85 and isinstance(container[key], dict):
        container[key][chance.choice(KEYS)] = replacement
    elif isinstance(container, dict):
        del container[key]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(30))
def test_mutated_definition_is_judged_and_never_breaks_the_judge(name: str, seed: int) -> None:
    chance = random.Random(f"{name} {seed}")
    document = json.loads(json.dumps(load_document(MACHINES / name / "machine.yaml").sections))
    for _ in range(chance.choice([1, 1, 2, 3, 5])):
        mutate(document, chance)
    findings = check_definition(document)
    assert all(finding.message and finding.code for finding in findings)
    if any(finding.severity == "error" for finding in findings):
        with pytest.raises(DefinitionInvalid) as refusal:
            load_definition(document)
        assert list(refusal.value.findings) == findings
        return
    definition = load_definition(document)
    assert list(definition.warnings) == findings
    assert load_published(document).content_hash == definition.content_hash
    assert render_mermaid(definition)
