"""From text to a function, and what happens when that function cannot give a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from durachart.expressions import (
    embedding,
    equality,
    functions,
    instants,
    macros,
    operators,
    patterns,
    results,
)
from durachart.expressions.budget import Budget
from durachart.expressions.checker import Checked, check
from durachart.expressions.codegen import MARK, MARK_END, Generator, LiteralError
from durachart.expressions.costs import cost_of
from durachart.expressions.errors import BudgetExceeded, CompileError, EvaluationError, ExpressionTooLarge
from durachart.expressions.fastpath import FastGenerator
from durachart.expressions.parser import MAX_DEPTH, parse
from durachart.expressions.scope import Scope
from durachart.expressions.types import Type
from durachart.expressions.values import Value

#: ``evaluate(context, event, params, now_ms, budget)``, all positional.
Evaluate: TypeAlias = Callable[
    [Mapping[str, Any], Mapping[str, Any], Mapping[str, Any] | None, int, Budget], Any
]

_FILENAME: Final = "<expression>"

#: Static cost up to which an expression charges nothing for being evaluated.
_FREE_UNITS: Final = 256

#: Expressions a scope keeps, the oldest giving way, and how long a text may be to be kept: some 10 MB.
_KEPT: Final = 4096
_KEPT_TEXT: Final = 512


#: Everything the generated source can name besides its own constants.
_HELPERS: Final[dict[str, Any]] = {
    helper.__name__: helper
    for helper in (
        *(bool, dict, float, int, len, list, str, type),
        *(Exception, BudgetExceeded),
        *(embedding.embed, embedding.embed_all, equality.equals, equality.differs),
        *(functions.contains, functions.starts_with, functions.ends_with),
        *(functions.to_int, functions.to_uint, functions.to_double, functions.to_string, functions.to_bool),
        *(functions.to_bytes, functions.to_timestamp, functions.to_duration, functions.to_type),
        *(functions.calendar_field, instants.instant_of_ms),
        *(
            macros.all_of,
            macros.any_of,
            macros.one_of,
            macros.filtered,
            macros.mapped,
            macros.filtered_mapped,
        ),
        *(macros.decide, macros.all_decided, macros.any_decided),
        *(operators.add, operators.subtract, operators.multiply, operators.divide, operators.remainder),
        *(operators.negate, operators.invert, operators.truth, operators.contained),
        *(operators.less, operators.less_or_equal, operators.greater, operators.greater_or_equal),
        *(operators.index, operators.select, operators.has, operators.build_map),
        *(operators.read_double, operators.size, operators.opaque),
        *(patterns.matches, patterns.matches_literal),
        *(results.finish, results.expect),
    )
}


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression.

    Attributes:
        text: What it was compiled from.
        evaluate: ``evaluate(context, event, params, now_ms, budget)`` gives the value as JSON data. A plain
            function, called positionally. ``context`` and ``event`` are dicts of JSON data, ``params`` one
            or None (then empty), ``now_ms`` milliseconds since the epoch, ``budget`` shared by the
            macrostep. Never changes its arguments; the result may share structure with them, so
            data must be treated as immutable by everyone. Raises EvaluationError, or
            BudgetExceeded, which is one.
        reads_event_payload: Whether the value may depend on the event beyond ``event.type``.
        references: Paths read, sorted: ``context.items``, ``event.amount``; ``input`` is ``event.input``.
            A path ends at the first index that is not a literal name.
        result_type: Static type of the value before it becomes JSON.
    """

    text: str
    evaluate: Evaluate = field(compare=False)
    reads_event_payload: bool
    references: tuple[str, ...]
    result_type: Type = field(compare=False)


