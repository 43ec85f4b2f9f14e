"""Storing definitions, as functions on the writer's connection."""

from __future__ import annotations

import sqlite3

from durachart.store.rows import MachineRow
from durachart.store.sqlite import statements as sql


def insert_machine(connection: sqlite3.Connection, row: MachineRow) -> tuple[MachineRow, bool]:
    """See ``Store.insert_machine``."""
    connection.execute("BEGIN IMMEDIATE")
    same = connection.execute(
        sql.SELECT_SAME_DEFINITION.sql,
        sql.SELECT_SAME_DEFINITION.bind(machine_id=row.machine_id, content_hash=row.content_hash),
    ).fetchone()
    if same is not None:
        connection.execute("ROLLBACK")
        return MachineRow._make(same), False
    (latest,) = connection.execute(
        sql.SELECT_LATEST_VERSION.sql, sql.SELECT_LATEST_VERSION.bind(machine_id=row.machine_id)
    ).fetchone()
    stored = row._replace(version=(latest or 0) + 1)
    connection.execute(sql.INSERT_DEFINITION.sql, stored)
    connection.execute("COMMIT")
    return stored, True
