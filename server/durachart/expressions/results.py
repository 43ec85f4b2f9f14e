"""From values inside an expression to JSON outside."""

from __future__ import annotations

from math import isfinite
from typing import Final

from durachart.expressions.budget import Budget
from durachart.expressions.embedding import MAX_VALUE_DEPTH
from durachart.expressions.errors import EvaluationError
from durachart.expressions.functions import to_string
from durachart.expressions.instants import format_duration, format_timestamp
from durachart.expressions.types import BECOMING, Type
from durachart.expressions.values import INT_MAX, BoolKey, Duration, Timestamp, UInt, Value, type_name

#: Charged for writing a timestamp or a duration.
_TEXT_UNITS: Final = 30

_PLAIN: Final = frozenset({int, str, bool, type(None)})


def finish(value: Value, budget: Budget) -> Value:
    """The JSON value a result stands for.

    Timestamps and durations become their text, uint an integer, keys that are no strings their text. What
    needs no change is not copied. Charged one unit per
    entry.

    Raises:
        EvaluationError: Part of it is bytes, a type, NaN, an infinity, or a uint over the largest int.
    """
    return value if type(value) in _PLAIN else _json(value, budget, 0)


def _json(value: Value, budget: Budget, depth: int) -> Value:
    kind = type(value)
    if kind is float:
        if isfinite(value):
            return value
        raise EvaluationError(f"the result is {value!r}, which JSON cannot hold")
    if kind is list:
        return _json_list(value, budget, depth)
    if kind is dict:
        return _json_map(value, budget, depth)
    if kind is Timestamp:
        budget.spend(_TEXT_UNITS)
        return format_timestamp(value)
    if kind is Duration:
        budget.spend(_TEXT_UNITS)
        return format_duration(value)
    if kind is UInt:
        if value <= INT_MAX:
            return int(value)
        # Outside it would be an integer, and those have 64 bits with a sign.
        raise EvaluationError(
            f"the result is {value}u, and {INT_MAX} is the largest integer that can be kept"
        )
    raise EvaluationError(f"the result is of type {type_name(value)}, which JSON cannot hold")


def _json_list(value: list[Value], budget: Budget, depth: int) -> Value:
    _enter(value, budget, depth)
    changed: list[Value] | None = None
    for position, item in enumerate(value):
        if type(item) not in _PLAIN:
            converted = _json(item, budget, depth + 1)
            if converted is not item:
                if changed is None:
                    changed = list(value)
                changed[position] = converted
    return value if changed is None else changed


def _json_map(value: dict[Value, Value], budget: Budget, depth: int) -> Value:
    _enter(value, budget, depth)
    changed = False
    result: dict[Value, Value] = {}
    for key, item in value.items():
        name = key if type(key) is str else to_string(key.value if type(key) is BoolKey else key, budget)
        converted = item if type(item) in _PLAIN else _json(item, budget, depth + 1)
        changed = changed or name is not key or converted is not item
        if name in result:
            raise EvaluationError(f"two keys of the resulting map are both `{name[:80]}` in JSON")
        result[name] = converted
    return result if changed else value


def _enter(value: list[Value] | dict[Value, Value], budget: Budget, depth: int) -> None:
    budget.spend(len(value) + 1)
    if depth > MAX_VALUE_DEPTH:
        raise EvaluationError(f"the result is nested more than {MAX_VALUE_DEPTH} levels deep")


def expect(value: Value, expected: Type) -> Value:
    """``value`` if it is of the type wanted here; checked for a result whose type was not known.

    Raises:
        EvaluationError: It is of another type.
    """
    kind = type_name(value)
    if expected.kind == "double" and kind in ("int", "uint"):
        return float(value)
    if kind in BECOMING.get(expected.kind, (expected.kind,)) or (value is None and expected.nullable):
        return value
    raise EvaluationError(f"the result is {kind}, but {expected} is wanted here")
