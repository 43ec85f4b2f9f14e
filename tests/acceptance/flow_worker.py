"""A worker process for the tests: runs the operations of ``flow`` and kills itself where it is told to.

Arguments: the server's address, the port of the receiver, a directory for marks. An execution whose id ends
in ``@BOUNDARY`` kills the worker that first comes there: ``STEP/OPERATION/PART/before``, before the part of
the operation is done; ``…/after``, when it is done and not yet recorded; ``…/recorded``, when it is.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from durachart_client import Effect, Fail, Json, Worker

SERVER, RECEIVER, MARKS = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
worker = Worker(SERVER, concurrency=1, lease=timedelta(seconds=1), grace=timedelta(seconds=30))


async def ask(effect: Effect, name: str, key: str, text: str = "") -> None:
    """Ask the receiver to do something, under a key."""
    reader, writer = await asyncio.open_connection("127.0.0.1", RECEIVER)
    try:
        writer.write(json.dumps({"name": name, "key": key, "text": text}).encode() + b"\n")
        await writer.drain()
        answer = json.loads(await reader.readline())
    finally:
        writer.close()
    if answer["refused"]:
        raise Fail("RECEIVER_REFUSED", f"{name} was refused.")


def boundary(effect: Effect, part: str, when: str) -> None:
    """Die here, once, if that is what this execution is for."""
    execution = effect.instance.instance_id
    here = f"{effect.params['step']}/{effect.params['operation']}/{part}/{when}"
    if execution.partition("@")[2] == here:
        try:
            (MARKS / execution.replace("/", "_")).touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


async def part(effect: Effect, name: str, do: Callable[[], Awaitable[Json]]) -> Json:
    """A recorded step of an operation, with a boundary between every two things that happen."""

    async def bounded() -> Json:
        boundary(effect, name, "before")
        output = await do()
        boundary(effect, name, "after")
        return output

    output = await effect.step(name, bounded)
    boundary(effect, name, "recorded")
    return output


def name_of(effect: Effect) -> str:
    """What is asked for, however often and by whichever effect."""
    return f"{effect.instance.instance_id}/{effect.params['step']}/{effect.params['operation']}"


@worker.effect("flow.counter")
async def update_counter(effect: Effect) -> None:
    """One part: the receiver counts."""
    name = name_of(effect)
    await part(effect, "increment", lambda: ask(effect, name, key=effect.step_key("increment")))


@worker.effect("flow.message")
async def send_message(effect: Effect) -> None:
    """Two parts: a text that is another one each time it is written, and its sending."""
    name = name_of(effect)

    async def write() -> str:
        return uuid.uuid4().hex

    text = await part(effect, "write", write)
    await part(effect, "send", lambda: ask(effect, name, effect.step_key("send"), text))


if __name__ == "__main__":
    asyncio.run(worker.run())
