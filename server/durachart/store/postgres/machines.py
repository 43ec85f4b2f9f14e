"""Storing definitions, as functions on a connection."""

from __future__ import annotations

from typing import Final

import asyncpg

from durachart.store.postgres.arrays import Columns
from durachart.store.rows import MachineRow
from durachart.store.schema import definitions

_MACHINE: Final = Columns.of(definitions)
# Two nodes that publish the same machine at once do so one after the other.
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('durachart machine ' || $1, 0))"
_SAME: Final = f"SELECT {_MACHINE.listed()} FROM definitions WHERE machine_id = $1 AND content_hash = $2"
_INSERT: Final = (
    f"INSERT INTO definitions ({_MACHINE.listed()})"
    " SELECT $1, coalesce(max(version), 0) + 1, $2, $3, $4, $5, $6 FROM definitions WHERE machine_id = $1"
    f" RETURNING {_MACHINE.listed()}"
)


async def insert_machine(connection: asyncpg.Connection, row: MachineRow) -> tuple[MachineRow, bool]:
    """See ``Store.insert_machine``."""
    async with connection.transaction():
        await connection.execute(_LOCK, row.machine_id)
        same = await connection.fetchrow(_SAME, row.machine_id, row.content_hash)
        if same is not None:
            return MachineRow(*same), False
        stored = await connection.fetchrow(_INSERT, row.machine_id, *row[2:])
        return MachineRow(*stored), True
