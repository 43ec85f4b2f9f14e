import pytest

from durachart.expressions import Budget, CompileError, Scope, compile_expression
from durachart.expressions.schemas import MAX_SCHEMA_DEPTH, type_of_schema


def scope_of(**properties):
    return Scope.from_schemas(context={"type": "object", "properties": properties})


def value_of(text, scope, context):
    return compile_expression(text, scope=scope).evaluate(context, {"type": "E"}, None, 0, Budget())


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        ({"type": "integer"}, "int"),
        ({"type": "number"}, "double"),
        ({"type": "string", "format": "date-time"}, "string"),
        ({"type": "boolean"}, "bool"),
        ({"type": "null"}, "null"),
        ({"type": ["string", "null"]}, "string or null"),
        ({"type": ["null", "integer"]}, "int or null"),
        ({"type": ["integer", "number"]}, "double"),
        ({"type": ["integer", "number", "null"]}, "double or null"),
        ({"type": ["integer", "string"]}, "dyn"),
        ({"type": "array", "items": {"type": "integer"}}, "list(int)"),
        ({"type": "array"}, "list(dyn)"),
        ({"type": "array", "prefixItems": [{"type": "integer"}]}, "list(dyn)"),
        ({"type": "array", "items": [{"type": "integer"}]}, "list(dyn)"),
        ({"type": ["array", "null"], "items": {"type": "string"}}, "list(string) or null"),
        ({"type": "object"}, "object"),
        ({"properties": {"a": {}}}, "object"),
        ({"enum": ["a", "b"]}, "string"),
        ({"enum": ["a", None]}, "string or null"),
        ({"enum": [1, 2.5]}, "double"),
        ({"enum": [1, "a"]}, "dyn"),
        ({"enum": [[1], [2]]}, "list(dyn)"),
        ({"enum": []}, "dyn"),
        ({"enum": ["a"], "type": "string"}, "string"),
        ({"const": True}, "bool"),
        ({"const": {"a": 1}}, "object"),
        ({"$ref": "#/x", "type": "integer"}, "dyn"),
        ({"oneOf": [{"type": "integer"}]}, "dyn"),
        ({"type": "decimal"}, "dyn"),
        ({"type": 5}, "dyn"),
        ({"type": [5, "string"]}, "dyn"),
        ({}, "dyn"),
        (True, "dyn"),
        (None, "dyn"),
    ],
)
def test_schemas_become_types(schema, shown):
    assert str(type_of_schema(schema)) == shown


@pytest.mark.parametrize(
    ("schema", "known"),
    [
        ({"type": "object", "properties": {"a": {}}}, False),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, False),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": True}, True),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "integer"}}, True),
        ({"type": "object", "additionalProperties": False}, True),
        ({"type": "object", "properties": {"a": {}}, "patternProperties": {"^x": {}}}, True),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, True),
    ],
)
def test_an_object_is_closed_unless_it_says_otherwise(schema, known):
    scope = Scope.from_schemas(context=schema)
    if known:
        compile_expression("context.other", scope=scope)
    else:
        with pytest.raises(CompileError, match="unknown field `other`"):
            compile_expression("context.other", scope=scope)


def test_additional_properties_have_their_type():
    scope = Scope.from_schemas(context={"type": "object", "additionalProperties": {"type": "integer"}})
    with pytest.raises(CompileError, match="`\\+` cannot be applied to int and string"):
        compile_expression("context.any + 'a'", scope=scope)


def test_a_schema_deeper_than_the_limit_is_dyn_below_it():
    schema = {"type": "integer"}
    for _ in range(MAX_SCHEMA_DEPTH + 10):
        schema = {"type": "array", "items": schema}
    assert str(type_of_schema(schema)).endswith("(dyn" + ")" * (MAX_SCHEMA_DEPTH + 1))


def test_event_type_is_always_there():
    event = {"type": "object", "properties": {"amount": {"type": "integer"}}, "additionalProperties": False}
    scope = Scope.from_schemas(event=event)
    compile_expression("event.type == 'PAY' && event.amount > 0", scope=scope)
    with pytest.raises(CompileError, match="unknown field `amonut`"):
        compile_expression("event.amonut > 0", scope=scope)
    with pytest.raises(CompileError, match="cannot be applied to string and int"):
        compile_expression("event.type > 0")


def test_params_and_input_are_typed():
    scope = Scope.from_schemas(
        params={"properties": {"min": {"type": "integer"}}},
        input={"properties": {"name": {"type": "string"}}},
    )
    with pytest.raises(CompileError, match="unknown field `mim`"):
        compile_expression("params.mim", scope=scope)
    with pytest.raises(CompileError, match="cannot be applied to string and int"):
        compile_expression("input.name + 1", scope=scope)


