"""Rows as parameters: one array for each column, unnested by the database.

A multi-row statement of this kind has the same text for any number of rows, so it is prepared once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, Final

from sqlalchemy import Dialect, Table
from sqlalchemy.dialects import postgresql

_DIALECT: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]

KEY: Final = ("shard", "namespace", "machine_id", "instance_id")


class Columns:
    """Columns of rows to be given as arrays.

    Attributes:
        names: In the order of the rows' fields.
    """

    def __init__(self, *columns: tuple[str, str]) -> None:
        """Columns by name and type."""
        self.names = tuple(name for name, _ in columns)
        self._types = tuple(kind for _, kind in columns)

    @classmethod
    def of(cls, table: Table, *names: str) -> Columns:
        """These columns of a table; none named: all but the journal's revision, which the database gives."""
        wanted = names or tuple(column.name for column in table.c if column.name != "revision")
        types = {column.name: column.type.compile(_DIALECT).split(" COLLATE")[0] for column in table.c}
        return cls(*((name, types[name]) for name in wanted))

    def __add__(self, other: Columns) -> Columns:
        both = (*zip(self.names, self._types, strict=True), *zip(other.names, other._types, strict=True))
        return Columns(*both)

    def unnested(self, alias: str, numbers: Iterator[int]) -> str:
        """``unnest(...) AS alias(...)``, its parameters numbered from ``numbers``."""
        arrays = ", ".join(f"${next(numbers)}::{kind}[]" for kind in self._types)
        return f"unnest({arrays}) AS {alias}({', '.join(self.names)})"

    def listed(self, alias: str = "") -> str:
        """The names with commas between them."""
        return ", ".join(f"{alias}.{name}" if alias else name for name in self.names)


N: Final = Columns(("n", "integer"))
"""Which of the instances that a batch touches, counted from 0."""


def transposed(columns: Columns, rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    """The rows as one sequence for each column."""
    return list(zip(*rows, strict=True)) if rows else [()] * len(columns.names)


def parameter_numbers() -> Iterator[int]:
    """1, 2, 3, …; one for a whole statement."""
    return count(1)


def matches_key(one: str, other: str, *more: str) -> str:
    """``one`` and ``other`` are rows of the same instance, and alike in the columns ``more``."""
    return " AND ".join(f"{one}.{name} = {other}.{name}" for name in (*KEY, *more))
