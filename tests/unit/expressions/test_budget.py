import tracemalloc

import pytest

from durachart.expressions import Budget, BudgetExceeded, EvaluationError, compile_expression
from durachart.expressions.budget import DEFAULT_LIMIT_UNITS
from durachart.expressions.embedding import MAX_VALUE_DEPTH

MEBIBYTE = 1 << 20


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


#: About what a context may hold: a mebibyte of everything.
CONTEXT = {
    "few": list(range(2_000)),
    "many": list(range(50_000)),
    "text": "a" * MEBIBYTE,
    "emoji": "\U0001f600" * 200_000,
    "names": ["a" * 1_000] * 1_000,
    "alike": ["a" * 999 + chr(97 + number % 26) for number in range(1_000)],
    "map": {f"key{number}": number for number in range(20_000)},
    "mixed": [1, 1.0, True, "x", None] * 2_000,
    "patterns": [f"(x{number}+x+)+y" for number in range(2_000)],
    "zones": ["Europe/Berlin", "Nowhere/Land"] * 1_000,
    "instants": ["2026-01-31T09:30:00Z"] * 10_000,
    "rows": [{"id": number, "tags": ["a", "b"]} for number in range(5_000)],
}
EVENT = {"type": "E"}

COSTLY = [
    "context.few.exists(a, context.few.exists(b, a + b == -1))",
    "context.few.all(a, context.few.all(b, context.few.all(c, true)))",
    "context.few.exists(a, a / 0 == 1)",
    "context.few.exists(a, event.gone == a || a < 0)",
    "context.many.all(a, a in context.many)",
    "context.mixed.all(a, a in context.mixed)",
    "context.mixed.all(a, context.mixed.exists(b, a == b))",
    "context.alike.all(a, a in context.alike)",
    "context.alike.all(a, context.alike.exists(b, a <= b))",
    "context.names.all(a, context.names.all(b, a == b))",
    "context.few.map(a, context.text)",
    "context.few.map(a, context.many)",
    "context.few.map(a, context.map)",
    "context.many.map(a, {'a': a, 'b': [a]})",
    "context.many.map(a, [a, a, a, a])",
    "context.many.map(a, string(a) + 'abcdefghijklmnopqrstuvwxyz')",
    "context.many.map(a, timestamp(a))",
    "context.instants.map(i, timestamp(i).getHours('Europe/Berlin'))",
    "context.zones.filter(z, now.getHours(dyn('UTC')) == 0).map(z, now.getHours('UTC')).map(h, string(now))",
    "[context.text].map(x, x + x)" + ".map(x, x + x)" * 20,
    "[context.emoji].map(x, x + x)" + ".map(x, x + x)" * 20,
    "[context.many].map(x, x + x)" + ".map(x, x + x)" * 20,
    "[[1]].map(x, [x, x])" + ".map(x, [x, x])" * 40,
    "[[1]].map(x, {'a': x, 'b': x})" + ".map(x, {'a': x, 'b': x})" * 40,
    "context.rows == context.rows && [context.rows, context.rows] == [context.rows, context.rows]",
    "context.few.map(a, bytes(context.text))",
    "context.few.map(a, string(b'abc') + context.text)",
    "context.text.matches('(a+a+)+b')",
    "context.text.matches('(?:a?){100}a{100}b')",
    "context.few.all(a, context.text.matches('b'))",
    "context.patterns.all(p, !'xxxx'.matches(p))",
    "context.few.all(a, !context.text.contains('aaaaaaaaab'))",
    "[context, context]",
    "context.many + context.map.map(k, k + k)",
    "context.rows.map(r, r).map(r, [r, r])",
]


@pytest.mark.parametrize("text", COSTLY)
def test_costly_expressions_are_stopped(text):
    with pytest.raises(BudgetExceeded, match="budget of 100000 units"):
        compile_expression(text).evaluate(CONTEXT, EVENT, None, 0, Budget())


@pytest.mark.parametrize("text", COSTLY)
def test_what_is_spent_is_always_the_same(text):
    spent = set()
    for _ in range(2):
        budget = Budget()
        with pytest.raises(BudgetExceeded):
            compile_expression(text).evaluate(CONTEXT, EVENT, None, 0, budget)
        spent.add(budget.remaining)
    assert len(spent) == 1


