import copy
from types import MappingProxyType

import pytest

from durachart.expressions import (
    Budget,
    BudgetExceeded,
    EvaluationError,
    Expression,
    Scope,
    Type,
    compile_expression,
)

CONTEXT = {
    "n": 1,
    "total": 200,
    "limit": 10,
    "log": ["a"],
    "s": "B",
    "flag": True,
    "none": None,
    "map": {"a": [1]},
}
EVENT = {"type": "PAY", "amount": 3, "input": {"start": 4}}


def value_of(text, context=CONTEXT, event=EVENT, params=None, now_ms=0, **options):
    return compile_expression(text, **options).evaluate(context, event, params, now_ms, Budget())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("context.n + 1", 2),
        ("1 + context.n", 2),
        ("context.n + context.total", 201),
        ("context.n - 1", 0),
        ("context.n * context.total", 200),
        ("context.log + [event.type]", ["a", "PAY"]),
        ("context.log + context.log", ["a", "a"]),
        ("context.n > 0 ? context.n * 100 : 70", 100),
        ("context.n % 2 == 0", False),
        ("0 - context.n % 2", -1),
        ("(0 - context.total - 1) % 2", -1),
        ("!context.flag", False),
        ("context.flag", True),
        ("context.s in ['A', 'B']", True),
        ("context.n in [1, 2]", True),
        ("context.n in [5, 2]", False),
        ("context.flag in [1, 2]", False),
        ("has(event.amount) && event.amount > 2", True),
        ("has(event.gone) ? event.gone : -1", -1),
        ("has(context.map.a)", True),
        ("has(context.map.b)", False),
        ("size(context.log) < 6", True),
        ("size(context)", 8),
        ("'n' in context", True),
        ("context['n']", 1),
        ("context.map['a'][0]", 1),
        ("context.map[context.log[0]]", [1]),
        ("context.none == null", True),
        ("context.none", None),
        ("event.type", "PAY"),
        ("input.start", 4),
        ("input", {"start": 4}),
        ("context.flag == true && context.n != 0 && 1 == context.n", True),
        ("context.flag == 1", False),
        ("event == {'type': 'PAY', 'amount': 3, 'input': {'start': 4}}", True),
        ("event", EVENT),
    ],
)
def test_data_is_read(text, value):
    found = value_of(text)
    assert (type(found), found) == (type(value), value)


def test_params_are_empty_where_there_are_none():
    assert value_of("params.by + 1", params={"by": 2}) == 3
    assert value_of("has(params.by) ? params.by : 5") == 5
    assert value_of("params") == {}
    with pytest.raises(EvaluationError, match="no such key: `by`"):
        value_of("params.by")


def test_now_is_the_recorded_instant():
    assert value_of("now", now_ms=1_700_000_000_123) == "2023-11-14T22:13:20.123Z"
    assert value_of("now > timestamp('2020-01-01T00:00:00Z')", now_ms=1_700_000_000_123) is True
    assert (
        value_of("now - timestamp(context.at)", {"at": "2023-11-14T22:13:20Z"}, now_ms=1_700_000_000_123)
        == "0.123s"
    )


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("event.gone + 1", "no such key: `gone`", 1, 7),
        ("1 +\n  event.gone", "no such key: `gone`", 2, 9),
        ("context.n / (context.n - 1)", "division by zero", 1, 11),
        ("context.map.a[3]", "index out of range: 3 in a list of 1", 1, 14),
        ("context.s.n", "string has no fields, so `n` cannot be selected", 1, 11),
        ("context.n + context.s", "`+` cannot be applied to int and string", 1, 11),
        ("context.log.map(x, x + 1)", "`+` cannot be applied to string and int", 1, 22),
        ("context.flag && context.n", "a bool is wanted, not int", 1, 25),
        ("context.n", "the result is int, but bool is wanted here", 1, 1),
    ],
)
def test_errors_say_where(text, message, line, column):
    expected = Type.BOOL if text == "context.n" else None
    with pytest.raises(EvaluationError) as caught:
        value_of(text, expected=expected)
    error = caught.value
    assert (error.message, error.line, error.column, error.text) == (message, line, column, text)
    assert str(error) == f"{message} (line {line}, column {column})"


@pytest.mark.parametrize(
    ("expected", "text", "value"),
    [
        (Type.BOOL, "context.flag", True),
        (Type.INT, "context.n", 1),
        (Type.STRING, "context.s", "B"),
        (Type.DOUBLE, "context.n", 1.0),
        (Type.DOUBLE, "dyn(1.5)", 1.5),
        (Type.BOOL.or_null(), "context.none", None),
        (Type.INT.or_null(), "context.none", None),
        (Type.list_of(Type.DYN), "context.log", ["a"]),
        (Type.object_of({}, Type.DYN), "context.map", {"a": [1]}),
        (Type.map_of(Type.STRING, Type.DYN), "context.map", {"a": [1]}),
        (Type.TIMESTAMP, "dyn(timestamp(0))", "1970-01-01T00:00:00Z"),
        (Type.STRING, "now", "1970-01-01T00:00:00Z"),
        (Type.STRING, "dyn(duration('90s'))", "90s"),
        (Type.INT, "dyn(5u)", 5),
        (Type.INT, "5u", 5),
        (Type.DOUBLE, "dyn(5u)", 5.0),
        (Type.DOUBLE, "context.n + 1", 2.0),
        (Type.list_of(Type.DOUBLE), "[1, 2]", [1, 2]),
        (Type.map_of(Type.STRING, Type.STRING), "{'at': now}", {"at": "1970-01-01T00:00:00Z"}),
        (Type.object_of({"a": Type.DOUBLE}, None), "{'a': 1}", {"a": 1}),
        (Type.DYN, "context.n", 1),
        (Type.INT, "true ? context.n : 5", 1),
    ],
)
def test_a_result_of_the_wanted_type_passes(expected, text, value):
    found = value_of(text, expected=expected)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (Type.BOOL, "context.n"),
        (Type.INT, "context.flag"),
        (Type.INT, "context.none"),
        (Type.STRING, "context.n"),
        (Type.DOUBLE, "context.flag"),
        (Type.list_of(Type.DYN), "context.map"),
        (Type.object_of({}, Type.DYN), "context.log"),
        (Type.TIMESTAMP, "context.s"),
    ],
)
def test_a_result_of_another_type_is_an_error(expected, text):
    with pytest.raises(EvaluationError, match="wanted"):
        value_of(text, expected=expected)


