"""A process that has everything of the server imported, and forks one whenever it is asked to; or a worker.

Starting Python and importing the server takes seconds of a processor, which hundreds of restarts would spend
on nothing. A forked server is ready in some 50 ms; from there on it is ``durachart serve`` as ever, run by
the command line's own entry. The nursery has one thread and opens nothing that a fork must not share.

One line of JSON asks for it: ``{"program": "serve" or "work", "arguments": [...], "environment": {...},
"directory": "...", "lease_ms": N or null}``. Lines answer: ``{"started": PID}``, and later
``{"ended": PID, "status": STATUS}`` with the status as ``os.waitpid`` has it. When its input ends, the
nursery kills what still runs and ends.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import aiosqlite
import asyncpg
import openai
import uvloop

import durachart.app.server
from durachart.app import foreground, logs, machines
from durachart.app.cli import application, main
from durachart.workers.effect_worker import EffectWorkerSettings
from durachart.workers.timer_worker import TimerWorker, TimerWorkerSettings
from tests.acceptance.faults import worker

STDOUT, STDERR = "stdout.log", "stderr.log"
# What a server imports when it needs it, and every fork would import anew.
_IMPORTED = (aiosqlite, application, asyncpg, foreground, logs, machines, openai, uvloop)


def _become(asked: dict[str, Any]) -> None:
    """Be the process that was asked for."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    directory = Path(asked["directory"])
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for number, name in ((1, STDOUT), (2, STDERR)):
        log = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, number)
    os.closerange(3, 64)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(directory)
    if asked["program"] == "work":
        _work(asked)
    else:
        _serve(asked)


def _work(asked: dict[str, Any]) -> None:
    (address,) = asked["arguments"]
    uvloop.run(worker.work(address, asked["lease_ms"]))


def _serve(asked: dict[str, Any]) -> NoReturn:
    if asked["lease_ms"] is not None:
        lease_ms = asked["lease_ms"]
        app: Any = durachart.app.server
        app.EffectWorkerSettings = partial(EffectWorkerSettings, lease_ms=lease_ms)
        app.TimerWorker = partial(TimerWorker, settings=TimerWorkerSettings(claim_ms=lease_ms))
    sys.argv = ["durachart", "serve", *asked["arguments"]]
    main()


def _fork(asked: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        _become(asked)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _say(**what: int) -> None:
    print(json.dumps(what), flush=True)


def _reap(running: set[int]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            running.discard(pid)
            _say(ended=pid, status=status)


def _run() -> None:
    running: set[int] = set()
    # The signal that a child has ended becomes a byte to be waited for beside the input.
    ring, rung = os.pipe()
    for end in (ring, rung):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(rung, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _say(ready=os.getpid())
    waiting = b""
    try:
        while True:
            readable, _, _ = select.select([0, ring], [], [])
            if ring in readable:
                os.read(ring, 4096)
                _reap(running)
            if 0 in readable:
                got = os.read(0, 65536)
                if not got:
                    return
                *lines, waiting = (waiting + got).split(b"\n")
                for line in lines:
                    pid = _fork(json.loads(line))
                    running.add(pid)
                    _say(started=pid)
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    _run()
