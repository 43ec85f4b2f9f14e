"""The cost budget that the expressions of one macrostep share."""

from __future__ import annotations

from typing import Final

from durachart.expressions.errors import BudgetExceeded

#: Units in a budget unless told otherwise; see :class:`Budget` for what a unit is.
DEFAULT_LIMIT_UNITS: Final = 100_000

#: Strings and bytes: one unit per this many characters built, compared or searched (as a shift).
TEXT_SHIFT: Final = 5

#: Lists: one unit per this many elements copied (as a shift).
COPY_SHIFT: Final = 4


class Budget:
    """Units of work left to the expressions of one macrostep.

    A unit is about one node of an expression evaluated once (50 ns on the machine it was calibrated
    on), or 128 bytes built. What is charged depends on the expression and its inputs only, never on a
    clock or a cache, so a replay spends the same. An expression whose worst case is a small constant
    charges nothing.

    Attributes:
        limit: Units at the start, at least 0.
        remaining: Units left; negative once the budget is exceeded.
    """

    __slots__ = ("limit", "remaining")

    def __init__(self, limit_units: int = DEFAULT_LIMIT_UNITS) -> None:
        if limit_units < 0:
            raise ValueError("a budget's limit_units must not be negative")
        self.limit = limit_units
        self.remaining = limit_units

    def spend(self, units: int) -> None:
        """Take ``units`` (at least 0) off the budget.

        Raises:
            BudgetExceeded: Less than that was left. The budget stays exceeded.
        """
        self.remaining = remaining = self.remaining - units
        if remaining < 0:
            raise BudgetExceeded(
                f"expressions cost more than the macrostep's budget of {self.limit} units; "
                "loop over less data, or raise the budget in the settings"
            )
