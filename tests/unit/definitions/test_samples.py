"""Inputs made up from a schema fit it, and none is offered that does not."""

from __future__ import annotations

from typing import Any

import pytest

from durachart.definitions.samples import samples
from durachart.definitions.schemas import Validator


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (True, [{}]),
        (False, []),
        ({}, [{}]),
        ({"type": "string"}, [""]),
        ({"type": "string", "minLength": 3}, ["xxx"]),
        ({"type": "string", "pattern": "^[0-9]+$"}, []),
        ({"type": "integer", "minimum": 7}, [7]),
        ({"type": "number"}, [0]),
        ({"type": "boolean"}, [False]),
        ({"type": ["object", "null"]}, [None]),
        ({"type": ["integer", "string"]}, [0]),
        ({"type": "array"}, [[]]),
        ({"type": "array", "minItems": 2, "items": {"enum": ["a", "b"]}}, [["a", "a"]]),
        ({"const": 5}, [5]),
        ({"type": "object", "required": ["a"]}, [{"a": {}}]),
        (
            {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}, "b": {}}},
            [{"a": ""}],
        ),
        ({"type": "object", "properties": {"a": {"default": 1}}, "required": ["a"]}, [{"a": 1}]),
        ({"default": {"n": 1}}, [{"n": 1}]),
        ({"type": "integer", "examples": [1, "two", 3], "default": 4}, [1, 3, 4]),
    ],
)
def test_samples_fit_their_schema(schema: Any, expected: list[Any]) -> None:
    validator = Validator(schema)
    found = list(samples(validator))
    assert found == expected
    assert all(validator.violations(value) == [] for value in found)


def test_required_keys_are_made_up_at_every_level() -> None:
    schema = {
        "type": "object",
        "required": ["next"],
        "properties": {"next": {"type": "object", "required": ["n"], "properties": {"n": {"type": "null"}}}},
    }
    assert list(samples(Validator(schema))) == [{"next": {"n": None}}]
