"""Values inside an expression that JSON has no type for, and the names of all of them.

JSON's values are Python's own: None, bool, int (CEL's ``int``), float (``double``), str, list and dict.
A CEL map is a dict whose bool keys are :data:`TRUE_KEY` and :data:`FALSE_KEY`, because Python holds
``True`` and ``1`` to be the same key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

#: Anything an expression can hold.
Value: TypeAlias = Any

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
UINT_MAX: Final = 2**64 - 1


class UInt(int):
    """CEL's ``uint``: an integer from 0 to 2**64 - 1."""

    __slots__ = ()


@dataclass(slots=True)
class TypeValue:
    """A type as a value, compared by name."""

    name: str


@dataclass(slots=True, eq=False)
class BoolKey:
    """A bool used as a map key; there are two, compared by identity."""

    value: bool


TRUE_KEY: Final = BoolKey(True)
FALSE_KEY: Final = BoolKey(False)


@dataclass(slots=True)
class Timestamp:
    """An instant: nanoseconds since the Unix epoch, from year 1 to year 9999."""

    nanoseconds: int


@dataclass(slots=True)
class Duration:
    """A length of time in nanoseconds, at most 315,576,000,000 seconds either way."""

    nanoseconds: int


#: The exact Python class of a value -> its CEL type's name.
TYPE_NAMES: Final[dict[type, str]] = {
    type(None): "null_type",
    bool: "bool",
    int: "int",
    UInt: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    dict: "map",
    TypeValue: "type",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
}


def type_name(value: Value) -> str:
    """The name of the value's CEL type; a value of a foreign class gives the class's name."""
    return TYPE_NAMES.get(type(value)) or type(value).__name__
