"""One process per database file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from durachart.store.errors import StoreInUse, StoreNotOpened


class FileLock:
    """Holds a lock file for as long as the process lives.

    The kernel lets go of it however the process ends, SIGKILL included. The file stays and means nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, at once or not at all.

        Raises:
            StoreInUse: Another process, or another store of this one, holds it.
            StoreNotOpened: The file cannot be made.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreNotOpened(
                f"cannot write {self._path}: {error.strerror}; the server needs a directory it may write to"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            who = f"process {holder}" if holder.isdigit() else "another process"
            raise StoreInUse(
                f"{who} has the database {self._path.with_suffix('')} open; "
                "stop it first, or choose another data directory"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go; does nothing when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
