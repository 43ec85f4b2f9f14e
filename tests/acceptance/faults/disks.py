"""Disks that fill up, and disks that fail to write what they were given."""

from __future__ import annotations

import asyncio
import resource
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

from tests.acceptance.faults.servers import Server
from tests.processes import PATIENCE_S


class SmallDisk(Protocol):
    """Room for a database that is soon used up.

    Attributes:
        name: How it is made small.
        directory: Where the database is to be.
    """

    name: str
    directory: Path

    def limit(self, server: Server) -> None:
        """Let a server have no more than the little room there is."""

    def grow(self, server: Server) -> None:
        """Let it have as much as it likes."""


class SmallTmpfs:
    """A file system of a few MiB, which says that it is full."""

    name = "tmpfs"

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def limit(self, server: Server) -> None:
        """Nothing: it is small from the beginning."""

    def grow(self, server: Server) -> None:
        subprocess.run(["mount", "-o", "remount,size=512m", str(self.directory)], check=True)


class SmallFiles:
    """A limit on the size of the server's files; going over it fails, for another reason."""

    name = "RLIMIT_FSIZE"

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        self.directory = directory
        self._limit_bytes = limit_bytes

    def limit(self, server: Server) -> None:
        # Only the soft limit, so that it can be lifted again without being root.
        _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (self._limit_bytes, hard))

    def grow(self, server: Server) -> None:
        if not server.ended:
            _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))


@contextmanager
def small_disk(directory: Path, size_mib: int) -> Iterator[SmallDisk]:
    """A disk of ``size_mib``: a tmpfs if this user may mount one, else a limit on the size of files."""
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(directory)]
    mounted = shutil.which("mount") and subprocess.run(mount, capture_output=True).returncode == 0
    if not mounted:
        yield SmallFiles(directory, size_mib * 1024 * 1024)
        return
    try:
        yield SmallTmpfs(directory)
    finally:
        # Lazily: a server that was killed a moment ago may still be letting go of its files.
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


class FailingFsync(Protocol):
    """Makes fsync and fdatasync of a server fail with EIO."""

    @classmethod
    def works(cls) -> bool:
        """Whether it can be done here."""

    def failing(self, server: Server) -> AbstractAsyncContextManager[None]:
        """They fail while the block runs."""


class TracedFailure:
    """By way of strace, which can attach to a server that runs."""

    @classmethod
    def works(cls) -> bool:
        if shutil.which("strace") is None:
            return False
        with subprocess.Popen(["sleep", "60"]) as sleeping:
            tracing = subprocess.Popen(["strace", "-p", str(sleeping.pid)], stderr=subprocess.PIPE)
            try:
                assert tracing.stderr is not None
                return b"attached" in tracing.stderr.readline()
            finally:
                tracing.terminate()
                tracing.communicate()
                sleeping.kill()

    @asynccontextmanager
    async def failing(self, server: Server) -> AsyncIterator[None]:
        calls = "fsync,fdatasync"
        words = [
            "strace",
            "-f",
            "-p",
            str(server.pid),
            "-e",
            f"trace={calls}",
            "-e",
            f"inject={calls}:error=EIO",
        ]
        log = str(server.directory / "strace.log")
        process = await asyncio.create_subprocess_exec(*words, "-o", log, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        try:
            async with asyncio.timeout(PATIENCE_S):
                line = await process.stderr.readline()
                assert b"attached" in line, line.decode()
            yield
        finally:
            if process.returncode is None:
                # Then it lets the server go, undisturbed.
                process.send_signal(signal.SIGINT)
            await process.communicate()


_SHIM = """
#include <errno.h>
#include <unistd.h>
#include <sys/syscall.h>

static int failing(void) { return access(FLAG, F_OK) == 0; }
int fsync(int fd) { if (failing()) { errno = EIO; return -1; } return syscall(SYS_fsync, fd); }
int fdatasync(int fd) { if (failing()) { errno = EIO; return -1; } return syscall(SYS_fdatasync, fd); }
"""


class PreloadedFailure:
    """By a library that a nursery loads before the system's own, and that fails while a file is there.

    Attributes:
        environment: Of the nursery.
    """

    def __init__(self, scratch: Path) -> None:
        self._flag = scratch / "fsync-fails"
        source, library = scratch / "fsync.c", scratch / "fsync.so"
        source.write_text(_SHIM)
        flag = f'-DFLAG="{self._flag}"'
        subprocess.run(["gcc", "-shared", "-fPIC", flag, "-o", library, source], check=True)
        self.environment = {"LD_PRELOAD": str(library)}

    @classmethod
    def works(cls) -> bool:
        return shutil.which("gcc") is not None

    @asynccontextmanager
    async def failing(self, server: Server) -> AsyncIterator[None]:
        self._flag.touch()
        try:
            yield
        finally:
            self._flag.unlink()
