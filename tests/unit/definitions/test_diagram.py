"""Diagrams carry labels and notes from the definition (C10), and the same text every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from durachart.definitions.definition import load_definition
from durachart.definitions.diagram import render_mermaid
from durachart.definitions.loader import load_document

DOOR = """\
---
title: "door"
---
stateDiagram-v2
    state "door" as door {
        [*] --> shut
        state "shut" as shut
        note right of shut
            Nobody passes.
            entry / ring(times=2)
            exit / emit LEFT
            tags: closed, safe
            color: red
        end note
        state "open" as open
        state "gone" as gone
        gone --> [*]
        shut --> open : OPEN [allowed(key=7)] / log
        shut --> shut : KNOCK / answer
        open --> open : SHAKE (re-enters)
        open --> open : SHUT (forbidden)
        open --> shut : after 1000 ms
        open --> shut : after slow [calm]
        open --> gone : [broken]
    }
    note right of door
        A door that shuts by itself.
    end note
    door --> gone : BREAK / raise E, cancel later
"""


def door() -> dict[str, Any]:
    return {
        "machine": {
            "id": "door",
            "description": "A door that shuts by itself.",
            "initial": "shut",
            "on": {
                "BREAK": {
                    "target": ".gone",
                    "actions": [
                        {"type": "xstate.raise", "params": {"event": {"type": "E"}}},
                        {"type": "xstate.cancel", "params": {"sendId": "later"}},
                    ],
                }
            },
            "states": {
                "shut": {
                    "description": "Nobody passes.",
                    "tags": ["closed", "safe"],
                    "meta": {"color": "red"},
                    "entry": {"type": "ring", "params": {"times": 2}},
                    "exit": {"type": "xstate.emit", "params": {"event": {"type": "LEFT"}}},
                    "on": {
                        "OPEN": {
                            "target": "open",
                            "guard": {"type": "allowed", "params": {"key": 7}},
                            "actions": "log",
                        },
                        "KNOCK": {"actions": "answer"},
                    },
                },
                "open": {
                    "after": {"1000": "shut", "slow": {"target": "shut", "guard": "calm"}},
                    "on": {"SHAKE": {"target": "open", "reenter": True}, "SHUT": {}},
                    "always": {"target": "gone", "guard": "broken"},
                },
                "gone": {"type": "final"},
            },
        },
        "implementations": {
            "guards": {"allowed": "event.key == params.key", "calm": "true", "broken": "false"},
            "actions": {"log": {"assign": {"opened": "true"}}},
            "delays": {"slow": 9000},
        },
        "effects": {"ring": {"handler": "bell"}, "answer": {"handler": "voice"}},
    }


def render(machine: dict[str, Any], **sections: Any) -> str:
    return render_mermaid(load_definition({"machine": machine, **sections}))


def test_labels_and_notes_come_from_the_definition() -> None:
    assert render_mermaid(load_definition(door())) == DOOR


def test_same_definition_gives_the_same_text() -> None:
    assert render_mermaid(load_definition(door())) == render_mermaid(load_definition(door()))


def test_nested_and_parallel_states_are_drawn_inside_one_another() -> None:
    region = {"initial": "a", "states": {"a": {"on": {"GO": "b"}}, "b": {"type": "final"}}}
    work = {"type": "parallel", "states": {"one": region, "two": region}, "onDone": "end"}
    machine = {"id": "m", "initial": "work", "states": {"work": work, "end": {}}}
    lines = [line.strip() for line in render(machine).splitlines()]
    assert lines.count("--") == 1
    assert "one_a --> one_b : GO" in lines
    assert "two_a --> two_b : GO" in lines
    assert "work --> end_ : done" in lines


def test_arrow_stands_inside_the_innermost_state_around_both_ends() -> None:
    inner = {"initial": "x", "states": {"x": {"on": {"OUT": "#m.b", "IN": "y"}}, "y": {}}}
    machine = {"id": "m", "initial": "a", "states": {"a": inner, "b": {}}}
    lines = render(machine).splitlines()
    assert "            x --> y : IN" in lines
    assert "        x --> b : OUT" in lines


def test_history_says_what_it_remembers() -> None:
    inner = {
        "initial": "x",
        "states": {
            "x": {},
            "here": {"type": "history"},
            "all": {"type": "history", "history": "deep"},
        },
    }
    machine = {
        "id": "m",
        "initial": "a",
        "states": {"a": inner, "b": {"on": {"H": "a.here", "D": "a.all"}}},
    }
    text = render(machine)
    assert 'state "here (H)" as here' in text
    assert 'state "all (H*)" as all' in text


def test_initial_actions_are_on_the_first_arrow() -> None:
    states = {"a": {"on": {"E": "b"}}, "b": {}}
    machine = {"id": "m", "initial": {"target": "a", "actions": "greet"}, "states": states}
    assert "[*] --> a : / greet" in render(machine)


@pytest.mark.parametrize("key", ["state", "END", "note", "1st", "über", "a b"])
def test_names_are_never_mermaids_own_words(key: str) -> None:
    machine = {"id": "m", "initial": key, "states": {key: {"on": {"E": "other"}}, "other": {}}}
    line = next(line for line in render(machine).splitlines() if f'state "{key}" as' in line)
    name = line.split(" as ")[1]
    assert name.isascii()
    assert name != key
    assert f"{name} --> other : E" in render(machine)


def test_equal_names_are_told_apart() -> None:
    machine = {
        "id": "m",
        "initial": "A",
        "states": {"A": {"on": {"E": "a", "F": "a-b", "G": "a_b"}}, "a": {}, "a-b": {}, "a_b": {}},
    }
    names = [line.split(" as ")[1].split()[0] for line in render(machine).splitlines() if " as " in line]
    assert len({name.lower() for name in names}) == 5


def test_text_cannot_end_a_label_or_a_note() -> None:
    machine = {
        "id": "m",
        "initial": "a",
        "states": {
            "a": {"description": 'End note; "x" <b> #1', "on": {"a:b;c": "b"}},
            "b": {"meta": [1]},
        },
    }
    text = render(machine)
    assert "En#100; note" not in text
    assert "en#100; note; #quot;x#quot; #lt;b#gt; #35;1" in text
    assert "a --> b : a#58;b#59;c" in text
    assert "[1]" in text


@pytest.mark.parametrize("name", ["broadcast", "canvas", "concierge", "flow", "negotiation", "order"])
def test_reference_machines_are_drawn_whole(name: str, repository: Path) -> None:
    definition = load_definition(load_document(repository / "machines" / name / "machine.yaml"))
    text = render_mermaid(definition)
    assert text.count("{\n") == text.count("}\n")
    assert all(f'state "{node.key}' in text for node in definition.machine.nodes)
    for event_type in definition.event_types:
        assert f": {event_type}" in text
