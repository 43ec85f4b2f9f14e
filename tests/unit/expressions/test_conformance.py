import pytest

from durachart.expressions import Budget, CompileError, EvaluationError, compile_expression
from durachart.expressions.expression import _ByTheBook
from durachart.expressions.scope import Scope

from .conformance_cases import SECTIONS, Fails, Refused

CASES = [
    pytest.param(text, expected, id=f"{section}-{number}-{text[:40]!r}")
    for section, cases in SECTIONS.items()
    for number, (text, expected) in enumerate(cases)
]
RUN = [case for case in CASES if not isinstance(case.values[1], Refused)]


def typed(value):
    """The value with its classes, so that 1, 1.0 and True differ, and 0.0 and -0.0."""
    if isinstance(value, list):
        return [typed(item) for item in value]
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    return type(value), repr(value)


def outcome(evaluate):
    """The typed value, or the error's message and place."""
    try:
        return "value", typed(evaluate({}, {"type": "E"}, None, 0, Budget()))
    except EvaluationError as error:
        return "error", error.message, error.line, error.column


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_value_is_the_specifications(text, expected):
    if isinstance(expected, Refused):
        with pytest.raises(CompileError) as caught:
            compile_expression(text)
        assert expected.reason in str(caught.value)
        return
    found = outcome(compile_expression(text).evaluate)
    if isinstance(expected, Fails):
        assert found[0] == "error"
        assert expected.reason in found[1]
        assert min(found[2:]) >= 1
    else:
        assert found == ("value", typed(expected))


@pytest.mark.parametrize(("text", "expected"), RUN)
def test_short_cuts_and_the_book_agree(text, expected):
    assert outcome(compile_expression(text).evaluate) == outcome(_ByTheBook(text, Scope.DEFAULT, None))
