"""A checked tree as Python source, by the book.

:class:`Generator` writes every operation as a call of the function that holds its complete rules, and keeps
for each line the place in the expression it came from, so that an error knows where it happened.
``fastpath`` derives from it what runs first. No text of the expression enters the source but
through ``repr`` of its literals and field names.
"""

from __future__ import annotations

from math import isfinite
from typing import Final, NamedTuple

from durachart.expressions.errors import EvaluationError
from durachart.expressions.functions import to_duration, to_timestamp
from durachart.expressions.patterns import Pattern, literal_pattern
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
    children,
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


class LiteralProblem(Exception):
    """A literal argument that can never work, found while generating."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


class Generator:
    """Writes one tree. Constants that source cannot spell are collected in ``constants``."""

    def __init__(self) -> None:
        self.constants: dict[str, Value] = {}

    def constant(self, value: Value) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants[name] = value
        return name

    def call(self, node: Expr, function: str, *arguments: str) -> str:
        return f"{MARK}{node.offset}{MARK_END}{function}({', '.join(arguments)})"

    def visit(self, node: Expr) -> Code:
        match node:
            case Literal():
                return self.literal(node.value)
            case Name():
                return self.name(node)
            case TypeName():
                return Code(self.constant(TypeValue(node.name)))
            case Select():
                return self.select(node)
            case Index():
                return self.index(node)
            case Call():
                return self.function(node)
            case Unary():
                return self.unary(node)
            case Binary():
                return self.binary(node)
            case Logical():
                return self.logical(node)
            case Conditional():
                return self.conditional(node)
            case ListLiteral():
                return self.list_literal(node)
            case MapLiteral():
                return self.map_literal(node)
            case Macro():
                return self.macro(node)

    def truth(self, node: Expr) -> str:
        """Source of a value that is True or False and nothing else."""
        code = self.visit(node)
        return code.text if code.kind == "bool" else self.call(node, "truth", code.text)

    # Values

    def literal(self, value: Value) -> Code:
        if value is None or isinstance(value, bool):
            return Code(repr(value), "bool" if value is not None else "None")
        if isinstance(value, UInt) or (isinstance(value, float) and not isfinite(value)):
            return Code(self.constant(value))
        kind = type(value).__name__
        return Code(f"({value!r})" if kind in ("int", "float") else repr(value), kind if kind != "bytes" else "")

    def root(self, node: Expr) -> str:
        """Source of a value that is only looked into, not passed on."""
        if isinstance(node, Name) and node.slot in ("context", "event", "params"):
            return node.slot
        return self.visit(node).text

    def name(self, node: Name) -> Code:
        if node.slot == "now":
            return Code("instant_of_ms(now_ms)")
        if node.slot == "input":
            return Code(self.field(node, "event", "input"))
        if node.slot in ("context", "event", "params"):
            # Passed on as a whole it becomes part of something else: weighed like anything embedded.
            return Code(f"embed({node.slot}, budget)")
        return self.read(node, Code(node.slot))

    def read(self, node: Expr, code: Code) -> Code:
        """A value out of the data: a number declared ``number`` is a double, however it is written."""
        if node.type.kind == "double":
            return Code(f"read_double({code.text})")
        return code

    def field(self, node: Expr, container: str, field: str) -> str:
        return self.call(node, "select", container, repr(field))

    def select(self, node: Select) -> Code:
        if node.test:
            return Code(self.call(node, "has", self.root(node.operand), repr(node.field)), "bool")
        return self.read(node, Code(self.field(node, self.root(node.operand), node.field)))

    def index(self, node: Index) -> Code:
        return self.read(node, Code(self.call(node, "index", self.root(node.operand), self.visit(node.key).text)))

    def list_literal(self, node: ListLiteral) -> Code:
        elements = ", ".join(self.visit(element).text for element in node.elements)
        return Code(f"embed_all([{elements}], budget)", "list")

    def map_literal(self, node: MapLiteral) -> Code:
        entries = [f"({self.visit(key).text}, {self.visit(value).text})" for key, value in node.entries]
        return Code(self.call(node, "build_map", f"[{', '.join(entries)}]", "budget"), "dict")

    # Operators

    def unary(self, node: Unary) -> Code:
        operand = self.visit(node.operand).text
        if node.operator == "!":
            return Code(self.call(node, "invert", operand), "bool")
        return Code(self.call(node, "negate", operand))

    def binary(self, node: Binary) -> Code:
        left = self.visit(node.left).text
        if node.operator == "in":
            return Code(self.call(node, "contained", left, self.root(node.right), "budget"), "bool")
        return self.operation(node, left, self.visit(node.right).text)

    def operation(self, node: Binary, left: str, right: str) -> Code:
        """The operator's function called on operands that are source already."""
        comparison = _COMPARISONS.get(node.operator)
        if comparison is not None:
            return Code(self.call(node, comparison, left, right, "budget"), "bool")
        budget = ["budget"] if node.operator == "+" else []
        return Code(self.call(node, _ARITHMETIC[node.operator], left, right, *budget))

    def logical(self, node: Logical) -> Code:
        terms = ", ".join(f"lambda: {self.truth(term)}" for term in node.terms)
        return Code(self.call(node, "decide", f"({terms})", str(node.operator == "||")), "bool")

    def conditional(self, node: Conditional) -> Code:
        test = self.truth(node.test)
        then, otherwise = self.visit(node.then), self.visit(node.otherwise)
        kind = then.kind if then.kind == otherwise.kind else ""
        return Code(f"({then.text} if {test} else {otherwise.text})", kind)

    # Functions and loops

    def function(self, node: Call) -> Code:
        operands = node.arguments if node.receiver is None else [node.receiver, *node.arguments]
        if node.function == "dyn":
            return self.opaque(node)
        ready = self.literal_argument(node, operands)
        if ready is not None:
            return ready
        if node.function == "size":
            return Code(self.call(node, "size", self.root(operands[0])), "int")
        arguments = [self.visit(operand).text for operand in operands]
        if node.function not in _CALLS:
            zone = arguments[1] if len(arguments) > 1 else "None"
            field = self.call(node, "calendar_field", repr(node.function), arguments[0], zone, "budget")
            return Code(field, "int")
        helper, charged, kind = _CALLS[node.function]
        return Code(self.call(node, helper, *arguments, *(["budget"] if charged else [])), kind)

    def opaque(self, node: Call) -> Code:
        """``dyn(x)``: x, but Python must not see a literal where it would warn of it."""
        argument = node.arguments[0]
        if isinstance(argument, Literal):
            return Code(self.constant(argument.value))
        return self.visit(argument)

    def literal_argument(self, node: Call, operands: list[Expr]) -> Code | None:
        """Patterns, timestamps and durations written out are read once, here."""
        last = operands[-1].value if isinstance(operands[-1], Literal) else None
        if not isinstance(last, str):
            return None
        try:
            if node.function == "timestamp":
                return Code(self.constant(to_timestamp(last)))
            if node.function == "duration":
                return Code(self.constant(to_duration(last)))
            if node.function == "matches":
                pattern: Pattern = literal_pattern(last)
                text = self.visit(operands[0]).text
                return Code(self.call(node, "matches_literal", text, self.constant(pattern), "budget"), "bool")
        except EvaluationError as error:
            raise LiteralProblem(error.message, operands[-1].offset) from None
        return None

    def macro(self, node: Macro) -> Code:
        source = self.root(node.source)
        functions: list[str] = []
        cost = 1
        if node.predicate is not None:
            functions.append(f"lambda {node.slot}: {self.truth(node.predicate)}")
            cost += nodes_of(node.predicate)
        if node.transform is not None:
            functions.append(f"lambda {node.slot}: {self.visit(node.transform).text}")
            cost += nodes_of(node.transform)
        helper = self.loop(node) if len(functions) == 1 else "filtered_mapped"
        kind = "list" if node.macro in ("filter", "map") else "bool"
        return Code(self.call(node, helper, source, *functions, str(cost), "budget"), kind)

    def loop(self, node: Macro) -> str:
        return _LOOPS[node.macro]


def nodes_of(node: Expr) -> int:
    """How many nodes a tree has: its static cost in units."""
    return 1 + sum(nodes_of(child) for child in children(node))
