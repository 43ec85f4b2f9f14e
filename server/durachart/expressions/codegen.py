"""A checked tree as Python source, by the book.

:class:`Generator` writes every operation as a call of the function that holds its complete rules, and keeps
for each line the place in the expression it came from, so that an error knows where it happened.
``fastpath`` derives from it what runs first. No text of the expression enters the source but
through ``repr`` of its literals and field names.
"""

from __future__ import annotations

from math import isfinite
from typing import Final, NamedTuple

from durachart.expressions.costs import cost_of_turn
from durachart.expressions.errors import EvaluationError
from durachart.expressions.functions import CALENDAR_FUNCTIONS, to_duration, to_timestamp
from durachart.expressions.instants import zone_named, zone_names
from durachart.expressions.patterns import literal_pattern
from durachart.expressions.scope import OF_INSTANCES
from durachart.expressions.syntax import (
    Binary,
    Call,
    Conditional,
    Expr,
    Index,
    ListLiteral,
    Literal,
    Logical,
    Macro,
    MapLiteral,
    Name,
    Select,
    TypeName,
    Unary,
)
from durachart.expressions.values import TypeValue, UInt, Value

#: Between these characters stands an offset; ``repr`` writes neither.
MARK: Final = "\x01"
MARK_END: Final = "\x02"

_COMPARISONS: Final = {
    "==": "equals",
    "!=": "differs",
    "<": "less",
    "<=": "less_or_equal",
    ">": "greater",
    ">=": "greater_or_equal",
}
_ARITHMETIC: Final = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "%": "remainder"}
_LOOPS: Final = {
    "all": "all_decided",
    "exists": "any_decided",
    "exists_one": "one_of",
    "filter": "filtered",
    "map": "mapped",
}

#: Function -> (helper, whether it takes the budget, class of what it returns).
_CALLS: Final = {
    "size": ("size", False, "int"),
    "contains": ("contains", True, "bool"),
    "startsWith": ("starts_with", True, "bool"),
    "endsWith": ("ends_with", True, "bool"),
    "matches": ("matches", True, "bool"),
    "int": ("to_int", False, "int"),
    "uint": ("to_uint", False, ""),
    "double": ("to_double", False, "float"),
    "string": ("to_string", True, "str"),
    "bool": ("to_bool", False, "bool"),
    "bytes": ("to_bytes", True, ""),
    "timestamp": ("to_timestamp", False, ""),
    "duration": ("to_duration", False, ""),
    "type": ("to_type", False, ""),
}


class Code(NamedTuple):
    """Python source of one expression, safe to put anywhere, and the exact class of its value if sure."""

    text: str
    kind: str = ""


