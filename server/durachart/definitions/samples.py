"""A value that fits a schema, for trying a machine out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from durachart.definitions.schemas import Validator

_MAX_DEPTH = 16
_EMPTY: Mapping[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False, "null": None}


def samples(validator: Validator) -> Iterator[Any]:
    """Values that fit the schema: its ``examples`` and ``default``, else the smallest that could be made.

    Nothing when no value could be found; in the order of trust.
    """
    schema = validator.schema
    if isinstance(schema, bool):
        candidates: list[Any] = [{}] if schema else []
    else:
        examples = schema.get("examples")
        candidates = list(examples) if isinstance(examples, list) else []
        if "default" in schema:
            candidates.append(schema["default"])
        if not candidates:
            candidates.append(_smallest(schema, 0))
    for candidate in candidates:
        if not validator.violations(candidate):
            yield candidate


def _smallest(schema: object, depth: int) -> Any:
    """The least a simple schema asks for; a guess where a schema is not simple."""
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return {}
    for key in ("default", "const"):
        if key in schema:
            return schema[key]
    for key in ("examples", "enum"):
        values = schema.get(key)
        if isinstance(values, list) and values:
            return values[0]
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = "null" if "null" in kind else next(iter(kind), "object")
    if kind in ("integer", "number"):
        minimum = schema.get("minimum", 0)
        return minimum if isinstance(minimum, int | float) else 0
    if kind == "string":
        length = schema.get("minLength", 0)
        return "x" * min(length, 1_000) if isinstance(length, int) else ""
    if kind == "array":
        count = schema.get("minItems", 0)
        return [_smallest(schema.get("items"), depth + 1)] * (
            min(count, 100) if isinstance(count, int) else 0
        )
    if kind in _EMPTY:
        return _EMPTY[kind]
    declared = schema.get("properties")
    properties = declared if isinstance(declared, Mapping) else {}
    required = schema.get("required")
    names = required if isinstance(required, list) else []
    return {name: _smallest(properties.get(name), depth + 1) for name in names if isinstance(name, str)}
