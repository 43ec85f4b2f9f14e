"""The real ``durachart`` as tests use it: a server process on free ports, and commands run against it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = str(Path(sys.executable).with_name("durachart"))
PATIENCE_S = 60.0

_ADDRESS = re.compile(r"^\s*(gRPC|gRPC-Web)\s+(?:http://)?(\S+)$")
_READY = "Ctrl-C ends it"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of every process: ours without Durachart's and OpenTelemetry's, and ``extra``."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DURACHART_", "OTEL_"))}
    return {**kept, "PYTHONWARNINGS": "default", **(extra or {})}


class Server:
    """A running ``durachart serve``.

    Attributes:
        grpc: Where gRPC listens, ``127.0.0.1:PORT``.
        http: Where gRPC-Web and Connect listen; ``""`` when that is off.
        process: The process.
        said: The lines on its standard output so far.
    """

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self.grpc = ""
        self.http = ""
        self.said: list[str] = []
        self._log = log
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def running(cls, *arguments: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Server]:
        """Start a server and wait until it says that it is ready; kill it at the end if it still runs.

        Args:
            arguments: Options of ``durachart serve``. What is not among them is chosen for a test: free
                ports, a data directory of its own that goes with it, the repository's machines.
            env: Further environment variables.
        """
        with tempfile.TemporaryDirectory(prefix="durachart-test-") as scratch:
            server = await cls.start(Path(scratch), *arguments, env=env)
            try:
                await server.wait_ready()
                yield server
            finally:
                server.kill()
                await server.wait()

    @classmethod
    async def start(cls, scratch: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Server:
        """Start a server without waiting for it; log, and data unless told otherwise, are in ``scratch``."""
        chosen = list(arguments)
        for option, value in (
            ("--listen", "127.0.0.1:0"),
            ("--http", "127.0.0.1:0"),
            ("--data-dir", str(scratch / "data")),
            ("--machines", str(ROOT / "machines")),
        ):
            if option not in arguments:
                chosen += [option, value]
        log = scratch / "stderr.log"
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                PROGRAM,
                "serve",
                *chosen,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=environment(env),
                cwd=scratch,
            )
        return cls(process, log)

    async def wait_ready(self) -> None:
        """Wait until the server says that it is ready, and learn its addresses.

        Raises:
            AssertionError: It ended instead, or took too long; the message holds what it said.
        """
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not any(_READY in line for line in self.said):
                    line = (await self.process.stdout.readline()).decode()
                    if not line:
                        code = await self.process.wait()
                        raise AssertionError(f"the server ended with {code}:\n{self.stdout}{self.stderr}")
                    self._hear(line)
        except TimeoutError:
            raise AssertionError(f"the server did not become ready:\n{self.stdout}{self.stderr}") from None
        self._reading = asyncio.create_task(self._read_on())

    @property
    def stdout(self) -> str:
        """What it wrote to standard output so far."""
        return "".join(f"{line}\n" for line in self.said)

    @property
    def stderr(self) -> str:
        """What it wrote to standard error so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End it without warning (SIGKILL); nothing happens when it has ended."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def wait(self) -> int:
        """Wait until it has ended; the return value is its exit code, negative for a signal."""
        async with asyncio.timeout(PATIENCE_S):
            code = await self.process.wait()
        if self._reading is not None:
            await self._reading
        return code

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, and wait for its exit code."""
        self.send_signal(number)
        return await self.wait()

    def _hear(self, line: str) -> None:
        self.said.append(line.rstrip("\n"))
        found = _ADDRESS.match(line)
        if found is None:
            return
        if found[1] == "gRPC":
            self.grpc = found[2]
        else:
            self.http = found[2]

    async def _read_on(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self._hear(line.decode())


def run_cli(
    server: Server | str | None,
    *arguments: str,
    input: str | None = None,  # noqa: A002 - as subprocess has it
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run one ``durachart`` command to its end, with pipes for its streams.

    Args:
        server: Which server it speaks to; None: as it is by default.
        arguments: The command and its words.
        input: Its standard input; None: empty.
        env: Further environment variables.
        cwd: Where it runs; None: here.
    """
    return subprocess.run(
        [PROGRAM, *arguments],
        input=input or "",
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment({**_address(server), **(env or {})}),
        cwd=cwd,
        timeout=PATIENCE_S,
        check=False,
    )


async def start_cli(
    server: Server | str | None, *arguments: str, env: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Start one ``durachart`` command, with pipes for its streams; the caller waits for it."""
    return await asyncio.create_subprocess_exec(
        PROGRAM,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment({**_address(server), **(env or {})}),
    )


def _address(server: Server | str | None) -> dict[str, str]:
    if server is None:
        return {}
    return {"DURACHART_SERVER": server if isinstance(server, str) else server.grpc}