def compile_expression(
    text: str, *, scope: Scope = Scope.DEFAULT, expected: Type | None = None
) -> Expression:
    """Compile CEL to a Python function.

    Args:
        text: The expression, at most 65,536 characters, 10,000 nodes and 64 levels of nesting.
        scope: Variables it may use, and their types.
        expected: Type the value must have as JSON (an int fits a double, a timestamp a string). Checked
            now where the static type is known, of its kind alone whenever the expression runs. None:
            anything JSON can hold.

    Returns:
        The expression. The same text, scope object and expected type may give the same object.

    Raises:
        CompileError: With line, column and, where there is one, a hint.
    """
    if len(text) > _KEPT_TEXT:
        return _compile(text, scope, expected)
    key = (text, expected)
    expression = scope.kept.get(key)
    if expression is None:
        expression = _compile(text, scope, expected)
        if len(scope.kept) >= _KEPT:
            # Several threads may do this at once: each step is atomic, and removing too many does no harm.
            for oldest in list(scope.kept)[: _KEPT // 8]:
                scope.kept.pop(oldest, None)
        scope.kept[key] = expression
    return expression


def _compile(text: str, scope: Scope, expected: Type | None) -> Expression:
    try:
        checked = check(parse(text), text, scope, expected)
        evaluate = _short_cut(text, checked, scope, expected)
    except LiteralError as problem:
        raise CompileError(problem.message, text, problem.offset) from None
    except (RecursionError, MemoryError):
        # The bounds keep every expression far from this, unless the caller's own stack is nearly full.
        raise ExpressionTooLarge(
            f"the expression is nested too deeply (the limit is {MAX_DEPTH} levels)", text, 0
        ) from None
    return Expression(
        text=text,
        evaluate=evaluate,
        reads_event_payload=checked.reads_event_payload,
        references=tuple(sorted(checked.references)),
        result_type=checked.root.type,
    )


def _short_cut(text: str, checked: Checked, scope: Scope, expected: Type | None) -> Evaluate:
    generator = FastGenerator()
    body = generator.result(checked.root, expected)
    head = ["def evaluate(context, event, params, now_ms, budget):"]
    cost = cost_of(checked.root)
    if cost > _FREE_UNITS:
        head.append(f" budget.spend({cost})")
    if any(name == "params" or name.startswith("params.") for name in checked.references):
        head.append(" if params is None: params = {}")
    last = " return by_the_book(context, event, params, now_ms, budget)"
    attempt = [" try:", f"  return {body}", " except BudgetExceeded: raise", " except Exception: pass"]
    names = {**generator.constants, "by_the_book": _ByTheBook(text, scope, expected), "expected": expected}
    try:
        return _function([*head, *attempt, last], names)
    except SyntaxError:
        # Python reads 200 brackets inside one another; near the depth limit short cuts can need more.
        return _function([*head, last], names)


def _function(lines: list[str], names: dict[str, Any]) -> Evaluate:
    """Run the source of one function, which sees ``names`` and the helpers and nothing else."""
    # The helpers stand where Python looks for builtins: one dict for all expressions.
    names["__builtins__"] = _HELPERS
    exec(compile("\n".join(lines), _FILENAME, "exec"), names)  # noqa: S102 - our own source, see codegen
    evaluate: Evaluate = names["evaluate"]
    return evaluate


class _ByTheBook:
    """The expression by its complete rules: generated when first needed, knows where it fails."""

    __slots__ = ("expected", "function", "offsets", "scope", "text")

    def __init__(self, text: str, scope: Scope, expected: Type | None) -> None:
        self.text = text
        self.scope = scope
        self.expected = expected
        self.function: Evaluate | None = None
        self.offsets: list[int] = []

    def __call__(
        self,
        context: Mapping[str, Any],
        event: Mapping[str, Any],
        params: Mapping[str, Any] | None,
        now_ms: int,
        budget: Budget,
    ) -> Value:
        function = self.function or self.generate()
        try:
            return function(_dict(context), _dict(event), _dict(params or {}), now_ms, budget)
        except EvaluationError as error:
            error.locate(self.text, self.offset_of(error))
            raise

    def generate(self) -> Evaluate:
        """Compile the text once more, to source whose lines are places in it."""
        generator = Generator()
        root = check(parse(self.text), self.text, self.scope, self.expected).root
        body = generator.visit(root).text
        if self.expected is not None and self.expected.kind != "dyn":
            body = f"expect({body}, expected)"
        first, *marked = f"finish({body}, budget)".split(MARK)
        self.offsets = [0]
        lines = [f"def evaluate(context, event, params, now_ms, budget): return ({first}"]
        for part in marked:
            offset, source = part.split(MARK_END, 1)
            self.offsets.append(int(offset))
            lines.append(source)
        lines[-1] += ")"
        self.function = _function(lines, {**generator.constants, "expected": self.expected})
        return self.function

    def offset_of(self, error: EvaluationError) -> int:
        """The offset of the innermost generated line the error came through."""
        line = 1
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == _FILENAME:
                line = trace.tb_lineno
            trace = trace.tb_next
        return self.offsets[line - 1]


def _dict(data: Mapping[str, Any]) -> dict[str, Any]:
    return data if type(data) is dict else dict(data)
