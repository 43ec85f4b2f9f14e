"""A checked tree as Python source that takes short cuts.

What runs first. It handles the common classes in place, and where it returns, it returns what the
complete rules would. Where anything is amiss, it raises whatever Python raises, and the evaluation is
done again by the book (``codegen``), which knows the rule, the place and the sentence.

Names ``t1``, ``t2``, … hold operands that are used twice.
"""

from __future__ import annotations

from typing import Final

from durachart.expressions.codegen import Code, Generator
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
    Unary,
)
from durachart.expressions.types import Type
from durachart.expressions.values import INT_MAX, INT_MIN, Value

_LOOPS: Final = {
    "all": "all_of",
    "exists": "any_of",
    "exists_one": "one_of",
    "filter": "filtered",
    "map": "mapped",
}
_ORDER: Final = frozenset({"<", "<=", ">", ">="})
_PLAIN_KINDS: Final = frozenset({"int", "bool", "str", "None"})
_SHORT_TEXT: Final = 32
_SHORT_LIST: Final = 16


class FastGenerator(Generator):
    """Writes one tree with short cuts."""

    def __init__(self) -> None:
        super().__init__()
        self.temporaries = 0

    def _temporary(self) -> str:
        self.temporaries += 1
        return f"t{self.temporaries}"

    def _call(self, node: Expr, function: str, *arguments: str) -> str:
        return f"{function}({', '.join(arguments)})"

    def result(self, node: Expr, expected: Type | None) -> str:
        """Source of the whole expression's value as JSON, of the type wanted."""
        if isinstance(node, Conditional) and expected is None:
            test = self._truth(node.test)
            return f"({self.result(node.then, None)} if {test} else {self.result(node.otherwise, None)})"
        if expected is not None and expected.kind == "bool" and not expected.nullable:
            return self._truth(node)
        if isinstance(node, Binary) and expected is None and self._is_integer_work(node):
            return self._integer_work(node, finished=True).text
        code = self.visit(node)
        text = code.text
        if expected is not None and expected.kind not in ("dyn", code.kind):
            if expected.kind == "int":
                held = self._temporary()
                slow = f"finish(expect({held}, expected), budget)"
                return f"({held} if type({held} := {text}) is int else {slow})"
            text = f"expect({text}, expected)"
        if code.kind not in _PLAIN_KINDS and not stays_json(node, frozenset()):
            text = f"finish({text}, budget)"
        return text

    def _truth(self, node: Expr) -> str:
        code = self.visit(node)
        if code.kind == "bool":
            return code.text
        held = self._temporary()
        return f"({held} if ({held} := {code.text}) is True or {held} is False else truth({held}))"

    # Values

    def _read(self, node: Expr, code: Code) -> Code:
        if node.type.kind != "double":
            return code
        held = self._temporary()
        return Code(f"({held} if type({held} := {code.text}) is float else read_double({held}))")

    def _field(self, node: Expr, container: str, field: str) -> str:
        # Only a dict can be asked for a str without raising.
        return f"{container}[{field!r}]"

    def _select(self, node: Select) -> Code:
        operand = node.operand
        if node.test:
            if isinstance(operand, Name) and operand.slot in ("context", "event", "params"):
                return Code(f"({node.field!r} in {operand.slot})", "bool")
            held = self._temporary()
            test = f"{node.field!r} in {held} if type({held} := {self.visit(operand).text}) is dict"
            return Code(f"({test} else has({held}, {node.field!r}))", "bool")
        if isinstance(operand, Name | Select | Index):
            return super()._select(node)
        return self._read(node, Code(f"select({self.visit(operand).text}, {node.field!r})"))

    def _index(self, node: Index) -> Code:
        container, key = self._root(node.operand), self.visit(node.key)
        literal = node.key.value if isinstance(node.key, Literal) else None
        if not isinstance(node.operand, Name | Select | Index):
            return self._read(node, Code(f"index({container}, {key.text})"))
        if isinstance(literal, str):
            return self._read(node, Code(f"{container}[{literal!r}]"))
        held, position = self._temporary(), self._temporary()
        if type(literal) is int and literal >= 0:
            text = f"({held}[{literal}] if type({held} := {container}) is list else index({held}, {literal}))"
        else:
            # Both operands are evaluated before either is tested.
            asked = f"(type({held} := {container}) is dict) & (type({position} := {key.text}) is str)"
            text = f"({held}[{position}] if {asked} else index({held}, {position}))"
        return self._read(node, Code(text))

    def _embedded(self, node: Expr) -> str:
        """Source of a value put into a list or map: short text and small numbers cost nothing."""
        code = self.visit(node)
        if code.kind in ("int", "bool", "float", "None") or (
            isinstance(node, Literal) and isinstance(node.value, str) and len(node.value) < _SHORT_TEXT
        ):
            return code.text
        held = self._temporary()
        short = f"type({held} := {code.text}) is int or type({held}) is str and len({held}) < {_SHORT_TEXT}"
        return f"({held} if {short} else embed({held}, budget))"

    def _list_literal(self, node: ListLiteral) -> Code:
        return Code(f"[{', '.join(self._embedded(element) for element in node.elements)}]", "list")

    def _map_literal(self, node: MapLiteral) -> Code:
        keys = [
            key.value for key, _ in node.entries if isinstance(key, Literal) and isinstance(key.value, str)
        ]
        if len(set(keys)) < len(node.entries):
            return super()._map_literal(node)
        entries = (
            f"{key!r}: {self._embedded(value)}" for key, (_, value) in zip(keys, node.entries, strict=True)
        )
        return Code("{" + ", ".join(entries) + "}", "dict")

    # Operators

    def _unary(self, node: Unary) -> Code:
        operand = self.visit(node.operand)
        held = self._temporary()
        if node.operator == "!":
            if operand.kind == "bool":
                return Code(f"(not {operand.text})", "bool")
            test = f"({held} := {operand.text}) is False or {held} is True"
            return Code(f"({held} is False if {test} else invert({held}))", "bool")
        return Code(f"negate({operand.text})")

    def _binary(self, node: Binary) -> Code:
        operator = node.operator
        if operator in ("==", "!="):
            return self._equality(node)
        if operator == "in":
            return self._membership(node)
        if operator in _ORDER:
            return self._order(node)
        if self._is_integer_work(node):
            return self._integer_work(node)
        if operator == "+" and isinstance(node.right, ListLiteral) and node.right.elements:
            return self._append(node)
        if "double" in (node.left.type.kind, node.right.type.kind) and operator in "+-*":
            return self._when_both(node, "float", f"{{}} {operator} {{}}", "")
        return super()._binary(node)

    def _when_both(self, node: Binary, kind: str, form: str, result: str) -> Code:
        """``form`` of the operands if both are of class ``kind``, else the operator's function."""
        left, right = self.visit(node.left), self.visit(node.right)
        first, second = self._temporary(), self._temporary()
        if right.kind == kind and isinstance(node.right, Literal):
            test, second = f"type({first} := {left.text}) is {kind}", right.text
        elif left.kind == kind and isinstance(node.left, Literal):
            test, first = f"type({second} := {right.text}) is {kind}", left.text
        else:
            test = f"type({first} := {left.text}) is type({second} := {right.text}) is {kind}"
        slow = self._operation(node, first, second)
        return Code(f"({form.format(first, second)} if {test} else {slow.text})", result)

    def _order(self, node: Binary) -> Code:
        kinds = (node.left.type.kind, node.right.type.kind)
        if "string" in kinds or "google.protobuf.Timestamp" in kinds or "google.protobuf.Duration" in kinds:
            return super()._binary(node)
        return self._when_both(
            node, "float" if "double" in kinds else "int", f"{{}} {node.operator} {{}}", "bool"
        )

    def _equality(self, node: Binary) -> Code:
        left, right = node.left, node.right
        if isinstance(left, Literal) and not isinstance(right, Literal):
            left, right = right, left
        if isinstance(right, Literal):
            value = right.value
            if value is None or isinstance(value, bool):
                same = "is" if node.operator == "==" else "is not"
                return Code(f"({self._opaque_text(left)} {same} {value})", "bool")
            if _compares_alike(value):
                return Code(f"({self.visit(left).text} {node.operator} {value!r})", "bool")
        return self._when_both(node, "int", f"{{}} {node.operator} {{}}", "bool")

    def _opaque_text(self, node: Expr) -> str:
        """Source that Python does not take for a literal, which it would warn of beside ``is``."""
        if isinstance(node, Literal | ListLiteral | MapLiteral):
            return f"opaque({self.visit(node).text})"
        return self.visit(node).text

    def _membership(self, node: Binary) -> Code:
        if isinstance(node.right, ListLiteral) and node.right.elements:
            values = [element.value for element in node.right.elements if isinstance(element, Literal)]
            short = len(values) == len(node.right.elements) <= _SHORT_LIST
            if short and all(_compares_alike(value) for value in values):
                return Code(f"({self.visit(node.left).text} in ({', '.join(map(repr, values))},))", "bool")
        return super()._binary(node)

    def _is_integer_work(self, node: Binary) -> bool:
        """Whether + - * % have int operands as far as anyone knows."""
        if node.operator == "%":
            divisor = node.right.value if isinstance(node.right, Literal) else None
            return type(divisor) is int and divisor > 0
        if node.operator not in ("+", "-", "*") or isinstance(node.right, ListLiteral | MapLiteral):
            return False
        return all(side.type.kind in ("int", "dyn") for side in (node.left, node.right))

    def _integer_work(self, node: Binary, *, finished: bool = False) -> Code:
        """Arithmetic with the int case in place; ``finished`` makes any other result JSON."""
        left, right = self.visit(node.left), self.visit(node.right)
        first, second, held = self._temporary(), self._temporary(), self._temporary()
        if isinstance(node.right, Literal):
            test, second = f"type({first} := {left.text}) is int", right.text
        else:
            test = f"type({first} := {left.text}) is type({second} := {right.text}) is int"
        slow = self._operation(node, first, second).text
        if finished:
            slow = f"finish({slow}, budget)"
        if node.operator == "%":
            return Code(f"({first} % {second} if {test} and {first} >= 0 else {slow})")
        bounded = f"{INT_MIN} <= ({held} := {first} {node.operator} {second}) <= {INT_MAX}"
        return Code(f"({held} if {test} and {bounded} else {slow})")

    def _append(self, node: Binary) -> Code:
        """``list + [elements]``: a short list is copied without asking anyone."""
        held, added = self._temporary(), self._temporary()
        slow = self._operation(node, held, added).text
        # The elements come first, so that both branches have them.
        both = f"({added} := {self.visit(node.right).text}) and type({held} := {self.visit(node.left).text})"
        return Code(
            f"({held} + {added} if {both} is list and len({held}) < {_SHORT_LIST} else {slow})", "list"
        )

    def _logical(self, node: Logical) -> Code:
        word = " or " if node.operator == "||" else " and "
        return Code(f"({word.join(self._truth(term) for term in node.terms)})", "bool")

    def _function(self, node: Call) -> Code:
        if node.function == "size":
            operand = node.arguments[0] if node.receiver is None else node.receiver
            held = self._temporary()
            sized = f"type({held} := {self._root(operand)}) is list or type({held}) is str"
            return Code(f"(len({held}) if {sized} else size({held}))", "int")
        return super()._function(node)

    def _loop(self, node: Macro) -> str:
        return _LOOPS[node.macro]


