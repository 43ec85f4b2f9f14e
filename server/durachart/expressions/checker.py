"""Names and static types: what can be refused before an expression ever runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from typing import Final, Never

from durachart.expressions.errors import CompileError
from durachart.expressions.scope import VARIABLES, Scope
from durachart.expressions.signatures import FUNCTIONS, OPERATORS, TYPE_NAMES
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
from durachart.expressions.types import Type, accepts, fits, join
from durachart.expressions.values import TYPE_NAMES as CLASS_NAMES

_LITERAL_TYPES: Final = {
    "null_type": Type.NULL,
    "bool": Type.BOOL,
    "int": Type.INT,
    "uint": Type.UINT,
    "double": Type.DOUBLE,
    "string": Type.STRING,
    "bytes": Type.BYTES,
}
_KEY_KINDS: Final = ("dyn", "bool", "int", "uint", "string")


@dataclass(slots=True)
class Checked:
    """An annotated tree and what it reads."""

    root: Expr
    references: set[str] = field(default_factory=set)
    reads_event_payload: bool = False


def check(root: Expr, text: str, scope: Scope, expected: Type | None) -> Checked:
    """Resolve the names of ``root`` and give every node its static type.

    Args:
        root: The tree, annotated in place; nodes that turn out to be type names are replaced.
        text: What it was parsed from, for the errors.
        scope: Variables and their types.
        expected: Type the whole expression must have, or None.

    Raises:
        CompileError: Unknown variable, field or function, or operands that can never fit.
    """
    checker = _Checker(text, scope)
    checked = checker.checked
    checked.root = checker.visit(root)
    found = checked.root.type
    if expected is not None and not fits(expected, found):
        wanted, given, where = _misfit(expected, found)
        raise CompileError(
            f"the expression gives {given}{where}, but {wanted} is wanted here", text, _start(checked.root)
        )
    return checked


class _Checker:
    """One walk over one tree. ``visit`` returns the node to put in the place of its argument."""

    def __init__(self, text: str, scope: Scope) -> None:
        self.text = text
        self.scope = scope
        self.locals: list[tuple[str, str, Type]] = []
        self.slots = 0
        self.checked = Checked(Literal(0, None))

    def fail(self, message: str, node: Expr, hint: str | None = None) -> Never:
        raise CompileError(message, self.text, node.offset, hint)

    def visit(self, node: Expr) -> Expr:
        match node:
            case Literal():
                node.type = _LITERAL_TYPES[CLASS_NAMES[type(node.value)]]
            case Name():
                return self.visit_name(node)
            case Select():
                return self.visit_select(node)
            case Index():
                self.visit_index(node)
            case Call():
                self.visit_call(node)
            case Unary():
                self.visit_unary(node)
            case Binary():
                self.visit_binary(node)
            case Logical():
                node.terms = [self.visit_bool(term, f"`{node.operator}`") for term in node.terms]
                node.type = Type.BOOL
            case Conditional():
                self.visit_conditional(node)
            case ListLiteral():
                node.elements = [self.visit(element) for element in node.elements]
                node.type = Type.list_of(_common(element.type for element in node.elements))
            case MapLiteral():
                self.visit_map(node)
            case Macro():
                self.visit_macro(node)
        return node

    # Names and paths

    def visit_name(self, node: Name) -> Expr:
        resolved = self.resolve(node)
        if isinstance(resolved, Name) and not resolved.slot.startswith("local_"):
            self.refer(resolved.name)
        return resolved

    def resolve(self, node: Name) -> Expr:
        for name, slot, kind in reversed(self.locals):
            if name == node.name:
                node.slot, node.type = slot, kind
                return node
        known = self.scope.variables
        if node.name in known:
            node.slot, node.type = node.name, known[node.name]
            return node
        if node.name in TYPE_NAMES:
            return _type_value(node.offset, node.name)
        names = [*known, *(name for name, _, _ in self.locals)]
        hint = _did_you_mean(node.name, names)
        if hint is None and node.name in VARIABLES:
            hint = f"`{node.name}` does not exist here; there are {', '.join(names)}"
        return self.fail(f"unknown variable `{node.name}`", node, hint or f"there are {', '.join(names)}")

    def visit_select(self, node: Select) -> Expr:
        """A path of fields is taken as a whole, because it is what gets referred to."""
        path: list[Select] = [node]
        base: Expr = node.operand
        while isinstance(base, Select) and not base.test:
            path.append(base)
            base = base.operand
        path.reverse()
        if isinstance(base, Name):
            qualified = ".".join([base.name, *(step.field for step in path)])
            if qualified in TYPE_NAMES and not self.is_variable(base.name) and not node.test:
                return _type_value(base.offset, qualified)
            base = self.resolve(base)
            if isinstance(base, Name) and not base.slot.startswith("local_"):
                self.refer(base.name, *(step.field for step in path))
        else:
            base = self.visit(base)
        for step in path:
            step.operand = base
            step.type = Type.BOOL if step.test else self.field_type(base.type, step)
            if step.test:
                self.field_type(base.type, step)
            base = step
        return node

    def is_variable(self, name: str) -> bool:
        return name in self.scope.variables or any(name == local for local, _, _ in self.locals)

    def field_type(self, operand: Type, node: Select) -> Type:
        if operand.kind == "object":
            if node.field in operand.fields:
                return operand.fields[node.field]
            if operand.rest is None:
                hint = _did_you_mean(node.field, operand.fields) or "declare it in the schema"
                self.fail(f"unknown field `{node.field}`", node, hint)
            return operand.rest
        if operand.kind == "map":
            return operand.parameters[1]
        if operand.kind != "dyn":
            self.fail(f"{operand} has no fields, so `{node.field}` cannot be selected", node)
        return Type.DYN

    def refer(self, variable: str, *fields: str) -> None:
        """Note that ``variable.fields…`` is read."""
        if variable == "input":
            variable, fields = "event", ("input", *fields)
        self.checked.references.add(".".join([variable, *fields]))
        if variable == "event" and fields[:1] != ("type",):
            self.checked.reads_event_payload = True

    def visit_index(self, node: Index) -> None:
        literal_key = node.key.value if isinstance(node.key, Literal) else None
        if isinstance(literal_key, str) and isinstance(node.operand, Name | Select):
            # x["field"] is x.field in another spelling: same path, same check.
            probe = Select(node.offset, node.operand, literal_key)
            if self.visit_select(probe) is not probe:
                self.fail("a type cannot be indexed", node)
            node.operand, node.type = probe.operand, probe.type
            node.key = self.visit(node.key)
            return
        node.operand = self.visit(node.operand)
        node.key = self.visit(node.key)
        operand, key = node.operand.type, node.key.type
        if operand.kind == "list":
            if key.kind not in ("dyn", "int", "uint", "double"):
                self.fail(f"a list is indexed by int, not by {key}", node)
            node.type = operand.parameters[0]
        elif operand.kind == "map":
            if not _keys_meet(operand.parameters[0], key):
                self.fail(f"{operand} has no keys of type {key}", node)
            node.type = operand.parameters[1]
        elif operand.kind == "object":
            if not accepts(Type.STRING, key):
                self.fail(f"an object's keys are strings, not {key}", node)
        elif operand.kind != "dyn":
            self.fail(f"{operand} cannot be indexed", node)

    # Operators and functions

    def visit_bool(self, node: Expr, where: str) -> Expr:
        node = self.visit(node)
        if not accepts(Type.BOOL, node.type):
            self.fail(f"{where} wants bool, not {node.type}", node, "compare it with something")
        return node

    def visit_unary(self, node: Unary) -> None:
        node.operand = self.visit(node.operand)
        kind = node.operand.type.kind
        wanted = ("dyn", "bool") if node.operator == "!" else ("dyn", "int", "double")
        if kind not in wanted:
            self.fail(f"`{node.operator}` cannot be applied to {node.operand.type}", node)
        if kind != "dyn":
            node.type = Type(kind)
        elif node.operator == "!":
            node.type = Type.BOOL

    def visit_binary(self, node: Binary) -> None:
        node.left, node.right = self.visit(node.left), self.visit(node.right)
        left, right = node.left.type, node.right.type
        if node.operator in ("==", "!="):
            if not accepts(left, right):
                self.no_overload(node, left, right)
            node.type = Type.BOOL
        elif node.operator == "in":
            self.check_membership(node, left, right)
        else:
            result = _operator_type(node.operator, left.kind, right.kind)
            if result is None or (left.kind == right.kind == "list" and not accepts(left, right)):
                self.no_overload(node, left, right)
            node.type = result
            if node.type.kind == "list":
                node.type = join(left, right)

    def check_membership(self, node: Binary, left: Type, right: Type) -> None:
        node.type = Type.BOOL
        if right.kind == "dyn":
            return
        if right.kind == "list":
            fits = accepts(right.parameters[0], left)
        elif right.kind == "map":
            fits = _keys_meet(right.parameters[0], left)
        else:
            fits = right.kind == "object" and accepts(Type.STRING, left)
        if not fits:
            self.no_overload(node, left, right)

    def no_overload(self, node: Binary, left: Type, right: Type) -> Never:
        hint: str | None = None
        kinds = {left.kind, right.kind}
        if kinds == {"int", "double"}:
            values = [side.value for side in (node.left, node.right) if isinstance(side, Literal)]
            whole = next((value for value in values if type(value) is int), None)
            hint = "convert one side with double() or int()"
            if whole is not None:
                hint = f"the other side is a double: write {whole}.0"
        elif kinds == {"google.protobuf.Timestamp", "string"}:
            hint = "convert the string with timestamp()"
        elif kinds == {"google.protobuf.Duration", "string"}:
            hint = "convert the string with duration()"
        elif "string" in kinds and node.operator == "+":
            hint = "convert the other side with string()"
        self.fail(f"`{node.operator}` cannot be applied to {left} and {right}", node, hint)

    def visit_conditional(self, node: Conditional) -> None:
        node.test = self.visit_bool(node.test, "the condition before `?`")
        node.then, node.otherwise = self.visit(node.then), self.visit(node.otherwise)
        first, second = node.then.type, node.otherwise.type
        either_null = "null_type" in (first.kind, second.kind)
        if not either_null and not accepts(first, second) and not accepts(second, first):
            self.fail(f"`?:` gives {first} or {second}; both must be of one type", node, "wrap one in dyn()")
        node.type = join(first, second)

    def visit_call(self, node: Call) -> None:
        name = node.function
        overloads = FUNCTIONS.get(name)
        if node.receiver is not None:
            node.receiver = self.visit(node.receiver)
        node.arguments = [self.visit(argument) for argument in node.arguments]
        if overloads is None:
            self.fail(f"unknown function `{name}`", node, _did_you_mean(name, [*FUNCTIONS, "has"]))
        receiver = None if node.receiver is None else node.receiver.type
        given = [argument.type for argument in node.arguments]
        results = [
            overload.result
            for overload in overloads
            if (overload.receiver is None) == (receiver is None)
            and (overload.receiver is None or receiver is None or accepts(overload.receiver, receiver))
            and len(overload.arguments) == len(given)
            and all(accepts(wanted, found) for wanted, found in zip(overload.arguments, given, strict=True))
        ]
        if not results:
            shown = ", ".join(str(kind) for kind in given)
            called = f"{receiver}.{name}({shown})" if receiver is not None else f"{name}({shown})"
            self.fail(f"`{name}` cannot be called as {called}", node, _usage(name))
        node.type = _common(results)

    # Literals and loops

    def visit_map(self, node: MapLiteral) -> None:
        node.entries = [(self.visit(key), self.visit(value)) for key, value in node.entries]
        for key, _ in node.entries:
            if key.type.kind not in _KEY_KINDS:
                self.fail(f"{key.type} cannot be a map's key", key, "keys are string, int, uint or bool")
        keys = _common(key.type for key, _ in node.entries)
        node.type = Type.map_of(keys, _common(value.type for _, value in node.entries))

    def visit_macro(self, node: Macro) -> None:
        node.source = self.visit(node.source)
        source = node.source.type
        if source.kind not in ("dyn", "list", "map", "object"):
            self.fail(f"{node.macro}() loops over a list or a map, not over {source}", node)
        self.slots += 1
        node.slot = f"local_{self.slots}"
        self.locals.append((node.variable, node.slot, source.element))
        if node.predicate is not None:
            node.predicate = self.visit_bool(node.predicate, f"{node.macro}()")
        if node.transform is not None:
            node.transform = self.visit(node.transform)
        self.locals.pop()
        if node.macro == "map" and node.transform is not None:
            node.type = Type.list_of(node.transform.type)
        elif node.macro == "filter":
            node.type = Type.list_of(source.element)
        else:
            node.type = Type.BOOL


@cache
def _operator_type(operator: str, left: str, right: str) -> Type | None:
    """What the operator gives for operands of these kinds, or None; elements of lists are not looked at."""
    results = [
        result
        for first, second, result in OPERATORS[operator]
        if left in (first.kind, "dyn") and right in (second.kind, "dyn")
    ]
    return _common(results) if results else None


def _misfit(wanted: Type, given: Type) -> tuple[Type, Type, str]:
    """The part of two types in which they differ, and words for which part."""
    path = ""
    while wanted.kind == given.kind == "object":
        name = next(
            name
            for name, field in wanted.fields.items()
            if name in given.fields and not fits(field, given.fields[name])
        )
        path += f".{name}"
        wanted, given = wanted.fields[name], given.fields[name]
    return wanted, given, f" for `{path[1:]}`" if path else ""


def _type_value(offset: int, name: str) -> TypeName:
    node = TypeName(offset, name)
    node.type = Type.TYPE
    return node


def _common(types: Iterable[Type]) -> Type:
    """The one type of them all, or ``dyn``."""
    result: Type | None = None
    for kind in types:
        result = kind if result is None else join(result, kind)
    return result or Type.DYN


def _keys_meet(declared: Type, given: Type) -> bool:
    """Whether a map with ``declared`` keys can be asked for a ``given`` one: numbers meet across types."""
    numbers = ("int", "uint", "double")
    return accepts(declared, given) or (declared.kind in numbers and given.kind in numbers)


def _did_you_mean(name: str, known: Iterable[str]) -> str | None:
    names = sorted(known)
    lowered = {candidate.lower(): candidate for candidate in names}
    close = get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    return f"did you mean `{lowered[close[0]]}`?" if close else None


def _usage(name: str) -> str:
    forms = []
    for overload in FUNCTIONS[name][:4]:
        shown = ", ".join(str(argument) for argument in overload.arguments)
        forms.append(f"{overload.receiver}.{name}({shown})" if overload.receiver else f"{name}({shown})")
    return "it is called as " + ", ".join(forms)


def _start(node: Expr) -> int:
    """Offset of the leftmost part of ``node``, where a reader looks for it."""
    while True:
        match node:
            case Binary():
                node = node.left
            case Select() | Index():
                node = node.operand
            case Conditional():
                node = node.test
            case Logical():
                node = node.terms[0]
            case Macro():
                node = node.source
            case Call() if node.receiver is not None:
                node = node.receiver
            case _:
                return node.offset
