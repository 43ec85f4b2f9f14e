"""The ``effects`` section is read strictly, with stated defaults."""

from __future__ import annotations

from typing import Any

import pytest

from durachart.definitions.effect_spec import EffectSpec, RetryPolicy, parse_effects
from durachart.definitions.findings import Finding


def parse(section: object, **options: Any) -> tuple[dict[str, EffectSpec], list[Finding]]:
    findings: list[Finding] = []
    return dict(parse_effects(section, findings, **options)), findings


def test_defaults_are_as_stated() -> None:
    specs, findings = parse({"charge": {"handler": "pay"}})
    assert findings == []
    assert specs == {"charge": EffectSpec("charge", "pay", retry=RetryPolicy(3, 1_000, 60_000, 2.0, 0.5, ()))}
    assert specs["charge"].priority == 2
    assert specs["charge"].timeout_ms == 300_000
    assert specs["charge"].cancel_on_exit is False
    assert specs["charge"].events == ()


def test_every_key_is_read() -> None:
    entry = {
        "handler": "llm.generate",
        "done": "D",
        "failed": "F",
        "rejected": "R",
        "stopped": "S",
        "timeout_ms": 5,
        "cancel_on_exit": True,
        "retry": {
            "max_attempts": 7,
            "initial_backoff_ms": 10,
            "max_backoff_ms": 20,
            "multiplier": 1.5,
            "jitter": 0,
            "non_retryable": ["BAD_KEY", "BAD_KEY"],
        },
        "priority": 4,
    }
    specs, findings = parse({"g": entry})
    assert findings == []
    assert specs["g"] == EffectSpec(
        "g", "llm.generate", "D", "F", "R", "S", 5, RetryPolicy(7, 10, 20, 1.5, 0.0, ("BAD_KEY",)), True, 4
    )
    assert specs["g"].events == ("D", "F", "R", "S")


def test_rejected_falls_back_to_failed() -> None:
    specs, _ = parse({"g": {"handler": "h", "failed": "F"}})
    assert specs["g"].rejected == "F"
    assert specs["g"].events == ("F",)


def test_absent_section_has_no_effects() -> None:
    assert parse(None) == ({}, [])


def test_backoff_grows_to_its_maximum() -> None:
    policy = RetryPolicy(initial_backoff_ms=100, max_backoff_ms=1_000, multiplier=3)
    assert [policy.backoff_ms(attempt) for attempt in (1, 2, 3, 4, 1_000)] == [100, 300, 900, 1_000, 1_000]


def test_initial_backoff_above_the_default_maximum_raises_it() -> None:
    specs, findings = parse({"g": {"handler": "h", "retry": {"initial_backoff_ms": 90_000}}})
    assert findings == []
    assert specs["g"].retry.max_backoff_ms == 90_000


@pytest.mark.parametrize(
    ("section", "code", "path"),
    [
        ([], "section_type", "/effects"),
        ({"a": "pay"}, "effect_invalid", "/effects/a"),
        ({"a": {}}, "effect_invalid", "/effects/a"),
        ({"a": {"handler": ""}}, "effect_invalid", "/effects/a/handler"),
        ({"a": {"handler": "with space"}}, "effect_invalid", "/effects/a/handler"),
        ({"a": {"handler": 1}}, "effect_invalid", "/effects/a/handler"),
        ({"a": {"handler": "h", "timeout": 1}}, "unknown_key", "/effects/a/timeout"),
        ({"a": {"handler": "h", "done": ""}}, "effect_invalid", "/effects/a/done"),
        ({"a": {"handler": "h", "done": None}}, "effect_invalid", "/effects/a/done"),
        ({"a": {"handler": "h", "done": "x.*"}}, "effect_invalid", "/effects/a/done"),
        ({"a": {"handler": "h", "failed": "xstate.done"}}, "event_type_reserved", "/effects/a/failed"),
        ({"a": {"handler": "h", "timeout_ms": 0}}, "effect_invalid", "/effects/a/timeout_ms"),
        ({"a": {"handler": "h", "timeout_ms": True}}, "effect_invalid", "/effects/a/timeout_ms"),
        ({"a": {"handler": "h", "timeout_ms": 1.5}}, "effect_invalid", "/effects/a/timeout_ms"),
        ({"a": {"handler": "h", "cancel_on_exit": "yes"}}, "effect_invalid", "/effects/a/cancel_on_exit"),
        ({"a": {"handler": "h", "priority": 0}}, "effect_invalid", "/effects/a/priority"),
        ({"a": {"handler": "h", "priority": 5}}, "effect_invalid", "/effects/a/priority"),
        ({"a": {"handler": "h", "priority": "high"}}, "effect_invalid", "/effects/a/priority"),
        ({"a": {"handler": "h", "retry": {"jitter": 1.5}}}, "effect_invalid", "/effects/a/retry/jitter"),
        ({"a": {"handler": "h", "retry": {"jitter": -1}}}, "effect_invalid", "/effects/a/retry/jitter"),
        ({"a": {"handler": "h", "retry": {"jitter": True}}}, "effect_invalid", "/effects/a/retry/jitter"),
        ({"a": {"handler": "h", "retry": 3}}, "effect_invalid", "/effects/a/retry"),
        ({"a": {"handler": "h", "retry": {"attempts": 3}}}, "unknown_key", "/effects/a/retry/attempts"),
        (
            {"a": {"handler": "h", "retry": {"max_attempts": 0}}},
            "effect_invalid",
            "/effects/a/retry/max_attempts",
        ),
        (
            {"a": {"handler": "h", "retry": {"multiplier": 0.5}}},
            "effect_invalid",
            "/effects/a/retry/multiplier",
        ),
        (
            {"a": {"handler": "h", "retry": {"max_backoff_ms": 10}}},
            "effect_invalid",
            "/effects/a/retry/max_backoff_ms",
        ),
        (
            {"a": {"handler": "h", "retry": {"non_retryable": ["card declined"]}}},
            "effect_invalid",
            "/effects/a/retry/non_retryable",
        ),
    ],
)
def test_wrong_entry_is_a_finding_with_its_place(section: object, code: str, path: str) -> None:
    findings = parse(section)[1]
    assert [(finding.code, finding.path) for finding in findings] == [(code, path)]
    assert all(finding.severity == "error" for finding in findings)


def test_all_problems_of_an_entry_are_reported_at_once() -> None:
    entry = {
        "handler": "",
        "done": "",
        "timeout_ms": -1,
        "cancel_on_exit": 1,
        "retry": {"max_attempts": "x"},
        "k": 1,
    }
    specs, findings = parse({"a": entry})
    assert specs == {}
    assert len(findings) == 6


def test_unknown_handler_is_a_warning_with_a_suggestion() -> None:
    specs, findings = parse(
        {"a": {"handler": "llm.genrate"}, "b": {"handler": "llm.generate"}},
        handlers=frozenset({"llm.generate"}),
    )
    assert set(specs) == {"a", "b"}
    assert [(f.code, f.path, f.severity, f.hint) for f in findings] == [
        ("handler_unknown", "/effects/a/handler", "warning", "did you mean `llm.generate`?")
    ]
