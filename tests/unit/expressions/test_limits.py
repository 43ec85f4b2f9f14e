import sys
import warnings

import pytest

from durachart.expressions import Budget, CompileError, EvaluationError, Scope, compile_expression
from durachart.expressions.parser import MAX_DEPTH, MAX_NODES, MAX_TEXT
from durachart.expressions.patterns import MAX_PATTERN


@pytest.mark.parametrize(
    "text",
    [
        " || ".join(["context.a == 1"] * 100_000),
        "[" * 60_000,
        "(" * 60_000,
        "((" * 30_000 + "1",
        "(1+1*" * 12_000,
        "!" * 60_000 + "true",
        "-" * 60_000 + "1",
        "context" + ".a" * 30_000,
        "context" + "[0]" * 20_000,
        "1" + "+1" * 30_000,
        "1" + "==1" * 20_000,
        "true?1:" * 9_000 + "1",
        "a(" * 30_000,
        "{1:" * 20_000,
        "[[1].map(x, " * 5_000,
        "has(" * 16_000,
        "// " + "a" * 60_000,
        "a" * 65_000,
        "'" + "a" * 65_000,
        '"""' + "a" * 65_000,
        "1" * 65_000,
        "\x00" * 65_000,
        " " * 65_000,
        "[" + "1," * MAX_NODES + "1]",
    ],
    ids=lambda text: text[:12],
)
def test_oversized_text_is_refused(text):
    with pytest.raises(CompileError):
        compile_expression(text)


def test_the_limits_are_named():
    with pytest.raises(CompileError, match=f"100000 characters long; the limit is {MAX_TEXT}"):
        compile_expression("1" * 100_000)
    with pytest.raises(CompileError, match=f"more than {MAX_NODES} parts"):
        compile_expression("[" + "1," * MAX_NODES + "1]")
    with pytest.raises(CompileError, match=f"more than {MAX_DEPTH} levels deep"):
        compile_expression("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
    with pytest.raises(CompileError, match=f"longer than {MAX_PATTERN} characters"):
        compile_expression(f"'a'.matches('{'a' * (MAX_PATTERN + 1)}')")


def test_long_chains_of_logic_are_one_level():
    text = " || ".join(["context.a == 1"] * 1_900)
    assert compile_expression(text).evaluate({"a": 1}, {"type": "E"}, None, 0, Budget()) is True


def test_patterns_that_need_much_memory_are_refused():
    for pattern in ("((a{100}){100}){100}", "(\\\\pL{100}){100}"):
        with pytest.raises(CompileError, match="is not a regular expression of RE2"):
            compile_expression(f"'a'.matches('{pattern}')")


#: One level of each construct around ``@``, of a type that fits into most others.
LEVELS = [
    "(context.b ? context.c : @)",
    "(context.b ? @ : context.c)",
    "(dyn(@) ? context.b : context.c)",
    "[@]",
    "[@][0]",
    "{'a': @}",
    "{'a': @}.a",
    "{context.k: @}[context.k]",
    "context.a[@]",
    "context.a[context.a[@]]",
    "context.prices[@]",
    "dyn(@)[context.b]",
    "dyn(@).a",
    "(dyn(@) + context.b)",
    "(context.b + dyn(@))",
    "(1 + dyn(@))",
    "(dyn(@) - 1)",
    "(dyn(@) % 3)",
    "(dyn(@) / 3)",
    "(dyn(@) == 1)",
    "(dyn(@) == context.c)",
    "(dyn(@) != null)",
    "(dyn(@) == true)",
    "(dyn(@) < 1)",
    "(1.5 < dyn(@))",
    "(context.b == dyn(@))",
    "(dyn(@) in [5, 6])",
    "(dyn(@) in context.a)",
    "(context.b in dyn(@))",
    "(context.b && dyn(@))",
    "(context.b && (context.c || dyn(@)))",
    "!dyn(@)",
    "-dyn(@)",
    "has(dyn(@).a)",
    "size(dyn(@))",
    "string(dyn(@))",
    "double(dyn(@))",
    "timestamp(dyn(@))",
    "dyn(@).contains(context.k)",
    "dyn(@).matches('a')",
    "dyn(@).getHours(context.k)",
    "type(@)",
    "(context.a + [@])",
    "([@] + context.a)",
    "dyn(@).map(x, x)",
    "[1].map(x, @)",
    "[1].map(x, dyn(@), x)",
    "[1].filter(x, dyn(@))",
    "dyn(@).all(x, x > 0)",
    "[1].all(x, dyn(@))",
    "[1].exists(x, context.b == 1 && dyn(@))",
]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("typed", [False, True])
def test_nesting_up_to_the_limit_compiles_and_runs(level, typed):
    scope = Scope.DEFAULT
    if typed:
        prices = {"type": "array", "items": {"type": "number"}}
        scope = Scope.from_schemas(context={"properties": {"prices": prices}, "additionalProperties": True})
    context = {"a": [0, 1], "b": 0, "c": True, "k": "a", "prices": [0, 1]}
    deepest = None
    levels = MAX_DEPTH
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        while deepest is None:
            text = "context.prices[0]" if typed else "context.a"
            for _ in range(levels):
                text = level.replace("@", text)
            try:
                deepest = compile_expression(text, scope=scope)
            except CompileError as error:
                if "more than 64 levels deep" not in error.message:
                    raise
                levels -= 1
    assert levels >= MAX_DEPTH // 4 - 1
    try:
        deepest.evaluate(context, {"type": "E"}, None, 0, Budget())
    except EvaluationError as error:
        assert error.line == 1  # noqa: PT017 - either way is fine, a stack that overflows is not


def test_a_stack_that_is_nearly_full_gives_our_own_error():
    def at_the_end_of_the_stack(work):
        try:
            return at_the_end_of_the_stack(work)
        except RecursionError:
            return work()

    limit = sys.getrecursionlimit()
    text = "[" * 60 + "]" * 60
    with pytest.raises(CompileError, match="nested too deeply"):
        at_the_end_of_the_stack(lambda: compile_expression(text))
    assert sys.getrecursionlimit() == limit
