"""The weight of values put into new lists and maps.

A list or map literal shares what it is built from, so a few dozen nested literals could stand for more data
than any machine holds: ``[x, x]`` of ``[x, x]`` of …. Therefore whatever is put into a new list or
map is charged as if it were copied: two units per entry, long strings by their length. With that, no
value is larger, written out, than the largest value read plus 128 bytes per unit spent.
"""

from __future__ import annotations

from typing import Final

from durachart.expressions.budget import TEXT_SHIFT, Budget
from durachart.expressions.errors import EvaluationError
from durachart.expressions.values import Value

#: Levels a value may have that is put into a list or map; JSON encoders stop soon after.
MAX_VALUE_DEPTH: Final = 128

_WEIGHTY: Final = frozenset({str, bytes, list, dict})


def embed(value: Value, budget: Budget) -> Value:
    """Charge for ``value`` becoming part of a list or map, and return it.

    Raises:
        BudgetExceeded: It weighs more than is left.
        EvaluationError: It is nested deeper than :data:`MAX_VALUE_DEPTH`.
    """
    kind = type(value)
    if kind is str or kind is bytes:
        if len(value) >> TEXT_SHIFT:
            budget.spend(len(value) >> TEXT_SHIFT)
    elif kind is list or kind is dict:
        _weigh(value, budget)
    return value


def embed_all(values: list[Value], budget: Budget) -> list[Value]:
    """:func:`embed` each of ``values``; returns the same list."""
    for value in values:
        if type(value) in _WEIGHTY:
            embed(value, budget)
    return values


def _weigh(value: Value, budget: Budget) -> None:
    """Level by level, so that depth needs no stack; charged before anything is gathered."""
    level = [value]
    for _ in range(MAX_VALUE_DEPTH):
        below: list[Value] = []
        for parent in level:
            budget.spend(2 * len(parent) + 3)
            if type(parent) is dict:
                below.extend(parent)
                below.extend(parent.values())
            else:
                below.extend(parent)
        level = []
        for child in below:
            kind = type(child)
            if kind is list or kind is dict:
                level.append(child)
            elif (kind is str or kind is bytes) and len(child) >> TEXT_SHIFT:
                budget.spend(len(child) >> TEXT_SHIFT)
        if not level:
            return
    raise EvaluationError(
        f"a value nested more than {MAX_VALUE_DEPTH} levels deep cannot be put into another"
    )
