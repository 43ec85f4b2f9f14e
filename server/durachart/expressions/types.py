"""Static types: what the checker knows of a value before there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import ClassVar, Final


def _no_fields() -> Mapping[str, Type]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Type:
    """The type of an expression or a variable.

    ``kind`` is a CEL type name, ``dyn`` (nothing known), or ``object`` for a map whose fields a JSON
    Schema declares. ``parameters`` are a list's element, or a map's key and value. An object's
    ``rest`` is the type of fields not declared; None means there are none (the object is closed).
    ``nullable``: null as well.
    """

    kind: str
    parameters: tuple[Type, ...] = ()
    fields: Mapping[str, Type] = field(default_factory=_no_fields, hash=False)
    rest: Type | None = None
    nullable: bool = False

    DYN: ClassVar[Type]
    NULL: ClassVar[Type]
    BOOL: ClassVar[Type]
    INT: ClassVar[Type]
    UINT: ClassVar[Type]
    DOUBLE: ClassVar[Type]
    STRING: ClassVar[Type]
    BYTES: ClassVar[Type]
    TIMESTAMP: ClassVar[Type]
    DURATION: ClassVar[Type]
    TYPE: ClassVar[Type]

    @staticmethod
    def list_of(element: Type) -> Type:
        """The type of lists of ``element``."""
        return Type("list", (element,))

    @staticmethod
    def map_of(key: Type, value: Type) -> Type:
        """The type of maps from ``key`` to ``value``."""
        return Type("map", (key, value))

    @staticmethod
    def object_of(fields: Mapping[str, Type], rest: Type | None) -> Type:
        """The type of an object with ``fields``; others have type ``rest``, or do not exist if None."""
        return Type("object", (), MappingProxyType(dict(fields)), rest)

    def or_null(self) -> Type:
        """This type with null added."""
        return self if self.nullable or self.kind in ("dyn", "null_type") else replace(self, nullable=True)

    @property
    def element(self) -> Type:
        """What iterating over a value of this type gives: elements of a list, keys of a map."""
        if self.kind == "object":
            return Type.STRING
        return self.parameters[0] if self.parameters else Type.DYN

    def __str__(self) -> str:
        name = _SHORT_NAMES.get(self.kind, self.kind)
        if self.parameters:
            name += "(" + ", ".join(str(parameter) for parameter in self.parameters) + ")"
        return f"{name} or null" if self.nullable else name


_SHORT_NAMES: Final = {
    "null_type": "null",
    "google.protobuf.Timestamp": "timestamp",
    "google.protobuf.Duration": "duration",
}

Type.DYN = Type("dyn")
Type.NULL = Type("null_type")
Type.BOOL = Type("bool")
Type.INT = Type("int")
Type.UINT = Type("uint")
Type.DOUBLE = Type("double")
Type.STRING = Type("string")
Type.BYTES = Type("bytes")
Type.TIMESTAMP = Type("google.protobuf.Timestamp")
Type.DURATION = Type("google.protobuf.Duration")
Type.TYPE = Type("type")


def accepts(declared: Type, given: Type) -> bool:
    """Whether a value of static type ``given`` may stand where ``declared`` is wanted.

    Lenient towards ``dyn`` in either place, as CEL's checker is: what is not known is checked when
    the expression runs.
    """
    if declared.kind == "dyn" or given.kind == "dyn":
        return True
    if given.kind == "null_type":
        return declared.nullable or declared.kind == "null_type"
    if declared.kind == "null_type":
        return given.nullable
    if declared.kind == "object" or given.kind == "object":
        return {declared.kind, given.kind} <= {"object", "map"}
    if declared.kind != given.kind:
        return False
    return all(
        accepts(ours, theirs) for ours, theirs in zip(declared.parameters, given.parameters, strict=False)
    )


#: Kind wanted of a JSON result -> kinds of values that become it.
BECOMING: Final = {
    "string": ("string", "google.protobuf.Timestamp", "google.protobuf.Duration"),
    "int": ("int", "uint"),
    "double": ("double", "int", "uint"),
    "map": ("map", "object"),
    "object": ("object", "map"),
}


def fits(wanted: Type, given: Type) -> bool:
    """Whether a result of static type ``given`` can, once it is JSON, be what ``wanted`` says.

    JSON has one kind of number and no timestamps: an int fits where a double is wanted, a timestamp
    where a string is. Fields of objects are compared where both know them.
    """
    if wanted.kind == "dyn" or given.kind == "dyn":
        return True
    if given.kind == "null_type" or wanted.kind == "null_type":
        return accepts(wanted, given)
    if given.kind not in BECOMING.get(wanted.kind, (wanted.kind,)):
        return False
    if wanted.kind == "object":
        return all(
            fits(field, given.fields[name]) for name, field in wanted.fields.items() if name in given.fields
        )
    # Of two maps the keys do not matter: they are text in JSON.
    pairs = list(zip(wanted.parameters, given.parameters, strict=False))
    return all(fits(ours, theirs) for ours, theirs in (pairs[1:] if wanted.kind == "map" else pairs))


def join(first: Type, second: Type) -> Type:
    """The type of a value that is one or the other; ``dyn`` where they have nothing in common."""
    if first is second:
        return first
    if first.kind == "null_type":
        return second.or_null()
    if second.kind == "null_type":
        return first.or_null()
    if first.kind != second.kind or first.kind in ("dyn", "object") or not accepts(first, second):
        return Type.DYN
    joined = Type(
        first.kind,
        tuple(join(ours, theirs) for ours, theirs in zip(first.parameters, second.parameters, strict=False)),
    )
    return joined.or_null() if first.nullable or second.nullable else joined
