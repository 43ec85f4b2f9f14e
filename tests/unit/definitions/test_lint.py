"""The linter (A14): derived data, trivial machines, high-frequency writes; and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest

from durachart.definitions.definition import check_definition


def lints(document: dict[str, Any]) -> list[tuple[str, str]]:
    lint = {"derived_data", "machine_trivial", "high_frequency"}
    findings = check_definition(document)
    assert all(finding.severity == "warning" for finding in findings if finding.code in lint)
    return [(finding.code, finding.path) for finding in findings if finding.code in lint]


def cart(**assigns: str) -> dict[str, Any]:
    """A machine whose only action assigns what is given."""
    return {
        "machine": {
            "id": "cart",
            "initial": "open",
            "context": {"items": [], "count": 0, "last": None, "price": 0},
            "states": {"open": {"on": {"ADD": {"actions": "add"}, "PAY": "paid"}}, "paid": {"type": "final"}},
        },
        "implementations": {"actions": {"add": {"assign": assigns}}},
    }


def test_key_computed_from_other_keys_alone_is_derived() -> None:
    document = cart(items="context.items + [event.item]", count="size(context.items) + 1")
    assert lints(document) == [("derived_data", "/implementations/actions/add/assign/count")]


@pytest.mark.parametrize(
    "text",
    [
        "size(context.items) + event.extra",  # depends on what happened
        "context.count + 1",  # a counter remembers
        "string(now)",
        "0",  # a reset
        "context.items",  # a copy of what was
        "context.items[0].name",
    ],
)
def test_what_cannot_be_computed_later_is_not_derived(text: str) -> None:
    assert lints(cart(count=text)) == []


def test_key_that_is_also_set_from_an_event_is_not_derived() -> None:
    document = cart(count="size(context.items)")
    document["implementations"]["actions"]["set"] = {"assign": {"count": "event.count"}}
    document["machine"]["states"]["open"]["on"]["SET"] = {"actions": "set"}
    assert lints(document) == []


def test_resets_do_not_hide_derived_data() -> None:
    document = cart(count="size(context.items)")
    document["implementations"]["actions"]["clear"] = {"assign": {"count": "0"}}
    document["machine"]["states"]["open"]["on"]["CLEAR"] = {"actions": "clear"}
    assert [code for code, _ in lints(document)] == ["derived_data"]


def machine(states: dict[str, Any], **root: Any) -> dict[str, Any]:
    return {"machine": {"id": "m", "initial": next(iter(states)), "states": states, **root}}


def test_one_state_is_trivial() -> None:
    assert lints({"machine": {"id": "m"}}) == [("machine_trivial", "/machine")]
    assert lints(machine({"only": {"on": {"E": {"actions": "x"}}}})) == [("machine_trivial", "/machine")]


def test_flag_is_trivial() -> None:
    assert lints(machine({"on": {"on": {"FLIP": "off"}}, "off": {"on": {"FLIP": "on"}}})) == [
        ("machine_trivial", "/machine")
    ]


@pytest.mark.parametrize(
    "extra",
    [
        {"entry": "mail"},
        {"after": {"1000": "off"}},
        {"tags": "bright"},
        {"on": {"FLIP": {"target": "off", "guard": "allowed"}}},
        {"on": {"FLIP": {"target": "off", "actions": "mail"}}},
    ],
)
def test_two_states_that_decide_or_do_something_are_not_trivial(extra: dict[str, Any]) -> None:
    document = machine({"on": {"on": {"FLIP": "off"}} | extra, "off": {"on": {"FLIP": "on"}}})
    document["implementations"] = {"guards": {"allowed": "true"}}
    assert lints(document) == []


def test_two_states_with_an_end_are_not_trivial() -> None:
    assert lints(machine({"open": {"on": {"CLOSE": "shut"}}, "shut": {"type": "final"}})) == []


def test_timer_that_comes_round_many_times_a_second_is_frequent() -> None:
    blink = machine({"on": {"after": {"100": "off"}}, "off": {"after": {"200": "on"}}, "end": {}})
    assert lints(blink) == [
        ("high_frequency", "/machine/states/on/after/100"),
        ("high_frequency", "/machine/states/off/after/200"),
    ]


def test_named_delay_and_reentry_count_as_well() -> None:
    document = machine({"poll": {"after": {"tick": {"target": "poll", "reenter": True}}}, "end": {}})
    document["implementations"] = {"delays": {"tick": 50}}
    assert lints(document) == [("high_frequency", "/machine/states/poll/after/tick")]


@pytest.mark.parametrize(
    "states",
    [
        {"on": {"after": {"1000": "off"}}, "off": {"after": {"1000": "on"}}, "end": {}},
        {"on": {"after": {"100": "off"}}, "off": {"on": {"GO": "on"}}},
        {"on": {"after": {"100": {"target": "on"}}}, "end": {}},
        {"on": {"after": {"100": {"actions": "x"}}}, "end": {}},
        {"on": {"after": {"unknown": "on"}}, "end": {}},
    ],
)
def test_slow_or_single_timers_are_not_frequent(states: dict[str, Any]) -> None:
    assert lints(machine(states)) == []


def test_loop_through_a_parent_is_seen() -> None:
    inner = {"initial": "x", "states": {"x": {"after": {"10": "#m.pause"}}}}
    states = {"run": inner, "pause": {"after": {"10": "run"}}, "end": {}}
    assert [path for _, path in lints(machine(states))] == [
        "/machine/states/run/states/x/after/10",
        "/machine/states/pause/after/10",
    ]


@pytest.mark.parametrize(
    "event_type", ["TICK", "mouse.move", "KEY_PRESS", "cursorMoved", "TOKEN", "upload.progress", "HEARTBEAT"]
)
def test_event_named_like_a_stream_is_frequent_when_it_only_updates(event_type: str) -> None:
    states = {"a": {"on": {event_type: {"actions": "update"}, "GO": "b"}}, "b": {}}
    assert [code for code, _ in lints(machine(states))] == ["high_frequency"]
    states = {"a": {"on": {event_type: "b"}}, "b": {"entry": "x"}}
    assert lints(machine(states)) == []


@pytest.mark.parametrize("event_type", ["SUBMIT", "TOKENIZE", "FRAMEWORK_CHOSEN", "STICK"])
def test_other_names_are_left_alone(event_type: str) -> None:
    states = {"a": {"on": {event_type: {"actions": "update"}, "GO": "b"}}, "b": {}}
    assert lints(machine(states)) == []
