"""CEL's equality: by value, numbers across their types, everything else only with its own kind."""

from __future__ import annotations

from typing import Final

from durachart.expressions.budget import TEXT_SHIFT, Budget
from durachart.expressions.values import UInt, Value

_NUMBERS: Final = frozenset({int, float, UInt})


def equals(left: Value, right: Value, budget: Budget) -> bool:
    """``left == right``; never an error.

    ``1 == 1.0``, ``1 != true``, NaN equals nothing. Lists and maps compare by content, however deep
    they are, without recursion.

    Args:
        left: Any value.
        right: Any value.
        budget: Charged four units per pair of list or map entries, and for long strings.

    Raises:
        BudgetExceeded: Only this.
    """
    kind = type(left)
    if kind is type(right):
        if kind is str or kind is bytes:
            if len(left) != len(right):
                return False
            if len(left) >> TEXT_SHIFT:
                budget.spend(len(left) >> TEXT_SHIFT)
            return bool(left == right)
        if kind is list or kind is dict:
            return _same_content(left, right, budget)
        return bool(left == right)
    return kind in _NUMBERS and type(right) in _NUMBERS and bool(left == right)


def differs(left: Value, right: Value, budget: Budget) -> bool:
    """``left != right``."""
    return not equals(left, right, budget)


def _same_content(left: Value, right: Value, budget: Budget) -> bool:
    pending: list[tuple[Value, Value]] = [(left, right)]
    while pending:
        first, second = pending.pop()
        kind = type(first)
        if kind is not type(second) or (kind is not list and kind is not dict):
            if not equals(first, second, budget):
                return False
            continue
        if len(first) != len(second):
            return False
        budget.spend(4 * len(first) + 4)
        if kind is list:
            pending.extend(zip(first, second, strict=True))
            continue
        for key, value in first.items():
            if key not in second:
                return False
            pending.append((value, second[key]))
    return True
