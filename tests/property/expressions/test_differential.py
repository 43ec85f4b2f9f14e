"""Ours against cel-cpp: the same value, or no value from either.

Every run draws other expressions; a failure prints its seed. ``DURACHART_SEED`` draws the same again,
``DURACHART_EXAMPLES`` draws more of them.
"""

import importlib.util
import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, seed, settings

from durachart.expressions import Budget, CompileError, EvaluationError, Scope, Type, compile_expression

from .generated import CONTEXT, EVENT, PARAMS, anything, typed

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("cel_expr_python") is None,
    reason="cel-expr-python has no wheel for this platform",
)


# In CI always the same, so that a red run means a change.
SEED = int(os.environ.get("DURACHART_SEED") or (0 if os.environ.get("CI") else random.randrange(2**32)))
EXAMPLES = int(os.environ.get("DURACHART_EXAMPLES") or 500)

UNTYPED = Scope(dict.fromkeys(("context", "event", "params"), Type.DYN))


class Oracle:
    """cel-cpp in a process of its own, started again whenever it dies."""

    def __init__(self):
        self.process = None

    def ask(self, text):
        """The oracle's answer, or None where the question killed it."""
        if self.process is None:
            program = Path(__file__).with_name("oracle.py")
            self.process = subprocess.Popen(
                [sys.executable, str(program)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        request = {"text": text, "context": CONTEXT, "event": EVENT, "params": PARAMS}
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            self.close()
            return None
        return json.loads(line)

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@pytest.fixture(scope="module")
def oracle():
    started = Oracle()
    yield started
    started.close()


def ours(text):
    try:
        expression = compile_expression(text, scope=UNTYPED)
    except CompileError as error:
        return {"refused": str(error)}
    try:
        return {"value": expression.evaluate(CONTEXT, EVENT, PARAMS, 0, Budget())}
    except EvaluationError as error:
        return {"error": str(error)}


def same(left, right):
    """Equal as JSON: 1, 1.0 and true are three different values."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        if all(isinstance(item, str) for item in [*left, *right]):
            # Perhaps a map's keys, which cel-cpp gives in any order.
            return sorted(left) == sorted(right)
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return left == right or (isinstance(left, float) and math.isclose(left, right, rel_tol=1e-15))


def describe(text, mine, theirs):
    return f"{text}\nours    {mine}\ncel-cpp {theirs}\nDURACHART_SEED={SEED}"


def holds_no_json(value):
    if isinstance(value, dict):
        return "not json" in value or any(map(holds_no_json, value.values()))
    return isinstance(value, list) and any(map(holds_no_json, value))


#: Where cel-cpp gives a value that the specification does not: our error says one of these.
BEYOND_THE_SPECIFICATION = ("`int` cannot be called with bool",)


#: What the specification gives and nobody could keep: our integers outside of expressions have 64 bits.
NOT_KEPT = "is the largest integer that can be kept"

#: What we refuse to compile although it might never be reached: it could not work if it were.
STRICTER = ("cannot be a map's key", "is not a timestamp", "is not a duration")


def agree(text, oracle):
    """One expression, evaluated by both."""
    theirs = oracle.ask(text)
    assume(theirs is not None and "refused" not in theirs)
    mine = ours(text)
    assume(not mine.get("error", "").startswith(BEYOND_THE_SPECIFICATION))
    assume(NOT_KEPT not in mine.get("error", ""))
    assume(not any(reason in mine.get("refused", "") for reason in STRICTER))
    if "value" in theirs and not holds_no_json(theirs["value"]):
        assert same(mine.get("value", ...), theirs["value"]), describe(text, mine, theirs)
    else:
        assert "value" not in mine, describe(text, mine, theirs)


@seed(SEED)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(typed)
def test_well_typed_expressions_have_cel_cpp_values(oracle, text):
    agree(text, oracle)


@seed(SEED)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(anything)
def test_any_expression_has_cel_cpp_value_or_none_from_either(oracle, text):
    agree(text, oracle)
