"""The functions and operators expressions can call, by the types they take and give."""

from __future__ import annotations

from typing import Final, NamedTuple

from durachart.expressions.types import Type


class Overload(NamedTuple):
    """One way to call a function. ``receiver`` is None for a plain call."""

    receiver: Type | None
    arguments: tuple[Type, ...]
    result: Type


_BOOL, _INT, _UINT, _DOUBLE = Type.BOOL, Type.INT, Type.UINT, Type.DOUBLE
_STRING, _BYTES, _TIMESTAMP, _DURATION = Type.STRING, Type.BYTES, Type.TIMESTAMP, Type.DURATION
_LIST: Final = Type.list_of(Type.DYN)
_MAP: Final = Type.map_of(Type.DYN, Type.DYN)


def _plain(result: Type, *arguments: Type) -> list[Overload]:
    return [Overload(None, (argument,), result) for argument in arguments]


def _accessor(*, of_durations: bool) -> list[Overload]:
    overloads = [Overload(_TIMESTAMP, (), _INT), Overload(_TIMESTAMP, (_STRING,), _INT)]
    return [*overloads, Overload(_DURATION, (), _INT)] if of_durations else overloads


_SIZED: Final = (_STRING, _BYTES, _LIST, _MAP)
_TEXT_TEST: Final = [Overload(_STRING, (_STRING,), _BOOL)]

#: Function name -> its overloads.
FUNCTIONS: Final[dict[str, list[Overload]]] = {
    "size": [*_plain(_INT, *_SIZED), *(Overload(kind, (), _INT) for kind in _SIZED)],
    "contains": _TEXT_TEST,
    "startsWith": _TEXT_TEST,
    "endsWith": _TEXT_TEST,
    "matches": [*_TEXT_TEST, Overload(None, (_STRING, _STRING), _BOOL)],
    "int": _plain(_INT, _INT, _UINT, _DOUBLE, _STRING, _TIMESTAMP),
    "uint": _plain(_UINT, _UINT, _INT, _DOUBLE, _STRING),
    "double": _plain(_DOUBLE, _DOUBLE, _INT, _UINT, _STRING),
    "string": _plain(_STRING, _STRING, _INT, _UINT, _DOUBLE, _BOOL, _BYTES, _TIMESTAMP, _DURATION),
    "bool": _plain(_BOOL, _BOOL, _STRING),
    "bytes": _plain(_BYTES, _BYTES, _STRING),
    "timestamp": _plain(_TIMESTAMP, _TIMESTAMP, _STRING, _INT),
    "duration": _plain(_DURATION, _DURATION, _STRING),
    "type": _plain(Type.TYPE, Type.DYN),
    "dyn": _plain(Type.DYN, Type.DYN),
    "getFullYear": _accessor(of_durations=False),
    "getMonth": _accessor(of_durations=False),
    "getDate": _accessor(of_durations=False),
    "getDayOfMonth": _accessor(of_durations=False),
    "getDayOfWeek": _accessor(of_durations=False),
    "getDayOfYear": _accessor(of_durations=False),
    "getHours": _accessor(of_durations=True),
    "getMinutes": _accessor(of_durations=True),
    "getSeconds": _accessor(of_durations=True),
    "getMilliseconds": _accessor(of_durations=True),
}

_NUMBERS: Final = (_INT, _UINT, _DOUBLE)
_ORDERED: Final = (_BOOL, _STRING, _BYTES, _TIMESTAMP, _DURATION)

_ORDER: Final = [
    *((kind, kind, _BOOL) for kind in _ORDERED),
    *((first, second, _BOOL) for first in _NUMBERS for second in _NUMBERS),
]

#: Operator -> (left, right, result) for each pair of types it takes. Lists' elements and `in`, `==` and
#: `!=`, which take any types that agree, are the checker's.
OPERATORS: Final[dict[str, list[tuple[Type, Type, Type]]]] = {
    "+": [
        *((kind, kind, kind) for kind in (*_NUMBERS, _STRING, _BYTES, _LIST, _DURATION)),
        (_TIMESTAMP, _DURATION, _TIMESTAMP),
        (_DURATION, _TIMESTAMP, _TIMESTAMP),
    ],
    "-": [
        *((kind, kind, kind) for kind in (*_NUMBERS, _DURATION)),
        (_TIMESTAMP, _TIMESTAMP, _DURATION),
        (_TIMESTAMP, _DURATION, _TIMESTAMP),
    ],
    "*": [(kind, kind, kind) for kind in _NUMBERS],
    "/": [(kind, kind, kind) for kind in _NUMBERS],
    "%": [(kind, kind, kind) for kind in (_INT, _UINT)],
    "<": _ORDER,
    "<=": _ORDER,
    ">": _ORDER,
    ">=": _ORDER,
}

#: Names that stand for a type where no variable has them.
TYPE_NAMES: Final = frozenset(
    {
        "bool",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "list",
        "map",
        "null_type",
        "type",
        "google.protobuf.Timestamp",
        "google.protobuf.Duration",
    }
)
