"""A SQLite file as it is found, read beside whatever server runs on it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from durachart.store.scan import StoreScan
from durachart.store.sqlite.threads import describe


def scan_file(path: Path) -> StoreScan:
    """Read a file that exists."""
    file = f"file:{quote(str(path))}"
    query = {"mode": "ro", "uri": "true"}
    if not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
        # SQLite would make files beside it, as on a backup it must not; nobody can change it either.
        query["immutable"] = "1"
    engine = create_async_engine(URL.create("sqlite+aiosqlite", database=file, query=query))

    def connected(connection: Any, _record: object) -> None:
        # The driver would begin no transaction for reads.
        connection.isolation_level = None

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return StoreScan(engine, str(path), _describe)


def _describe(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else None
    return describe(cause) if isinstance(cause, sqlite3.Error) else f"the database failed: {error}"
