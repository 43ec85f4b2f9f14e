"""A real ``nats-server`` for tests: started on a free port, killed and started again at will."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

PATIENCE_S = 30.0


def find_nats_server() -> str:
    """The program; skips the test where there is none."""
    found = shutil.which("nats-server") or next(
        (str(path) for path in (Path("/usr/sbin/nats-server"),) if path.exists()), None
    )
    if found is None:
        pytest.skip("no nats-server on this machine; Debian's package nats-server brings it")
    return found


class NatsServer:
    """One server; its port is the same after a restart.

    Attributes:
        url: Where it listens.
    """

    def __init__(self, program: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self._port}"
        self._program = program
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start, and wait until it takes connections."""
        self._process = await asyncio.create_subprocess_exec(
            *(self._program, "-a", "127.0.0.1", "-p", str(self._port)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stderr is not None
        said = []
        async with asyncio.timeout(PATIENCE_S):
            while line := (await self._process.stderr.readline()).decode():
                said.append(line)
                if "Server is ready" in line:
                    return
        raise AssertionError(f"nats-server ended:\n{''.join(said)}")

    async def kill(self) -> None:
        """End it without warning; nothing happens when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def running_nats() -> AsyncIterator[NatsServer]:
    """A running server for as long as the block lasts; skips the test where there is none."""
    server = NatsServer(find_nats_server())
    await server.start()
    try:
        yield server
    finally:
        await server.kill()
