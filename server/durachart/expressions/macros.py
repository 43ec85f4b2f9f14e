"""The loops: all, exists, exists_one, filter, map.

A loop charges its whole source before it begins: ``cost`` units for each element, the number of
nodes in its body. Predicates return bools and nothing else, which the generated code sees to. The
``decided`` forms of all and exists let a decisive element outweigh errors of others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, TypeAlias

from durachart.expressions.budget import Budget
from durachart.expressions.embedding import embed_all
from durachart.expressions.errors import BudgetExceeded, EvaluationError
from durachart.expressions.values import BoolKey, Value, type_name

#: Charged for an error that does not end the evaluation.
_ERROR_UNITS: Final = 80

Predicate: TypeAlias = Callable[[Any], bool]
Transform: TypeAlias = Callable[[Any], Value]


def _elements(source: Value, cost: int, budget: Budget) -> list[Value]:
    if type(source) is list:
        budget.spend(len(source) * cost + 1)
        return source
    if type(source) is dict:
        budget.spend(len(source) * cost + 1)
        return [key.value if type(key) is BoolKey else key for key in source]
    raise EvaluationError(f"a loop goes over a list or a map, not over {type_name(source)}")


def all_of(source: Value, predicate: Predicate, cost: int, budget: Budget) -> bool:
    """``source.all(x, predicate)``; an error of the predicate goes through."""
    return all(map(predicate, _elements(source, cost, budget)))


def any_of(source: Value, predicate: Predicate, cost: int, budget: Budget) -> bool:
    """``source.exists(x, predicate)``; an error of the predicate goes through."""
    return any(map(predicate, _elements(source, cost, budget)))


def one_of(source: Value, predicate: Predicate, cost: int, budget: Budget) -> bool:
    """``source.exists_one(x, predicate)``: every element is asked."""
    return sum(map(predicate, _elements(source, cost, budget))) == 1


def filtered(source: Value, predicate: Predicate, cost: int, budget: Budget) -> list[Value]:
    """``source.filter(x, predicate)``."""
    return list(filter(predicate, _elements(source, cost, budget)))


def mapped(source: Value, transform: Transform, cost: int, budget: Budget) -> list[Value]:
    """``source.map(x, transform)``."""
    return embed_all(list(map(transform, _elements(source, cost, budget))), budget)


def filtered_mapped(
    source: Value, predicate: Predicate, transform: Transform, cost: int, budget: Budget
) -> list[Value]:
    """``source.map(x, predicate, transform)``."""
    elements = _elements(source, cost, budget)
    return embed_all([transform(element) for element in elements if predicate(element)], budget)


def decide(terms: Iterable[Callable[[], bool]], decisive: bool, budget: Budget) -> bool:
    """``&&`` (decisive False) and ``||`` (decisive True) by the book.

    A decisive term settles it, whatever errors the others have; else the first error is raised. Errors are
    slow, hence charged.
    """
    failure: EvaluationError | None = None
    for term in terms:
        try:
            if term() is decisive:
                return decisive
        except BudgetExceeded:
            raise
        except EvaluationError as error:
            failure = failure or error
            budget.spend(_ERROR_UNITS)
    if failure is not None:
        raise failure
    return not decisive


def all_decided(source: Value, predicate: Predicate, cost: int, budget: Budget) -> bool:
    """``all`` by the book: one False settles it."""
    return decide((partial(predicate, element) for element in _elements(source, cost, budget)), False, budget)


def any_decided(source: Value, predicate: Predicate, cost: int, budget: Budget) -> bool:
    """``exists`` by the book: one True settles it."""
    return decide((partial(predicate, element) for element in _elements(source, cost, budget)), True, budget)
