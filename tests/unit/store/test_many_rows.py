"""Rows in any number are written in order, in few statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from durachart.store.sqlite.many_rows import insert_many


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (place INTEGER PRIMARY KEY AUTOINCREMENT, a INTEGER, b TEXT)")
        yield connection


@pytest.mark.parametrize(
    ("count", "statements"), [(0, 0), *((n, 1) for n in range(1, 33)), (33, 2), (63, 2), (127, 3), (300, 4)]
)
def test_any_number_of_rows_is_written_once_and_in_order(
    connection: sqlite3.Connection, count: int, statements: int
) -> None:
    executed: list[str] = []
    connection.set_trace_callback(executed.append)
    rows = [(number, f"row {number}") for number in range(count)]
    assert insert_many("INSERT INTO t (a, b) VALUES (?, ?)").write(connection, rows) == count
    assert len(executed) == statements
    assert connection.execute("SELECT a, b FROM t ORDER BY place").fetchall() == rows
