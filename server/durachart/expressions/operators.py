"""What the operators do: the complete rules, called where the generated code has no short cut.

Every function either returns or raises :class:`EvaluationError`. Those that take a budget charge it for
work that grows with their operands: strings and bytes above 31 characters, lists above 15 elements.

Source: the CEL specification, "Standard Definitions" and "Numeric Values".
"""

from __future__ import annotations

from math import inf, nan
from typing import Never

from durachart.expressions.budget import COPY_SHIFT, TEXT_SHIFT, Budget
from durachart.expressions.embedding import embed, embed_all
from durachart.expressions.equality import equals
from durachart.expressions.errors import EvaluationError
from durachart.expressions.instants import duration_of, timestamp_of
from durachart.expressions.values import (
    FALSE_KEY,
    INT_MAX,
    INT_MIN,
    TRUE_KEY,
    UINT_MAX,
    Duration,
    Timestamp,
    UInt,
    Value,
    type_name,
)

_NUMBERS = frozenset({int, float, UInt})
_ORDERED = frozenset({int, float, UInt, bool, str, bytes, Timestamp, Duration})


def no_overload(operator: str, left: Value, right: Value) -> Never:
    """Raise the error for operands that do not go together."""
    raise EvaluationError(f"`{operator}` cannot be applied to {type_name(left)} and {type_name(right)}")


def _int(value: int) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    raise EvaluationError("integer overflow: the result does not fit 64 bits")


def _uint(value: int) -> UInt:
    if 0 <= value <= UINT_MAX:
        return UInt(value)
    raise EvaluationError("unsigned integer overflow: the result is not from 0 to 2^64-1")


def add(left: Value, right: Value, budget: Budget) -> Value:
    """``left + right``."""
    kind = type(left)
    if kind is type(right):
        if kind is int:
            return _int(left + right)
        if kind is str or kind is bytes:
            length = len(left) + len(right)
            if length >> TEXT_SHIFT:
                budget.spend(length >> TEXT_SHIFT)
            return left + right
        if kind is list:
            length = len(left) + len(right)
            if length >> COPY_SHIFT:
                budget.spend(length >> COPY_SHIFT)
            embed_all(right, budget)
            return left + right
        if kind is float:
            return left + right
        if kind is UInt:
            return _uint(int(left) + int(right))
        if kind is Duration:
            return duration_of(left.nanoseconds + right.nanoseconds)
    if (kind is Timestamp and type(right) is Duration) or (kind is Duration and type(right) is Timestamp):
        return timestamp_of(left.nanoseconds + right.nanoseconds)
    no_overload("+", left, right)


def subtract(left: Value, right: Value) -> Value:
    """``left - right``."""
    kind = type(left)
    if kind is type(right):
        if kind is int:
            return _int(left - right)
        if kind is float:
            return left - right
        if kind is UInt:
            return _uint(int(left) - int(right))
        if kind is Duration or kind is Timestamp:
            return duration_of(left.nanoseconds - right.nanoseconds)
    if kind is Timestamp and type(right) is Duration:
        return timestamp_of(left.nanoseconds - right.nanoseconds)
    no_overload("-", left, right)


def multiply(left: Value, right: Value) -> Value:
    """``left * right``."""
    kind = type(left)
    if kind is type(right):
        if kind is int:
            return _int(left * right)
        if kind is float:
            return left * right
        if kind is UInt:
            return _uint(int(left) * int(right))
    no_overload("*", left, right)


