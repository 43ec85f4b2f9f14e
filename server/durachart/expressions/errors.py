"""What can go wrong with an expression, and where."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """A place in an expression's text: ``line`` and ``column`` count from 1, ``column`` in characters."""

    line: int
    column: int


def position_of(text: str, offset: int) -> Position:
    """Turn a character offset (0-based, at most ``len(text)``) into a position."""
    before = text.rfind("\n", 0, offset)
    return Position(text.count("\n", 0, offset) + 1, offset - before)


class CompileError(ValueError):
    """The text is not an expression this scope can run.

    Attributes:
        message: One sentence without the place.
        line: Line of the problem, from 1.
        column: Column of the problem in characters, from 1.
        hint: What to do about it, or None.
        text: The expression as given, cut to 200 characters.
    """

    def __init__(self, message: str, text: str, offset: int, hint: str | None = None) -> None:
        place = position_of(text, offset)
        self.message = message
        self.line = place.line
        self.column = place.column
        self.hint = hint
        self.text = text[:200]
        tail = f" ({hint})" if hint else ""
        super().__init__(f"line {self.line}, column {self.column}: {message}{tail}")


class ExpressionTooLarge(CompileError):
    """The text is longer, has more parts, or is nested deeper than an expression may be."""


class EvaluationError(Exception):
    """The expression has no value for these inputs.

    Attributes:
        message: One sentence without the place.
        line: Line of the failing part, from 1; 0 until it is known.
        column: Column of the failing part in characters, from 1; 0 until it is known.
        text: The expression's text, empty until it is known.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.line = 0
        self.column = 0
        self.text = ""

    def locate(self, text: str, offset: int) -> None:
        """Say which part of ``text`` failed; called once, by the evaluation that failed."""
        place = position_of(text, offset)
        self.line, self.column, self.text = place.line, place.column, text

    def __str__(self) -> str:
        if not self.line:
            return self.message
        return f"{self.message} (line {self.line}, column {self.column})"


class BudgetExceeded(EvaluationError):
    """The macrostep's expressions cost more than its budget; never absorbed by ``&&`` or ``||``."""
