"""The short cuts give what the complete rules give, and leave the data alone."""

import copy

from hypothesis import given, settings
from hypothesis import strategies as st

from durachart.expressions import Budget, CompileError, EvaluationError, Scope, Type, compile_expression
from durachart.expressions.expression import _ByTheBook

from .generated import CONTEXT, EVENT, PARAMS, anything, typed
from .test_garbage import json_values

SCOPES = [
    Scope.DEFAULT,
    Scope.from_schemas(
        context={
            "properties": {
                "n": {"type": "integer"},
                "one": {"type": "number"},
                "f": {"type": "number"},
                "ints": {"type": "array", "items": {"type": "number"}},
                "s": {"type": "string"},
            },
            "additionalProperties": True,
        }
    ),
]
EXPECTED = [None, Type.BOOL, Type.INT, Type.DOUBLE, Type.STRING.or_null(), Type.DYN]


def exact(value):
    """The value with its classes: 1, 1.0 and true are three different values."""
    if isinstance(value, list):
        return [exact(item) for item in value]
    if isinstance(value, dict):
        return [(key, exact(item)) for key, item in value.items()]
    return type(value), repr(value)


def outcome(evaluate, context):
    try:
        return exact(evaluate(context, EVENT, PARAMS, 1_700_000_000_000, Budget(10**9)))
    except EvaluationError as error:
        return str(error)


@settings(max_examples=800, deadline=None)
@given(
    text=st.one_of(anything, typed),
    scope=st.sampled_from(SCOPES),
    expected=st.sampled_from(EXPECTED),
    changes=st.dictionaries(st.sampled_from(list(CONTEXT)), json_values, max_size=4),
)
def test_short_cuts_agree_with_the_rules(text, scope, expected, changes):
    context = {**CONTEXT, **changes}
    before = copy.deepcopy((context, EVENT, PARAMS))
    try:
        expression = compile_expression(text, scope=scope, expected=expected)
    except CompileError:
        return
    found = outcome(expression.evaluate, context)
    assert found == outcome(_ByTheBook(text, scope, expected), context)
    assert found == outcome(expression.evaluate, context)
    assert exact(before[0]) == exact(context)
    assert before[1:] == (EVENT, PARAMS)