def divide(left: Value, right: Value) -> Value:
    """``left / right``; integers towards zero."""
    kind = type(left)
    if kind is type(right):
        if kind is float:
            if right:
                return left / right
            if not left or left != left:
                return nan
            # The sign of a zero counts: 1.0 / -0.0 is negative.
            return inf if (left > 0) == (str(right)[0] != "-") else -inf
        if kind is int or kind is UInt:
            if not right:
                raise EvaluationError("division by zero")
            if kind is UInt:
                return UInt(int(left) // int(right))
            quotient = abs(left) // abs(right)
            return _int(quotient if (left < 0) == (right < 0) else -quotient)
    no_overload("/", left, right)


def remainder(left: Value, right: Value) -> Value:
    """``left % right``, with the sign of ``left``."""
    kind = type(left)
    if kind is type(right) and (kind is int or kind is UInt):
        if not right:
            raise EvaluationError("modulus by zero")
        if kind is UInt:
            return UInt(int(left) % int(right))
        if left == INT_MIN and right == -1:
            raise EvaluationError("integer overflow: the result does not fit 64 bits")
        rest = abs(left) % abs(right)
        return -rest if left < 0 else rest
    no_overload("%", left, right)


def negate(value: Value) -> Value:
    """``-value``."""
    if type(value) is int:
        return _int(-value)
    if type(value) is float:
        return -value
    raise EvaluationError(f"`-` cannot be applied to {type_name(value)}")


def invert(value: Value) -> bool:
    """``!value``."""
    if value is True:
        return False
    if value is False:
        return True
    raise EvaluationError(f"`!` cannot be applied to {type_name(value)}")


def truth(value: Value) -> bool:
    """``value`` itself where a bool is wanted: there is no truthiness."""
    if value is True or value is False:
        return bool(value)
    raise EvaluationError(f"a bool is wanted, not {type_name(value)}")


def _comparable(operator: str, left: Value, right: Value, budget: Budget) -> None:
    kind, other = type(left), type(right)
    if kind is other and kind in _ORDERED:
        if kind is str or kind is bytes:
            length = min(len(left), len(right))
            if length >> TEXT_SHIFT:
                budget.spend(length >> TEXT_SHIFT)
        return
    if kind not in _NUMBERS or other not in _NUMBERS:
        no_overload(operator, left, right)


def less(left: Value, right: Value, budget: Budget) -> bool:
    """``left < right``; int, uint and double compare as numbers."""
    _comparable("<", left, right, budget)
    if type(left) is Timestamp or type(left) is Duration:
        return bool(left.nanoseconds < right.nanoseconds)
    return bool(left < right)


def less_or_equal(left: Value, right: Value, budget: Budget) -> bool:
    """``left <= right``."""
    _comparable("<=", left, right, budget)
    if type(left) is Timestamp or type(left) is Duration:
        return bool(left.nanoseconds <= right.nanoseconds)
    return bool(left <= right)


def greater(left: Value, right: Value, budget: Budget) -> bool:
    """``left > right``."""
    _comparable(">", left, right, budget)
    if type(left) is Timestamp or type(left) is Duration:
        return bool(left.nanoseconds > right.nanoseconds)
    return bool(left > right)


def greater_or_equal(left: Value, right: Value, budget: Budget) -> bool:
    """``left >= right``."""
    _comparable(">=", left, right, budget)
    if type(left) is Timestamp or type(left) is Duration:
        return bool(left.nanoseconds >= right.nanoseconds)
    return bool(left >= right)


def contained(value: Value, container: Value, budget: Budget) -> bool:
    """``value in container``: an element of a list, a key of a map."""
    if type(container) is list:
        kind = type(value)
        if kind is str or (kind is int and value not in (0, 1)):
            # Python's comparison is CEL's here: no bool equals these. Long strings take longer to compare.
            length = len(value) >> 8 if kind is str else 0
            budget.spend((len(container) >> 2) + len(container) * length)
            return value in container
        budget.spend(3 * len(container))
        return any(equals(value, element, budget) for element in container)
    if type(container) is dict:
        return map_key(value, lookup=True) in container
    no_overload("in", value, container)


def map_key(value: Value, *, lookup: bool) -> Value:
    """The dict key for a CEL map key.

    With ``lookup``, a double as well: one that is an integer finds it, any other is simply not there.
    """
    kind = type(value)
    if kind is str or kind is int or kind is UInt:
        return value
    if kind is bool:
        return TRUE_KEY if value else FALSE_KEY
    if kind is float and lookup:
        return value
    raise EvaluationError(f"{type_name(value)} cannot be a map's key")


def index(container: Value, key: Value) -> Value:
    """``container[key]``."""
    if type(container) is dict:
        found = map_key(key, lookup=True)
        if found not in container:
            raise EvaluationError(f"no such key: {_shown(key)}")
        return container[found]
    if type(container) is list:
        position = key
        if type(key) is float and key == key and abs(key) != inf and key == int(key):
            position = int(key)
        if type(position) is not int and type(position) is not UInt:
            raise EvaluationError(f"a list is indexed by int, not by {type_name(key)}")
        if not 0 <= position < len(container):
            raise EvaluationError(f"index out of range: {position} in a list of {len(container)}")
        return container[position]
    raise EvaluationError(f"{type_name(container)} cannot be indexed")


def select(container: Value, field: str) -> Value:
    """``container.field``."""
    if type(container) is dict:
        if field in container:
            return container[field]
        raise EvaluationError(f"no such key: `{field}`")
    raise EvaluationError(f"{type_name(container)} has no fields, so `{field}` cannot be selected")


def has(container: Value, field: str) -> bool:
    """``has(container.field)``."""
    if type(container) is dict:
        return field in container
    raise EvaluationError(f"{type_name(container)} has no fields, so `{field}` cannot be selected")


def build_map(entries: list[tuple[Value, Value]], budget: Budget) -> dict[Value, Value]:
    """A map literal."""
    result: dict[Value, Value] = {}
    for given, value in entries:
        key = map_key(given, lookup=False)
        if key in result:
            raise EvaluationError(f"the map has the key {_shown(given)} twice")
        result[key] = embed(value, budget)
    return result


def read_double(value: Value) -> Value:
    """A field that a schema declares ``number``: JSON's 5 is 5.0 there."""
    return float(value) if type(value) is int else value


def opaque(value: Value) -> Value:
    """The value itself, where the generated source must not show Python a literal it would warn of."""
    return value


def size(value: Value) -> int:
    """``size(value)``: code points, bytes, elements or entries."""
    kind = type(value)
    if kind is str or kind is list or kind is dict or kind is bytes:
        return len(value)
    raise EvaluationError(f"{type_name(value)} has no size")


def _shown(key: Value) -> str:
    return f"`{key[:80]}`" if type(key) is str else repr(key)[:80]
