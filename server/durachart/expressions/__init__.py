"""CEL: compiled once to a Python function, bounded, deterministic."""

from durachart.expressions.budget import Budget
from durachart.expressions.errors import BudgetExceeded, CompileError, EvaluationError
from durachart.expressions.expression import Expression, compile_expression
from durachart.expressions.scope import Scope
from durachart.expressions.types import Type

__all__ = [
    "Budget",
    "BudgetExceeded",
    "CompileError",
    "EvaluationError",
    "Expression",
    "Scope",
    "Type",
    "compile_expression",
]