@pytest.mark.parametrize(
    ("text", "references", "payload"),
    [
        ("context.items > 0", ("context.items",), False),
        ("event.type == 'A'", ("event.type",), False),
        ("has(event.type)", ("event.type",), False),
        ("event['type']", ("event.type",), False),
        ("event.amount", ("event.amount",), True),
        ("has(event.amount)", ("event.amount",), True),
        ("event['amount']", ("event.amount",), True),
        ("event[context.key]", ("context.key", "event"), True),
        ("size(event)", ("event",), True),
        ("event == context", ("context", "event"), True),
        ("input.name", ("event.input.name",), True),
        ("context.a.b.c + params.by", ("context.a.b.c", "params.by"), False),
        ("context.rows[0].id", ("context.rows",), False),
        ("context.rows.all(event, event.id > 0)", ("context.rows",), False),
        ("context.rows.all(r, r.id == event.id)", ("context.rows", "event.id"), True),
        ("now > timestamp(context.due)", ("context.due", "now"), False),
        ("type(1) == int", (), False),
    ],
)
def test_what_is_read_is_known(text, references, payload):
    expression = compile_expression(text)
    assert expression.references == references
    assert expression.reads_event_payload is payload


def test_an_expression_is_a_frozen_value():
    expression = compile_expression("context.n + 1")
    assert isinstance(expression, Expression)
    assert expression.text == "context.n + 1"
    assert expression.result_type == Type.INT
    assert not hasattr(expression, "__dict__")
    with pytest.raises(AttributeError):
        expression.text = "other"


def test_the_same_text_is_compiled_once():
    scope = Scope.from_schemas()
    assert compile_expression("context.n + 1", scope=scope) is compile_expression(
        "context.n + 1", scope=scope
    )
    assert compile_expression("context.n", scope=scope) is not compile_expression("context.n")


def test_a_scope_keeps_so_many_expressions_and_no_more():
    scope = Scope.from_schemas()
    first = compile_expression("context.n + 1", scope=scope)
    for number in range(4_200):
        compile_expression(str(number), scope=scope)
    assert len(scope.kept) <= 4_096
    assert compile_expression("context.n + 1", scope=scope) is not first


@pytest.mark.parametrize(
    "text",
    [
        "context.log + ['x']",
        "context.log.map(x, x + 'y')",
        "context.log.filter(x, true)",
        "{'a': context.map, 'b': [context.log]}",
        "[now, context.map]",
        "context",
        "true ? context.map : event",
    ],
)
def test_inputs_are_never_changed(text):
    context, event = copy.deepcopy(CONTEXT), copy.deepcopy(EVENT)
    result = value_of(text, context, event)
    assert (context, event) == (CONTEXT, EVENT)
    assert value_of(text, context, event) == result


def test_read_only_mappings_are_accepted():
    frozen, event = MappingProxyType(CONTEXT), MappingProxyType(EVENT)
    assert value_of("context.n + event.amount", frozen, event, MappingProxyType({})) == 4
    assert value_of("context == context", frozen, event) is True
    assert value_of("event.gone || context.flag", frozen, event) is True


def test_simple_guards_need_no_budget():
    spent = Budget(0)
    for text in (
        "context.total > 100 && event.amount <= context.limit",
        "context.n + 1",
        "context.s in ['B']",
    ):
        assert compile_expression(text).evaluate(CONTEXT, EVENT, None, 0, spent)
    assert spent.remaining == 0


def test_an_exceeded_budget_is_not_absorbed():
    context = {"l": list(range(1_000))}
    for text in ("context.l.all(x, true) || true", "event.gone || context.l.all(x, true) || true"):
        with pytest.raises(BudgetExceeded):
            compile_expression(text).evaluate(context, EVENT, None, 0, Budget(1_000))


def test_what_is_not_reached_costs_nothing():
    context = {"l": list(range(1_000))}
    assert value_of("true || context.l.all(x, true)", context) is True
    spent = Budget(0)
    compile_expression("true || context.l.all(x, true)").evaluate(context, EVENT, None, 0, spent)
    assert spent.remaining == 0


def test_integers_beyond_64_bits_in_the_data_are_compared_but_not_computed_with():
    context = {"huge": 2**70}
    assert value_of("context.huge > 5", context) is True
    with pytest.raises(EvaluationError, match="overflow"):
        value_of("context.huge + 1", context)


def test_a_uint_that_is_no_int_stays_inside():
    assert value_of("9223372036854775807u") == 2**63 - 1
    assert value_of("18446744073709551615u > 9223372036854775807u") is True
    for text in ("9223372036854775808u", "[1u, 18446744073709551615u]", "{'a': dyn(9223372036854775808u)}"):
        with pytest.raises(EvaluationError, match="9223372036854775807 is the largest integer"):
            value_of(text)