class LiteralError(Exception):
    """A literal argument that can never work, found while generating."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


class Generator:
    """Writes one tree. Constants that source cannot spell are collected in ``constants``."""

    def __init__(self) -> None:
        self.constants: dict[str, Value] = {}

    def _constant(self, value: Value) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants[name] = value
        return name

    def _call(self, node: Expr, function: str, *arguments: str) -> str:
        return f"{MARK}{node.offset}{MARK_END}{function}({', '.join(arguments)})"

    def visit(self, node: Expr) -> Code:
        """Source of the value of ``node``."""
        match node:
            case Literal():
                return self._literal(node.value)
            case Name():
                return self._name(node)
            case TypeName():
                return Code(self._constant(TypeValue(node.name)))
            case Select():
                return self._select(node)
            case Index():
                return self._index(node)
            case Call():
                return self._function(node)
            case Unary():
                return self._unary(node)
            case Binary():
                return self._binary(node)
            case Logical():
                return self._logical(node)
            case Conditional():
                return self._conditional(node)
            case ListLiteral():
                return self._list_literal(node)
            case MapLiteral():
                return self._map_literal(node)
            case Macro():
                return self._macro(node)

    def _truth(self, node: Expr) -> str:
        """Source of a value that is True or False and nothing else."""
        code = self.visit(node)
        return code.text if code.kind == "bool" else self._call(node, "truth", code.text)

    # Values

    def _literal(self, value: Value) -> Code:
        if value is None or isinstance(value, bool):
            return Code(repr(value), "bool" if value is not None else "None")
        if isinstance(value, UInt) or (isinstance(value, float) and not isfinite(value)):
            return Code(self._constant(value))
        kind = type(value).__name__
        return Code(
            f"({value!r})" if kind in ("int", "float") else repr(value), kind if kind != "bytes" else ""
        )

    def _root(self, node: Expr) -> str:
        """Source of a value that is only looked into, not passed on."""
        if isinstance(node, Name) and node.slot in ("context", "event", "params"):
            return node.slot
        return self.visit(node).text

    def _name(self, node: Name) -> Code:
        if node.slot == "now":
            return Code("instant_of_ms(now_ms)")
        if node.slot == "input" or node.slot in OF_INSTANCES:
            return self._read(node, Code(self._field(node, "event", node.slot)))
        if node.slot in ("context", "event", "params"):
            # Passed on as a whole it becomes part of something else: weighed like anything embedded.
            return Code(f"embed({node.slot}, budget)")
        return self._read(node, Code(node.slot))

    def _read(self, node: Expr, code: Code) -> Code:
        """A value out of the data: a number declared ``number`` is a double, however it is written."""
        if node.type.kind == "double":
            return Code(f"read_double({code.text})")
        return code

    def _field(self, node: Expr, container: str, field: str) -> str:
        return self._call(node, "select", container, repr(field))

    def _select(self, node: Select) -> Code:
        if node.test:
            return Code(self._call(node, "has", self._root(node.operand), repr(node.field)), "bool")
        return self._read(node, Code(self._field(node, self._root(node.operand), node.field)))

    def _index(self, node: Index) -> Code:
        return self._read(
            node, Code(self._call(node, "index", self._root(node.operand), self.visit(node.key).text))
        )

    def _list_literal(self, node: ListLiteral) -> Code:
        elements = ", ".join(self.visit(element).text for element in node.elements)
        return Code(f"embed_all([{elements}], budget)", "list")

    def _map_literal(self, node: MapLiteral) -> Code:
        entries = [f"({self.visit(key).text}, {self.visit(value).text})" for key, value in node.entries]
        return Code(self._call(node, "build_map", f"[{', '.join(entries)}]", "budget"), "dict")

    # Operators

    def _unary(self, node: Unary) -> Code:
        operand = self.visit(node.operand).text
        if node.operator == "!":
            return Code(self._call(node, "invert", operand), "bool")
        return Code(self._call(node, "negate", operand))

    def _binary(self, node: Binary) -> Code:
        left = self.visit(node.left).text
        if node.operator == "in":
            return Code(self._call(node, "contained", left, self._root(node.right), "budget"), "bool")
        return self._operation(node, left, self.visit(node.right).text)

    def _operation(self, node: Binary, left: str, right: str) -> Code:
        """The operator's function called on operands that are source already."""
        comparison = _COMPARISONS.get(node.operator)
        if comparison is not None:
            return Code(self._call(node, comparison, left, right, "budget"), "bool")
        budget = ["budget"] if node.operator == "+" else []
        return Code(self._call(node, _ARITHMETIC[node.operator], left, right, *budget))

    def _logical(self, node: Logical) -> Code:
        terms = ", ".join(f"lambda: {self._truth(term)}" for term in node.terms)
        return Code(self._call(node, "decide", f"({terms})", str(node.operator == "||"), "budget"), "bool")

    def _conditional(self, node: Conditional) -> Code:
        test = self._truth(node.test)
        then, otherwise = self.visit(node.then), self.visit(node.otherwise)
        kind = then.kind if then.kind == otherwise.kind else ""
        return Code(f"({then.text} if {test} else {otherwise.text})", kind)

    # Functions and loops

    def _function(self, node: Call) -> Code:
        operands = node.arguments if node.receiver is None else [node.receiver, *node.arguments]
        if node.function == "dyn":
            return self._opaque(node)
        ready = self._literal_argument(node, operands)
        if ready is not None:
            return ready
        if node.function == "size":
            return Code(self._call(node, "size", self._root(operands[0])), "int")
        arguments = [self.visit(operand).text for operand in operands]
        if node.function in CALENDAR_FUNCTIONS:
            if len(arguments) > 1:
                zone_names()  # Read now: the first event that names a zone must not wait for it.
            zone = arguments[1] if len(arguments) > 1 else "None"
            field = self._call(node, "calendar_field", repr(node.function), arguments[0], zone, "budget")
            return Code(field, "int")
        helper, charged, kind = _CALLS[node.function]
        return Code(self._call(node, helper, *arguments, *(["budget"] if charged else [])), kind)

    def _opaque(self, node: Call) -> Code:
        """``dyn(x)``: x, but Python must not see a literal where it would warn of it."""
        argument = node.arguments[0]
        if isinstance(argument, Literal):
            return Code(self._constant(argument.value))
        return self.visit(argument)

    def _literal_argument(self, node: Call, operands: list[Expr]) -> Code | None:
        """Patterns, timestamps and durations written out are read once, here."""
        last = operands[-1].value if isinstance(operands[-1], Literal) else None
        if not isinstance(last, str):
            return None
        try:
            if node.function == "timestamp":
                return Code(self._constant(to_timestamp(last)))
            if node.function == "duration":
                return Code(self._constant(to_duration(last)))
            if node.function in CALENDAR_FUNCTIONS and len(operands) == 2:
                zone, moment = self._constant(zone_named(last)), self.visit(operands[0]).text
                field = self._call(node, "calendar_field", repr(node.function), moment, zone, "budget")
                return Code(field, "int")
            if node.function == "matches":
                pattern, text = self._constant(literal_pattern(last)), self.visit(operands[0]).text
                return Code(self._call(node, "matches_literal", text, pattern, "budget"), "bool")
        except EvaluationError as error:
            raise LiteralError(error.message, operands[-1].offset) from None
        return None

    def _macro(self, node: Macro) -> Code:
        source = self._root(node.source)
        functions: list[str] = []
        if node.predicate is not None:
            functions.append(f"lambda {node.slot}: {self._truth(node.predicate)}")
        if node.transform is not None:
            functions.append(f"lambda {node.slot}: {self.visit(node.transform).text}")
        helper = self._loop(node) if len(functions) == 1 else "filtered_mapped"
        kind = "list" if node.macro in ("filter", "map") else "bool"
        return Code(self._call(node, helper, source, *functions, str(cost_of_turn(node)), "budget"), kind)

    def _loop(self, node: Macro) -> str:
        return _LOOPS[node.macro]