def test_a_number_is_read_as_double():
    scope = scope_of(
        price={"type": "number"},
        prices={"type": "array", "items": {"type": "number"}},
        by={"type": "object", "additionalProperties": {"type": ["number", "null"]}},
    )
    context = {"price": 5, "prices": [1, 2.5], "by": {"x": 3, "y": None}}
    for text, value in [
        ("context.price", 5.0),
        ("context.price / 2.0", 2.5),
        ("context.price == 5.0", True),
        ("context.price > 4.5 && context.price < 6", True),
        ("context.prices[0]", 1.0),
        ("context['prices'][0] * 1.5", 1.5),
        ("context.prices.map(p, p)", [1.0, 2.5]),
        ("context.prices.exists(p, p + 0.5 == 1.5)", True),
        ("context.by.x", 3.0),
        ("context.by['x'] + 1.0", 4.0),
        ("context.by.y", None),
        ("context.by.y == null", True),
        ("type(context.price) == double", True),
    ]:
        found = value_of(text, scope, context)
        assert (type(found), found) == (type(value), value), text


def test_a_number_and_an_int_literal_do_not_mix():
    with pytest.raises(CompileError, match=r"write 2\.0"):
        compile_expression("context.price * 2", scope=scope_of(price={"type": "number"}))


def test_nullable_fields_meet_null_and_their_type():
    scope = scope_of(by={"type": ["string", "null"]}, n={"type": "integer"})
    assert value_of("context.by == null ? 'none' : context.by", scope, {"by": None}) == "none"
    assert value_of("context.by == 'a'", scope, {"by": "a"}) is True
    with pytest.raises(CompileError, match="cannot be applied to int and null"):
        compile_expression("context.n == null", scope=scope)


def test_schemas_are_not_trusted_at_run_time():
    scope = scope_of(n={"type": "integer"}, flag={"type": "boolean"}, names={"type": "array"})
    context = {"n": "text", "flag": 1, "names": {"a": 1}}
    for text in (
        "context.n + 1",
        "!context.flag",
        "context.flag && true",
        "context.names[0]",
        "context.n > 3",
    ):
        with pytest.raises(Exception, match=r"wanted|applied|no such key"):
            value_of(text, scope, context)


@pytest.mark.parametrize(
    "text",
    [
        "context.rows[0].id + 1",
        "context.rows.filter(r, r.ok).map(r, r.id)",
        "context.rows.all(r, has(r.id) && r.id in [1, 2])",
        "context.tags + ['x'] == context.tags",
        "'x' in context.tags",
        "'k' in context.map && context.map.k > 1",
        "context.map.all(k, k.startsWith('a') && context.map[k] > 0)",
        "size(context.rows) + size(context.tags) + size(context.map) + size(context)",
        "true ? context.rows : []",
        "context == context",
        "{'a': context.tags}.a",
        "(true ? context.id : null) == null",
    ],
)
def test_well_typed_expressions_compile(text):
    row = {"type": "object", "properties": {"id": {"type": "integer"}, "ok": {"type": "boolean"}}}
    scope = scope_of(
        rows={"type": "array", "items": row},
        tags={"type": "array", "items": {"type": "string"}},
        map={"type": "object", "additionalProperties": {"type": "integer"}},
        id={"type": "integer"},
    )
    compile_expression(text, scope=scope)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("context.rows[0].di", "unknown field `di`"),
        ("context.rows.all(r, r.okay)", "unknown field `okay`"),
        ("context.rows['a']", "list(object) has no fields, so `a` cannot be selected"),
        ("context.rows.id", "list(object) has no fields"),
        ("1 in context.tags", "`in` cannot be applied to int and list(string)"),
        ("context.tags + [1]", "`+` cannot be applied to list(string) and list(int)"),
        ("context.map[1]", "an object's keys are strings, not int"),
        ("1 in context.map", "`in` cannot be applied to int and object"),
        ("context.id in context.id", "cannot be applied to int and int"),
        ("context.id[0]", "int cannot be indexed"),
        ("{1: 2}['a']", "has no keys of type string"),
        ("context.id.map(x, x)", "map() loops over a list or a map, not over int"),
        ("context.rows + {}", "cannot be applied to list(object) and map"),
        ("context.tags == context.id", "cannot be applied to list(string) and int"),
        ("context.tags.size", "list(string) has no fields"),
        ("context.id ? 1 : 2", "wants bool, not int"),
        ("true ? context.id : 'none'", "gives int or string"),
    ],
)
def test_ill_typed_expressions_are_refused(text, reason):
    row = {"type": "object", "properties": {"id": {"type": "integer"}, "ok": {"type": "boolean"}}}
    scope = scope_of(
        rows={"type": "array", "items": row},
        tags={"type": "array", "items": {"type": "string"}},
        map={"type": "object", "additionalProperties": {"type": "integer"}},
        id={"type": "integer"},
    )
    with pytest.raises(CompileError) as caught:
        compile_expression(text, scope=scope)
    assert reason in str(caught.value)
