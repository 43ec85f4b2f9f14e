"""Static cost: the most one evaluation of a node can cost apart from the size of its operands.

Charged for every turn of a loop, and once per evaluation of an expression larger than a few hundred
units. Calibrated with ``bench/expressions``: a unit is 50 ns or less for what runs in place, up to 150 ns by
the book.
"""

from __future__ import annotations

from typing import Final

from durachart.expressions.syntax import Call, Expr, ListLiteral, Macro, MapLiteral, Name, children

_OF_CALLS: Final = {
    "size": 1,
    "dyn": 0,
    "type": 4,
    "bool": 4,
    "contains": 3,
    "startsWith": 3,
    "endsWith": 3,
    "bytes": 5,
    "uint": 8,
    "int": 8,
    "double": 8,
    "string": 30,
    "matches": 60,
    "duration": 40,
    "timestamp": 70,
}
_OF_CALENDAR: Final = 40
_OF_NOW: Final = 8
_OF_LISTS: Final = 4
_OF_MAPS: Final = 8
_OF_LOOPS: Final = 4


def cost_of(node: Expr) -> int:
    """Units for one evaluation of the whole tree under ``node``, the turns of its loops excepted."""
    below = sum(cost_of(child) for child in children(node))
    match node:
        case Call():
            return below + _OF_CALLS.get(node.function, _OF_CALENDAR)
        case ListLiteral():
            return below + _OF_LISTS
        case MapLiteral():
            return below + _OF_MAPS * (1 + len(node.entries))
        case Macro():
            return below + _OF_LOOPS
        case Name() if node.slot == "now":
            return _OF_NOW
        case _:
            return below + 1


def cost_of_turn(node: Macro) -> int:
    """Units for one turn of the loop."""
    return 1 + sum(cost_of(part) for part in (node.predicate, node.transform) if part is not None)