def _compares_alike(value: Value) -> bool:
    """Whether Python's ``==`` with ``value`` is CEL's: a str, or an int that no bool equals."""
    return type(value) is str or (type(value) is int and value not in (0, 1))


def stays_json(node: Expr, safe: frozenset[str]) -> bool:
    """Whether the value is JSON whenever the data is; ``safe`` are loop variables over such data."""
    match node:
        case Literal():
            return type(node.value) in (int, str, bool, type(None))
        case Name():
            return node.slot in ("context", "event", "params", "input") or node.slot in safe
        case Select():
            return node.test or stays_json(node.operand, safe)
        case Index():
            return stays_json(node.operand, safe)
        case Unary():
            return node.operator == "!"
        case Logical():
            return True
        case Binary():
            if node.operator == "+":
                lists = any(side.type.kind == "list" for side in (node.left, node.right))
                return lists and stays_json(node.left, safe) and stays_json(node.right, safe)
            return node.operator in _ORDER or node.operator in ("==", "!=", "in")
        case Conditional():
            return stays_json(node.then, safe) and stays_json(node.otherwise, safe)
        case ListLiteral():
            return all(stays_json(element, safe) for element in node.elements)
        case MapLiteral():
            return all(key.type.kind == "string" and stays_json(value, safe) for key, value in node.entries)
        case Macro():
            source_safe = stays_json(node.source, safe)
            if node.macro == "filter":
                return source_safe
            inner = safe | {node.slot} if source_safe else safe
            return node.transform is None or stays_json(node.transform, inner)
        case _:
            return False
