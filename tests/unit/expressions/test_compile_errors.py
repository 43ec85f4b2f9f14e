import pytest

from durachart.expressions import CompileError, Scope, Type, compile_expression

ORDER = Scope.from_schemas(
    context={
        "type": "object",
        "properties": {
            "items": {"type": "integer"},
            "customerName": {"type": "string"},
            "address": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
        "additionalProperties": False,
    },
    variables={"context", "event", "params", "now"},
)


def refusal(text, **options):
    with pytest.raises(CompileError) as caught:
        compile_expression(text, **options)
    return caught.value


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("nope", 1, 1),
        ("context.items > nope", 1, 17),
        ("context.items >\n  nope", 2, 3),
        ("'é☃' == nope", 1, 9),
        ("context.items > 1 &&\n\n(context.items", 3, 15),
        ("context.itms > 0", 1, 9),
        ("context.address.cty == ''", 1, 17),
        ("context['itms']", 1, 8),
        ("has(context.itms)", 1, 13),
        ("context.items + 'a'", 1, 15),
        ("size(1, 2)", 1, 1),
        ("[1, 2].all(x, x)", 1, 15),
        ("'a' + '\\q'", 1, 8),
        ("'a'.matches('(')", 1, 13),
        ("timestamp('soon') < now", 1, 11),
        ("now.getHours('Mars')", 1, 14),
    ],
)
def test_errors_say_line_and_column(text, line, column):
    error = refusal(text, scope=ORDER)
    assert (error.line, error.column) == (line, column)
    assert str(error).startswith(f"line {line}, column {column}: {error.message}")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("context.itms > 0", "did you mean `items`?"),
        ("context.customer_name", "did you mean `customerName`?"),
        ("context.CUSTOMERNAME", "did you mean `customerName`?"),
        ("contxt.items", "did you mean `context`?"),
        ("context.customerName.startswith('a')", "did you mean `startsWith`?"),
        ("context.zzz", "declare it in the schema"),
        ("input.x", "`input` does not exist here; there are context, event, params, now"),
        ("[1].all(item, itm > 0)", "did you mean `item`?"),
    ],
)
def test_errors_say_what_was_meant(text, hint):
    assert refusal(text, scope=ORDER).hint == hint


def test_an_error_without_advice_has_no_hint():
    error = refusal("1 +")
    assert error.hint is None
    assert str(error) == "line 1, column 4: expected a value, found the end"


def test_an_error_keeps_the_text_short():
    assert len(refusal("nope + " + "1" * 500).text) == 200


@pytest.mark.parametrize(
    ("text", "expected", "reason"),
    [
        ("context.items", Type.BOOL, "the expression gives int, but bool is wanted here"),
        ("'a'", Type.INT, "the expression gives string, but int is wanted here"),
        ("null", Type.BOOL, "the expression gives null, but bool is wanted here"),
        ("[1]", Type.map_of(Type.STRING, Type.DYN), "gives list(int), but map(string, dyn) is wanted"),
        ("now", Type.INT, "gives timestamp, but int is wanted"),
        ("1.5", Type.INT, "gives double, but int is wanted"),
        ("'a'", Type.TIMESTAMP, "gives string, but timestamp is wanted"),
        ("[1, 2]", Type.list_of(Type.STRING), "gives list(int), but list(string) is wanted"),
        (
            "{'a': 1}",
            Type.map_of(Type.STRING, Type.STRING),
            "gives map(string, int), but map(string, string)",
        ),
        (
            "context.address",
            Type.object_of({"city": Type.INT}, None),
            "gives string for `city`, but int is wanted",
        ),
    ],
)
def test_the_wrong_type_of_result_is_refused(text, expected, reason):
    assert reason in refusal(text, scope=ORDER, expected=expected).message


def test_the_wrong_type_is_reported_where_the_expression_begins():
    error = refusal("1 == 1 ?\n 'a' : 'b'", expected=Type.INT)
    assert (error.line, error.column) == (1, 1)


def test_unknown_variables_of_a_scope_are_refused():
    with pytest.raises(ValueError, match="no such variable: contexts"):
        Scope.from_schemas(variables={"contexts"})
