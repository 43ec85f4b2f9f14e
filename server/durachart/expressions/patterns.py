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

#: Memory RE2 may use for one pattern, program and automata together: for one that is written in an
#: expression, and for one that is data.
_LITERAL_MEMORY_BYTES: Final = 1 << 20
_DATA_MEMORY_BYTES: Final = 1 << 18

#: Charged for a pattern that is data, whether or not it was met before (caches must not show): as much as
#: compiling the shortest, and for each instruction of its program.
_COMPILE_UNITS: Final = 400
_INSTRUCTION_UNITS: Final = 8

#: Charged for a search: apart from the text, and for each character and instruction (as a shift).
_SEARCH_UNITS: Final = 20
_SEARCH_SHIFT: Final = 3


class Pattern:
    """A compiled regular expression and what it costs to use."""

    __slots__ = ("_search", "instructions")

    def __init__(self, text: str, memory_bytes: int) -> None:
        if len(text) > MAX_PATTERN:
            raise EvaluationError(f"the regular expression is longer than {MAX_PATTERN} characters")
        options = re2.Options()
        options.max_mem = memory_bytes
        options.never_capture = True
        options.log_errors = False
        try:
            compiled: Any = re2.compile(text, options)
        except re2.error as error:
            raise EvaluationError(f"`{text[:80]}` is not a regular expression of RE2: {error}") from None
        self._search = compiled.search
        self.instructions = int(compiled.programsize)

    def found_in(self, text: str, budget: Budget) -> bool:
        """Whether any part of ``text`` matches."""
        # RE2 steps an automaton once a character; where that grows past its memory, it follows every
        # instruction of the program instead, each in 4 to 6 ns. Which of them will be is not known before,
        # so what is charged is the latter, at an eighth of a unit.
        budget.spend(_SEARCH_UNITS + ((len(text) * (8 + self.instructions)) >> _SEARCH_SHIFT))
        return self._search(text) is not None


@lru_cache(maxsize=32)
def _kept(text: str) -> Pattern:
    return Pattern(text, _DATA_MEMORY_BYTES)


def literal_pattern(text: str) -> Pattern:
    """The pattern of a literal, for the expression to keep.

    Raises:
        EvaluationError: RE2 does not take it.
    """
    return Pattern(text, _LITERAL_MEMORY_BYTES)


def matches(value: Value, pattern: Value, budget: Budget) -> bool:
    """``value.matches(pattern)`` where the pattern is data."""
    if type(value) is not str or type(pattern) is not str:
        raise EvaluationError(f"`matches` cannot be called with {type_name(value)} and {type_name(pattern)}")
    budget.spend(_COMPILE_UNITS + min(len(pattern), MAX_PATTERN))
    kept = _kept(pattern)
    budget.spend(_INSTRUCTION_UNITS * kept.instructions)
    return kept.found_in(value, budget)


def matches_literal(value: Value, pattern: Pattern, budget: Budget) -> bool:
    """``value.matches("…")``."""
    if type(value) is not str:
        raise EvaluationError(f"`matches` cannot be called with {type_name(value)} and string")
    return pattern.found_in(value, budget)
