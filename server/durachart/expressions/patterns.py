"""Regular expressions, matched by RE2 in time linear in the text."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import re2

from durachart.expressions.budget import Budget
from durachart.expressions.errors import EvaluationError
from durachart.expressions.values import Value, type_name

#: Characters a pattern may have.
MAX_PATTERN: Final = 1_000

#: Memory RE2 may use for one pattern, program and automata together.
_PATTERN_MEMORY_BYTES: Final = 1 << 20

#: Charged for a pattern that is data, whether or not it was met before: caches must not show.
_PATTERN_UNITS: Final = 400


class Pattern:
    """A compiled regular expression and what it costs to use."""

    __slots__ = ("_search", "units")

    def __init__(self, text: str) -> None:
        options = re2.Options()
        options.max_mem = _PATTERN_MEMORY_BYTES
        options.log_errors = False
        try:
            compiled: Any = re2.compile(text, options)
        except re2.error as error:
            reason = error.args[0] if error.args else "unknown"
            if isinstance(reason, bytes):
                reason = reason.decode("utf-8", "replace")
            raise EvaluationError(f"`{text[:80]}` is not a regular expression of RE2: {reason}") from None
        self._search = compiled.search
        # Per 32 characters of text. An automaton steps once a character; past its memory RE2 follows every
        # state of the program, hence the second term.
        self.units = 8 + compiled.programsize // 8

    def found_in(self, text: str, budget: Budget) -> bool:
        """Whether any part of ``text`` matches."""
        budget.spend(20 + ((len(text) * self.units) >> 5))
        return self._search(text) is not None


@lru_cache(maxsize=32)
def _cached(text: str) -> Pattern:
    return Pattern(text)


def literal_pattern(text: str) -> Pattern:
    """The pattern of a literal, for the expression to keep.

    Raises:
        EvaluationError: RE2 does not take it.
    """
    if len(text) > MAX_PATTERN:
        raise EvaluationError(f"the regular expression is longer than {MAX_PATTERN} characters")
    return Pattern(text)


def matches(value: Value, pattern: Value, budget: Budget) -> bool:
    """``value.matches(pattern)`` where the pattern is data."""
    if type(value) is not str or type(pattern) is not str:
        raise EvaluationError(f"`matches` cannot be called with {type_name(value)} and {type_name(pattern)}")
    if len(pattern) > MAX_PATTERN:
        raise EvaluationError(f"the regular expression is longer than {MAX_PATTERN} characters")
    budget.spend(_PATTERN_UNITS + len(pattern))
    return _cached(pattern).found_in(value, budget)


def matches_literal(value: Value, pattern: Pattern, budget: Budget) -> bool:
    """``value.matches("…")``."""
    if type(value) is not str:
        raise EvaluationError(f"`matches` cannot be called with {type_name(value)} and string")
    return pattern.found_in(value, budget)
