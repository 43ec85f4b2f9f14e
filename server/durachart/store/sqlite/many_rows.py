"""Statements that write many rows at once.

The driver lets other Python threads run while SQLite works, and takes its turn again after each statement,
for which it may have to wait as long as the interpreter lets a thread run. So what a batch writes is few
statements, however many rows it has: while SQLite writes a batch, the event loop judges the next one.
Any number of rows up to 32 is a statement of its own, prepared once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

Row = Sequence[Any]

# A row has at most some thirty values, and SQLite takes 32,766 in a statement.
_SIZES: Final = (128, 64, *range(32, 0, -1))


class ManyRows:
    """One statement for any number of rows.

    Args:
        before: The SQL up to the rows, ``INSERT INTO t (…) VALUES`` for example.
        columns: How many values a row has.
        after: The SQL behind the rows.
    """

    def __init__(self, before: str, columns: int, after: str = "") -> None:
        row = f"({', '.join('?' * columns)})"
        self._sql = {size: f"{before} {', '.join([row] * size)} {after}".rstrip() for size in _SIZES}

    def write(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> int:
        """Write ``rows`` in order; how many the database has changed."""
        changed = 0
        for sql, part in self._parts(rows):
            changed += connection.execute(sql, tuple(chain.from_iterable(part))).rowcount
        return changed

    def _parts(self, rows: Sequence[Row]) -> Iterator[tuple[str, Sequence[Row]]]:
        begin, left = 0, len(rows)
        for size in _SIZES:
            while left >= size:
                yield self._sql[size], rows[begin : begin + size]
                begin += size
                left -= size


def insert_many(sql: str) -> ManyRows:
    """``INSERT INTO t (…) VALUES (?, …)`` for many rows."""
    before, values, row = sql.partition("VALUES ")
    assert values, sql
    assert set(row) <= set("(?, )"), sql
    return ManyRows(f"{before}VALUES", row.count("?"))
