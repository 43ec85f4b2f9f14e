"""A command on a terminal of its own, as a person runs it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.processes import PATIENCE_S, PROGRAM, environment

CTRL_C = b"\x03"
CTRL_D = b"\x04"

# The terminal has to be the controlling one of a session of its own, or Ctrl-C would reach nobody, or us.
_ADOPT = (
    "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """A running command and what it has written to its terminal."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process = process
        self.text = ""
        self._master = master
        self._changed = asyncio.Condition()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(master, self._read)
        self._notifying: set[asyncio.Task[None]] = set()

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._master, keys)

    async def wait_for(self, words: str) -> None:
        """Wait until ``words`` stand on the terminal."""
        try:
            async with asyncio.timeout(PATIENCE_S), self._changed:
                await self._changed.wait_for(lambda: words in self.text)
        except TimeoutError:
            raise AssertionError(f"{words!r} did not appear:\n{self.text}") from None

    async def wait(self) -> int:
        """Wait until the command has ended; the return value is its exit code."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()

    def close(self) -> None:
        """Let go of the terminal."""
        self._loop.remove_reader(self._master)
        os.close(self._master)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the last program on it has ended
            self._loop.remove_reader(self._master)
            return
        self.text += data.decode(errors="replace").replace("\r\n", "\n")
        task = asyncio.ensure_future(self._notify())
        self._notifying.add(task)
        task.add_done_callback(self._notifying.discard)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def on_terminal(
    *words: str, env: Mapping[str, str] | None = None, columns: int = 100
) -> AsyncIterator[Terminal]:
    """Run ``durachart`` with these words on a terminal ``columns`` wide."""
    async with program_on_terminal(PROGRAM, *words, env=env, columns=columns) as terminal:
        yield terminal


@asynccontextmanager
async def program_on_terminal(
    *command: str, env: Mapping[str, str] | None = None, columns: int = 100, cwd: Path | None = None
) -> AsyncIterator[Terminal]:
    """Run a command, its program with its full path, as the foreground job of a terminal ``columns`` wide."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    variables = environment({"TERM": "xterm-256color", **(env or {})})
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        if name not in (env or {}):
            variables.pop(name, None)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _ADOPT,
        *command,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=variables,
        cwd=cwd,
    )
    os.close(slave)
    terminal = Terminal(process, master)
    try:
        yield terminal
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        terminal.close()
