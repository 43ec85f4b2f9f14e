"""The tree an expression is parsed into.

Nodes are made by the parser and annotated once by the checker (``type``, ``slot``); after that nobody
changes them. ``offset`` is where the node's operator or first token stands in the text, ``depth`` the
height of the tree below it.
"""

from __future__ import annotations

from typing import TypeAlias

from durachart.expressions.types import Type
from durachart.expressions.values import Value


class Node:
    """A part of an expression."""

    __slots__ = ("depth", "offset", "type")

    def __init__(self, offset: int, depth: int) -> None:
        self.offset = offset
        self.depth = depth
        self.type = Type.DYN


class Literal(Node):
    """null, a bool, a number, a string or bytes."""

    __slots__ = ("value",)

    def __init__(self, offset: int, value: Value) -> None:
        super().__init__(offset, 1)
        self.value = value


class Name(Node):
    """A variable; ``slot`` is its name in the generated code, given by the checker."""

    __slots__ = ("name", "slot")

    def __init__(self, offset: int, name: str) -> None:
        super().__init__(offset, 1)
        self.name = name
        self.slot = ""


class TypeName(Node):
    """A type used as a value: ``int``, ``google.protobuf.Timestamp``. Made by the checker."""

    __slots__ = ("name",)

    def __init__(self, offset: int, name: str) -> None:
        super().__init__(offset, 1)
        self.name = name


class Select(Node):
    """``operand.field``; with ``test``, ``has(operand.field)``."""

    __slots__ = ("field", "operand", "test")

    def __init__(self, offset: int, operand: Expr, field: str, test: bool = False) -> None:
        super().__init__(offset, operand.depth + 1)
        self.operand = operand
        self.field = field
        self.test = test


class Index(Node):
    """``operand[key]``."""

    __slots__ = ("key", "operand")

    def __init__(self, offset: int, operand: Expr, key: Expr) -> None:
        super().__init__(offset, max(operand.depth, key.depth) + 1)
        self.operand = operand
        self.key = key


class Call(Node):
    """``function(arguments)`` or ``receiver.function(arguments)``."""

    __slots__ = ("arguments", "function", "receiver")

    def __init__(self, offset: int, function: str, receiver: Expr | None, arguments: list[Expr]) -> None:
        below = [argument.depth for argument in arguments]
        if receiver is not None:
            below.append(receiver.depth)
        super().__init__(offset, max(below, default=0) + 1)
        self.function = function
        self.receiver = receiver
        self.arguments = arguments


class Unary(Node):
    """``!operand`` or ``-operand``."""

    __slots__ = ("operand", "operator")

    def __init__(self, offset: int, operator: str, operand: Expr) -> None:
        super().__init__(offset, operand.depth + 1)
        self.operator = operator
        self.operand = operand


class Binary(Node):
    """Arithmetic, a comparison or ``in``."""

    __slots__ = ("left", "operator", "right")

    def __init__(self, offset: int, operator: str, left: Expr, right: Expr) -> None:
        super().__init__(offset, max(left.depth, right.depth) + 1)
        self.operator = operator
        self.left = left
        self.right = right


class Logical(Node):
    """Two or more ``terms`` joined by ``&&`` or by ``||``; grouping does not matter, so it is not kept."""

    __slots__ = ("operator", "terms")

    def __init__(self, offset: int, operator: str, terms: list[Expr]) -> None:
        super().__init__(offset, max(term.depth for term in terms) + 1)
        self.operator = operator
        self.terms = terms


class Conditional(Node):
    """``test ? then : otherwise``."""

    __slots__ = ("otherwise", "test", "then")

    def __init__(self, offset: int, test: Expr, then: Expr, otherwise: Expr) -> None:
        super().__init__(offset, max(test.depth, then.depth, otherwise.depth) + 1)
        self.test = test
        self.then = then
        self.otherwise = otherwise


class ListLiteral(Node):
    """``[elements]``."""

    __slots__ = ("elements",)

    def __init__(self, offset: int, elements: list[Expr]) -> None:
        super().__init__(offset, max((element.depth for element in elements), default=0) + 1)
        self.elements = elements


class MapLiteral(Node):
    """``{key: value, …}``."""

    __slots__ = ("entries",)

    def __init__(self, offset: int, entries: list[tuple[Expr, Expr]]) -> None:
        below = max((max(key.depth, value.depth) for key, value in entries), default=0)
        super().__init__(offset, below + 1)
        self.entries = entries


class Macro(Node):
    """``source.macro(variable, …)``: all, exists, exists_one, filter, map.

    ``predicate`` is None for a two-argument map, ``transform`` for everything but map.
    """

    __slots__ = ("macro", "predicate", "slot", "source", "transform", "variable")

    def __init__(
        self,
        offset: int,
        macro: str,
        source: Expr,
        variable: str,
        predicate: Expr | None,
        transform: Expr | None,
    ) -> None:
        below = [part.depth for part in (source, predicate, transform) if part is not None]
        super().__init__(offset, max(below) + 1)
        self.macro = macro
        self.source = source
        self.variable = variable
        self.predicate = predicate
        self.transform = transform
        self.slot = ""


Expr: TypeAlias = (
    Literal
    | Name
    | TypeName
    | Select
    | Index
    | Call
    | Unary
    | Binary
    | Logical
    | Conditional
    | ListLiteral
    | MapLiteral
    | Macro
)


def children(node: Expr) -> list[Expr]:
    """The parts evaluated once whenever the node is, as written: of a loop its source, not its body."""
    match node:
        case Select():
            return [node.operand]
        case Index():
            return [node.operand, node.key]
        case Call():
            return [*([] if node.receiver is None else [node.receiver]), *node.arguments]
        case Unary():
            return [node.operand]
        case Binary():
            return [node.left, node.right]
        case Logical():
            return node.terms
        case Conditional():
            return [node.test, node.then, node.otherwise]
        case ListLiteral():
            return node.elements
        case MapLiteral():
            return [part for entry in node.entries for part in entry]
        case Macro():
            return [node.source]
        case _:
            return []
