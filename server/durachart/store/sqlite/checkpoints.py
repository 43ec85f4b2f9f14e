"""Copying the write-ahead log into the file, beside the writer.

Left to SQLite, it is the commit that finds the log long enough that copies it, and everybody who waits for
that commit waits for the copy as well: the more pages a batch touches, as in a large file, the longer. A
connection of its own copies most of it meanwhile. The log begins anew only when all of it was copied, which
nobody but the writer can bring about while it is written to all the time: once the log is long, the writer
copies what is left, which is little.

Source: SQLite's documentation of write-ahead logging, section 2.2 and 3.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3

from durachart.store.errors import StoreFailed
from durachart.store.sqlite.threads import ConnectionThread

_log = logging.getLogger(__name__)


class Checkpoints:
    """See the module.

    Args:
        thread: Of a connection to the file.
        writer: What writes.
        rows_between: Rows written from one copy to the next, >= 1.
    """

    def __init__(self, thread: ConnectionThread, writer: ConnectionThread, rows_between: int) -> None:
        self._thread = thread
        self._writer = writer
        self._rows_between = rows_between
        self._copied_rows = 0
        self._copying = False

    def look(self) -> None:
        """Begin to copy, if much was written since the last time. Call it when something is written."""
        if self._copying or self._writer.rows_changed - self._copied_rows < self._rows_between:
            return
        self._copying = True
        self._copied_rows = self._writer.rows_changed
        self._thread.submit(_copy).add_done_callback(self._copied)

    def _copied(self, copying: asyncio.Future[None]) -> None:
        self._copying = False
        if not copying.cancelled() and isinstance(error := copying.exception(), StoreFailed):
            # What was committed is safe in the log, and the writer finds out by itself when the disk is full.
            _log.warning("log not copied into the file error=%s", error)


def _copy(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
