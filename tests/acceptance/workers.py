"""Worker processes, started, killed and started again."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.processes import PATIENCE_S, environment

FLOW_WORKER = Path(__file__).with_name("flow_worker.py")


async def start_worker(
    script: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Start a worker script; the caller ends it."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env=environment(env),
    )


async def stop_worker(process: asyncio.subprocess.Process, number: signal.Signals = signal.SIGTERM) -> int:
    """Ask a worker to end; returns its exit code."""
    if process.returncode is None:
        process.send_signal(number)
    async with asyncio.timeout(PATIENCE_S):
        await process.communicate()
    assert process.returncode is not None
    return process.returncode


@asynccontextmanager
async def supervised(count: int, script: Path, *arguments: str) -> AsyncIterator[list[int]]:
    """So many workers, each replaced whenever it is killed; yields the signals they died of."""
    deaths: list[int] = []

    async def supervise() -> None:
        while True:
            process = await start_worker(script, *arguments)
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                assert await stop_worker(process) == 0
                raise
            deaths.append(-code)

    tasks = [asyncio.create_task(supervise()) for _ in range(count)]
    try:
        yield deaths
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        for one in ended:
            if not isinstance(one, asyncio.CancelledError) and isinstance(one, BaseException):
                raise one
