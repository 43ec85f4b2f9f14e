"""Any text gives an expression or a CompileError, any data a value or an EvaluationError: nothing else."""

from contextlib import suppress

from hypothesis import example, given, settings
from hypothesis import strategies as st

from durachart.expressions import Budget, CompileError, EvaluationError, Scope, compile_expression

from .generated import anything

WORDS = """
context event params input now true false null in has size all exists map filter matches timestamp
duration int uint double string bytes bool type dyn getHours . , : ? ! - + * / % == != < <= > >= &&
|| ( ) [ ] { } 0 1 2 -1 1.5 1e9 0x1f 7u 'a' "b" b'c' r'\\d' '(' `x` x y // if google protobuf
Timestamp
""".split()

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abnkx"), inner, max_size=4),
    max_leaves=8,
)


def run(text, context=None):
    try:
        expression = compile_expression(text, scope=Scope.DEFAULT)
    except CompileError as error:
        assert error.line >= 1  # noqa: PT017 - refusing is one of the two ways
        assert error.column >= 1  # noqa: PT017
        return
    with suppress(EvaluationError):
        expression.evaluate(context or {}, {"type": "E"}, None, 0, Budget(10_000))


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=60))
@example("\ud800")
@example("'\\")
@example("1" + "\r" * 50)
def test_no_characters_do_harm(text):
    run(text)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from([*WORDS, "\n"]), max_size=14).map(" ".join))
def test_no_words_do_harm(text):
    run(text)


@settings(max_examples=300, deadline=None)
@given(anything, st.data())
def test_no_cut_does_harm(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    run(text[:start] + text[end:])


@settings(max_examples=500, deadline=None)
@given(anything, json_values, json_values, json_values)
def test_no_data_does_harm(text, first, second, third):
    run(text, {"n": first, "s": second, "ints": third, "map": {"a": first}, "deep": {"deep": second}})
