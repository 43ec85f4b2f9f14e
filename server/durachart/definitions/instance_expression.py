"""Questions about instances as they are, written in CEL: ``context.total > 100.0 && 'paid' in tags``.

They are asked of many instances of several machines, so nothing is known of ``context`` and ``value``; what
does not fit an instance is not true of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from durachart.expressions import Budget, CompileError, EvaluationError, Scope, Type, compile_expression

MAX_UNITS: Final = 100_000
"""What asking one instance may cost, in units of `durachart.expressions.Budget`."""

_SCOPE: Final = Scope(
    {
        "context": Type.DYN,
        "value": Type.DYN,
        "tags": Type.list_of(Type.STRING),
        "labels": Type.map_of(Type.STRING, Type.STRING),
        "status": Type.STRING,
        "version": Type.INT,
    }
)


class ExpressionInvalid(ValueError):
    """The text is no question that can be asked of instances; says why, with line and column."""


class Answer(NamedTuple):
    """What came of asking an instance.

    Attributes:
        is_true: Whether the expression is true of it. What fails, or costs too much, is not.
        units: What it cost, in units of work.
    """

    is_true: bool
    units: int


class InstanceExpression:
    """A compiled question."""

    def __init__(self, text: str) -> None:
        """Compile CEL.

        Args:
            text: Over ``context``, ``value``, ``tags``, ``labels``, ``status`` and ``version``; gives a bool.

        Raises:
            ExpressionInvalid: It is none.
        """
        try:
            self._expression = compile_expression(text, scope=_SCOPE, expected=Type.BOOL)
        except CompileError as error:
            raise ExpressionInvalid(str(error)) from error

    @property
    def reads_tags(self) -> bool:
        """Whether the answer may depend on the tags."""
        return any(path.partition(".")[0] == "tags" for path in self._expression.references)

    def ask(self, context: Mapping[str, Any], facts: Mapping[str, Any]) -> Answer:
        """Ask one instance.

        Args:
            context: Its context.
            facts: The other variables by name.
        """
        budget = Budget(MAX_UNITS)
        try:
            found = self._expression.evaluate(context, facts, None, 0, budget)
        except EvaluationError:
            found = False
        return Answer(found is True, MAX_UNITS - max(budget.remaining, 0))
