"""CEL, the Common Expression Language: parsed, checked and compiled once to a Python function.

Guards, assigns, params, delays and outputs that arrive over the network are written in it. An expression
reads ``context``, ``event``, ``params``, ``input`` (short for ``event.input``) and ``now``, and gives
JSON. It cannot loop without end, do I/O, see a clock, or change what it reads.

How it runs
    ``parser`` makes a tree, ``checker`` resolves names and types against JSON Schemas where there are
    any, and the tree becomes Python source twice. ``fastpath`` handles the usual classes in place; it is
    what ``evaluate`` is, and costs little more than the lambda a person would write. When anything is
    amiss it raises, and ``codegen``'s source, generated when first needed, does the evaluation again by
    the complete rules: ``&&``, ``||``, ``all`` and ``exists`` absorb errors there, and an error that
    remains knows its line and column. Both give the same value, or the same error, on any data.

Values
    None, bool, int (64 bits), float (``double``), str, list and dict are what JSON holds. Inside an
    expression there are also uint, bytes, types, timestamps and durations, the last two to the
    nanosecond. As a result a timestamp is RFC 3339 text in UTC (``2026-01-31T09:30:00Z``), a duration its
    seconds (``1.5s``), also within lists and maps; a uint is an integer; keys that are no strings become
    their text. Bytes, types, NaN and the infinities have no JSON: such a result is an EvaluationError.
    True is never 1, not even as a key. A field that a schema declares ``number`` is read as double,
    whether the JSON says 5 or 5.0.

Purity
    Nothing that goes in is ever changed. What comes out may share structure with it, so whoever evaluates
    treats data as immutable. The same inputs give the same value, error and cost in every process, given
    the same RE2 and the same time zone database.

Cost
    One :class:`Budget` serves the expressions of one macrostep. It is counted in units, never in time: a
    loop charges the static cost of its body for each element before it begins, and what grows with its
    operands (long strings and lists, comparisons of structures, patterns) charges by size. 100,000 units,
    the default, are 1 to 7 ms of work, up to three times that where errors are absorbed, on a 3 GHz core.
    128 bytes built are a unit too, and what is put into a list or map weighs as if it were copied, so
    memory stays below 32 MiB and no result is larger, written out, than what was read plus 128 bytes a
    unit. An expression without loops over small data charges nothing. Text is bounded when compiled:
    length, parts, nesting.

Supported
    Everything the specification (google/cel-spec, doc/langdef.md) gives to expressions over JSON:
    literals, escapes, operators, macros, standard functions and conversions, cross-type numeric
    comparison, time zones. Not supported: protobuf messages and enums, containers (namespaces), optional
    values, extension libraries.

Where this is stricter or more lenient than other implementations
    - A literal pattern, timestamp, duration or time zone that can never work is refused when compiled,
      even where it would not be reached; likewise a map key of a type that can be none.
    - ``int``, ``uint`` and ``double`` may be ordered (``<``) without ``dyn``; ``==`` wants one type, as
      always.
    - ``?:`` may give a value or null.
    - A map has one key for 1, 1u and 1.0, and a literal that repeats a key is an error. Loops over a map
      follow the order of its keys in the document.
    - Durations reach 315,576,000,000 seconds either way, as in protobuf, not 64 bits of nanoseconds.
    - Timestamps want upper-case ``T`` and ``Z``, and no leap second.
    - Integers in the data beyond 64 bits can be compared and passed on; arithmetic on them overflows.
"""

from durachart.expressions.budget import Budget
from durachart.expressions.errors import BudgetExceeded, CompileError, EvaluationError, ExpressionTooLarge
from durachart.expressions.expression import Expression, compile_expression
from durachart.expressions.scope import Scope
from durachart.expressions.types import Type

__all__ = [
    "Budget",
    "BudgetExceeded",
    "CompileError",
    "EvaluationError",
    "Expression",
    "ExpressionTooLarge",
    "Scope",
    "Type",
    "compile_expression",
]