def test_memory_stays_below_32_mebibytes():
    expressions = [compile_expression(text) for text in COSTLY]
    for expression in expressions:
        tracemalloc.start()
        with pytest.raises(BudgetExceeded):
            expression.evaluate(CONTEXT, EVENT, None, 0, Budget())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 32 * MEBIBYTE, expression.text


def test_a_search_costs_what_following_every_instruction_of_the_pattern_costs():
    large = compile_expression("context.t.matches('(?:a?){500}a{500}b')")
    small = compile_expression("context.t.matches('^[a-z]+@[a-z]+$')")
    for expression, cheap, costly in ((large, 400, 600), (small, 20_000, 80_000)):
        assert expression.evaluate({"t": "a" * cheap}, EVENT, None, 0, Budget()) is False
        with pytest.raises(BudgetExceeded):
            expression.evaluate({"t": "a" * costly}, EVENT, None, 0, Budget())


def test_a_budget_is_shared_by_its_expressions():
    expression = compile_expression("context.few.all(a, a >= 0)")
    budget = Budget()
    for _ in range(DEFAULT_LIMIT_UNITS // 8_001):
        assert expression.evaluate(CONTEXT, EVENT, None, 0, budget)
    with pytest.raises(BudgetExceeded):
        expression.evaluate(CONTEXT, EVENT, None, 0, budget)
    with pytest.raises(BudgetExceeded):
        compile_expression("[1].all(a, true)").evaluate(CONTEXT, EVENT, None, 0, budget)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("context.few[0] + 1", 0),
        ("context.few + [1]", 125),
        ("[1, 2].all(x, x > 0)", 9),
        ("context.few.all(x, true)", 4_001),
        ("'abc'.contains('b')", 0),
        ("context.names[0] == context.names[1]", 31),
        ("context.names[0] == context.text", 0),
        ("[context.names[0]]", 31),
        ("context.names[0] + 'b'", 31),
        ("[context.rows[0]]", 14),
        ("[1] + [context.rows[0]]", 14),
        ("context.rows[0] == context.rows[0]", 24),
        ("5 in context.many", 12_500),
        ("0 in context.many", 150_000),
        ("'key1' in context.map", 0),
    ],
)
def test_charges_grow_with_the_work(text, units):
    budget = Budget(10**6)
    compile_expression(text).evaluate(CONTEXT, EVENT, None, 0, budget)
    assert budget.limit - budget.remaining == units


def test_a_large_expression_is_charged_for_itself():
    budget = Budget()
    compile_expression(" || ".join(["context.few == 1"] * 300)).evaluate(CONTEXT, EVENT, None, 0, budget)
    assert budget.remaining == DEFAULT_LIMIT_UNITS - 1_201


def test_a_budget_is_not_negative():
    assert Budget(0).remaining == 0
    with pytest.raises(ValueError, match="must not be negative"):
        Budget(-1)


def test_deep_values_are_compared_without_recursion():
    context = {"a": nested(5_000), "b": nested(5_000), "c": nested(5_001)}
    assert compile_expression("context.a == context.b").evaluate(context, EVENT, None, 0, Budget()) is True
    assert compile_expression("context.a == context.c").evaluate(context, EVENT, None, 0, Budget()) is False


def test_values_do_not_grow_deeper_without_end():
    expression = compile_expression("[context.a]")
    value = nested(MAX_VALUE_DEPTH - 1)
    assert expression.evaluate({"a": value}, EVENT, None, 0, Budget()) == [value]
    with pytest.raises(EvaluationError, match="nested more than 128 levels deep"):
        expression.evaluate({"a": nested(MAX_VALUE_DEPTH)}, EVENT, None, 0, Budget())


def test_a_deep_result_that_must_be_converted_is_refused():
    expression = compile_expression("true ? context.a : [now]")
    shallow = compile_expression("context.a + [now]")
    with pytest.raises(EvaluationError, match="nested more than 128 levels deep"):
        shallow.evaluate({"a": nested(5_000)}, EVENT, None, 0, Budget())
    assert expression.evaluate({"a": nested(5_000)}, EVENT, None, 0, Budget())
