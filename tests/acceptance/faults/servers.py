"""Servers that are killed, halted and started again within a moment, on one port and one data directory."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.acceptance.faults.nursery import STDERR, STDOUT
from tests.processes import PATIENCE_S, ROOT, environment

_READY = "Ctrl-C ends it"
# Where Linux never puts a connection or a listener of port 0 by itself, so that nobody takes the port of a
# server that is down for a moment.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens, and which nobody is given by chance."""
    for port in random.sample(_PORTS, 200):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


class Server:
    """A running ``durachart serve``; or a worker.

    Attributes:
        pid: Its process.
        address: Where gRPC listens; of a worker, that of its server.
        directory: Its logs.
    """

    def __init__(self, pid: int, address: str, directory: Path, ended: asyncio.Future[int]) -> None:
        self.pid = pid
        self.address = address
        self.directory = directory
        self._ended = ended

    @property
    def stderr(self) -> str:
        """What it wrote to standard error so far."""
        return (self.directory / STDERR).read_text(encoding="utf-8", errors="replace")

    async def wait_ready(self) -> None:
        """Wait until it serves. Raises AssertionError, with what it said: it ended, or took too long."""
        stdout = self.directory / STDOUT
        try:
            async with asyncio.timeout(PATIENCE_S):
                while _READY not in (stdout.read_text() if stdout.exists() else ""):
                    if self._ended.done():
                        raise AssertionError(f"the server ended with {self._ended.result()}:\n{self.stderr}")
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"the server did not become ready:\n{self.stderr}") from None

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._ended.done()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        if not self._ended.done():
            os.kill(self.pid, number)

    async def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait until it has ended; the return value is its exit code, negative for a signal."""
        async with asyncio.timeout(timeout_s):
            return os.waitstatus_to_exitcode(await asyncio.shield(self._ended))

    async def kill(self) -> None:
        """End it without warning (SIGKILL)."""
        self.send_signal(signal.SIGKILL)
        await self.wait()

    async def stop(self) -> int:
        """Ask it to end, and wait for its exit code."""
        self.send_signal(signal.SIGTERM)
        return await self.wait()


class Nursery:
    """Starts servers quickly; see ``nursery``."""

    def __init__(self, process: asyncio.subprocess.Process, scratch: Path) -> None:
        self._process = process
        self._scratch = scratch
        self._started: asyncio.Queue[int] = asyncio.Queue()
        self._running: dict[int, asyncio.Future[int]] = {}
        self._listening = asyncio.create_task(self._listen())
        self.servers: list[Server] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, scratch: Path, env: Mapping[str, str] | None = None) -> AsyncIterator[Nursery]:
        """A nursery whose servers keep their logs below ``scratch``; at the end all of them are killed.

        Args:
            scratch: A directory.
            env: Further environment variables of the nursery itself.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.acceptance.faults.nursery",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env=environment(env),
        )
        nursery = cls(process, scratch)
        try:
            yield nursery
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()
            await nursery._listening

    async def start_worker(self, address: str, *, lease_ms: int = 1_000) -> Server:
        """Start a worker of the server at ``address``, with leases of its own, and wait until it works."""
        worker = await self._start("work", [address], address, {}, lease_ms)
        await worker.wait_ready()
        return worker

    async def start(
        self,
        *arguments: str,
        port: int,
        crash_at: str = "",
        lease_ms: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Server:
        """Start a server with ``arguments`` and gRPC alone, without waiting for it.

        Args:
            arguments: Options of ``durachart serve``: where its data is.
            port: Of gRPC.
            crash_at: See ``durachart.crash_points``.
            lease_ms: How long effects and timers stay with a node that says nothing more; None: as by
                default.
            env: Further environment variables.
        """
        address = f"127.0.0.1:{port}"
        extra = {**(env or {}), **({"DURACHART_CRASH_AT": crash_at} if crash_at else {})}
        options = ["--listen", address, "--http", "off", *arguments]
        return await self._start("serve", options, address, extra, lease_ms)

    async def _start(
        self, program: str, arguments: list[str], address: str, env: Mapping[str, str], lease_ms: int | None
    ) -> Server:
        directory = self._scratch / f"{program}-{len(self.servers):04}"
        directory.mkdir()
        asked: dict[str, Any] = {
            "program": program,
            "arguments": arguments,
            "environment": environment(env),
            "directory": str(directory),
            "lease_ms": lease_ms,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        async with asyncio.timeout(PATIENCE_S):
            pid = await self._started.get()
        server = Server(pid, address, directory, self._running[pid])
        self.servers.append(server)
        return server

    async def kill_all(self) -> None:
        """Kill every server that still runs."""
        for server in self.servers:
            await server.kill()

    @property
    def stderr(self) -> str:
        """What all of its servers wrote to standard error, one after the other."""
        return "\n".join(server.stderr for server in self.servers if (server.directory / STDERR).exists())

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        loop = asyncio.get_running_loop()
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            if "started" in said:
                self._running[said["started"]] = loop.create_future()
                self._started.put_nowait(said["started"])
            elif "ended" in said:
                self._running[said["ended"]].set_result(said["status"])
        for future in self._running.values():
            if not future.done():
                future.set_result(signal.SIGKILL)
