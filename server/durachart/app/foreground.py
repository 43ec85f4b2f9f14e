"""A server in the foreground: says where it listens and what to try, and ends when a signal asks it to."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from durachart import __version__
from durachart.app.server import Server, running
from durachart.app.settings import Settings
from durachart.fronts.address import GRPC_DEFAULT

_log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# What a shell answers for a program that a signal ended.
_BY_SIGNAL = 128


async def serve_until_signalled(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM, then finish what was begun and return.

    A second SIGINT, and one after SIGTERM, ends the process at once: whatever was acknowledged is on disk.
    SIGTERM may come twice, and asks once.

    Raises:
        CannotStart: The server could not start; the text says why.
        MachineNotPublished: Machines it brings along are not valid.
    """
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, _asked_to_end, number, asked)
    async with running(settings) as server:
        for line in greeting(server, _program()):
            print(line, flush=True)
        await asked.wait()
        _log.info("draining grace_ms=%d", settings.drain_ms)
    _log.info("stopped")


def _asked_to_end(number: signal.Signals, asked: asyncio.Event) -> None:
    # A supervisor that ends a whole process group reaches this process directly, and again through `make`,
    # which passes SIGTERM on: only a person at the keyboard is taken to have lost patience.
    if asked.is_set() and number is signal.SIGINT:
        _log.warning("ending at once signal=%s", number.name)
        os._exit(_BY_SIGNAL + number)
    asked.set()


def greeting(server: Server, program: str) -> Sequence[str]:
    """What is printed once the server serves: addresses, machines, and three commands to try next.

    Args:
        server: What serves.
        program: How to call ``durachart`` from where the operator is.
    """
    lines = [f"Durachart is ready (version {__version__})."]
    lines.append(f"  gRPC      {server.grpc}")
    if server.http is not None:
        lines.append(f"  gRPC-Web  http://{server.http}")
    lines.append(f"  database  {server.database}")
    machines = ", ".join(f"{machine.machine_id} {machine.version}" for machine in server.machines)
    lines.append(f"  machines  {machines or 'none brought along; `durachart publish FILE` adds some'}")
    lines.append("Try next, in another terminal:")
    if server.grpc != GRPC_DEFAULT:
        lines.append(f"  export DURACHART_SERVER={server.grpc}")
    lines += [f"  {program} {words}" for words in _commands({one.machine_id for one in server.machines})]
    lines.append("Ctrl-C ends it.")
    return lines


def _commands(machines: set[str]) -> Sequence[str]:
    """Three commands that work with the machines there are."""
    if "order" in machines:
        start = ('create order o-1 --input \'{"customer": "ada"}\'', "send order o-1 ADD_ITEM sku=tea")
        last = 'generate "Explain statecharts."' if "canvas" in machines else "journal order o-1"
        return (*start, last)
    if machines:
        name = min(machines)
        return (f"create {name} my-first", f"get {name} my-first", f"watch {name}")
    return ("validate FILE", "publish FILE", "machines")


def _program() -> str:
    """``durachart`` if the shell finds it, else the path this process was started by."""
    name = Path(sys.argv[0]).name or "durachart"
    if shutil.which(name) is not None:
        return name
    path = Path(sys.argv[0])
    with suppress(ValueError):
        path = path.resolve().relative_to(Path.cwd())
    return str(path)
