"""A thread that owns a connection to a SQLite file.

SQLite takes one writer at a time, so one connection for all that is written loses nothing. A job is a whole
batch: a hop to the thread and back costs more than a dozen rows.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from durachart.store.errors import StoreFailed

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], Any]

_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space",
    sqlite3.SQLITE_BUSY: "another program holds a lock on the file; end it",
    sqlite3.SQLITE_LOCKED: "another program holds a lock on the file; end it",
    sqlite3.SQLITE_READONLY: "the file or its directory is read-only; make it writable",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write; see the system's log",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restore it from a backup",
    sqlite3.SQLITE_NOTADB: "the file is not a SQLite database; choose another one",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; see that its directory exists and may be written to",
}


def describe(error: sqlite3.Error) -> str:
    """What a driver's error means for whoever runs the server, in one sentence."""
    code = getattr(error, "sqlite_errorcode", None)
    advice = None if code is None else _ADVICE.get(code & 0xFF)
    return f"the database failed: {error}" + (f" ({advice})" if advice else "")


class ConnectionThread:
    """Runs jobs on one connection, one after the other, in the order given.

    Args:
        name: Of the thread.
        connect: Opens the connection, in the thread.

    Attributes:
        rows_changed: How many rows its jobs have written so far, about.
    """

    def __init__(self, name: str, connect: Callable[[], sqlite3.Connection]) -> None:
        self.rows_changed = 0
        self._name = name
        self._connect = connect
        self._jobs: SimpleQueue[tuple[Job, asyncio.Future[Any]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; the connection is opened by its first job."""
        self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
        self._thread.start()

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``job`` on the connection and return what it returns; `submit`, awaited."""
        return await self.submit(job)

    def submit(self, job: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Hand ``job`` over to the thread, at once.

        A job that was handed over is carried out, whatever becomes of the caller. A transaction it leaves
        open is rolled back.

        Returns:
            Gets what the job returns, or StoreFailed when the database failed.

        Raises:
            StoreFailed: The thread was stopped.
        """
        if self._thread is None:
            raise StoreFailed("the database is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put((job, future))
        return future

    async def stop(self) -> None:
        """Finish the jobs handed over, close the connection, end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)

    def _serve(self) -> None:
        connection: sqlite3.Connection | None = None
        counted = 0
        while (item := self._jobs.get()) is not None:
            job, future = item
            result: Any = None
            failure: BaseException | None = None
            try:
                if connection is None:
                    connection = self._connect()
                    counted = 0
                result = job(connection)
                self.rows_changed += connection.total_changes - counted
                counted = connection.total_changes
            except sqlite3.Error as error:
                failure = StoreFailed(describe(error))
                failure.__cause__ = error
            except BaseException as error:  # noqa: BLE001 - belongs to whoever waits for the job
                failure = error
            if connection is not None and connection.in_transaction and not _rolled_back(connection):
                connection = None
            _answer(future, result, failure)
        if connection is not None:
            connection.close()


def _rolled_back(connection: sqlite3.Connection) -> bool:
    """Roll back; False: the connection is of no more use and was closed."""
    try:
        connection.execute("ROLLBACK")
    except sqlite3.Error:
        connection.close()
        return False
    return True


def _answer(future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    def resolve() -> None:
        if future.done():  # the caller was cancelled; what was written stays written
            return
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)

    loop = future.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(resolve)
