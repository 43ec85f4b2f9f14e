"""What a team would write instead of a watch: server-sent events with starlette, on uvicorn.

``.venv-bench/bin/python bench/sse_server.py`` says where it listens, and serves until it is told to end:

- ``/transitions?of=N``: once N are connected, transitions of the same content as Durachart's are made as
  fast as all of them are read. Each is made JSON once and sent as one event to each; whoever reads has a
  bounded queue.
- ``/tokens?delay_ms=D``: a generation of its own, a word every D milliseconds, one event for each.

It stores nothing and takes no events from anybody: all it does is sending.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

WINDOW = 256
"""Transitions that may wait for one reader."""


class Transitions:
    """Makes transitions while the asked number of readers is there."""

    def __init__(self, template: dict[str, Any]) -> None:
        self._template = template
        self._queues: set[asyncio.Queue[str]] = set()
        self._making: asyncio.Task[None] | None = None

    async def stream(self, request: Request) -> StreamingResponse:
        return StreamingResponse(self._read(int(request.query_params["of"])), media_type="text/event-stream")

    async def _read(self, of: int) -> AsyncIterator[str]:
        queue: asyncio.Queue[str] = asyncio.Queue(WINDOW)
        self._queues.add(queue)
        yield ": connected\n\n"
        if len(self._queues) == of:
            self._making = asyncio.create_task(self._make())
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues.discard(queue)
            if self._making is not None:
                self._making.cancel()

    async def _make(self) -> None:
        version = 0
        while True:
            version += 1
            transition = self._template["transition"]
            transition["state"]["version"] = str(version)
            transition["entry"]["toVersion"] = str(version)
            event = f"id: {version}\ndata: {json.dumps(self._template)}\n\n"
            for queue in list(self._queues):
                await queue.put(event)
            await asyncio.sleep(0)


async def tokens(request: Request) -> StreamingResponse:
    """One generation, made by a task of its own, and its viewer."""
    delay_s = float(request.query_params["delay_ms"]) / 1000
    queue: asyncio.Queue[tuple[int, str]] = asyncio.Queue()

    async def generate() -> None:
        offset = 0
        # By the clock, as Durachart's built-in model here: late words are caught up with.
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += delay_s
            await asyncio.sleep(due - loop.time())
            queue.put_nowait((offset, "lorem "))
            offset += 6

    async def read() -> AsyncIterator[str]:
        generating = asyncio.create_task(generate())
        try:
            while True:
                offset, word = await queue.get()
                frame = {"effectId": "e1", "attempt": 1, "offset": offset, "text": word}
                yield f"data: {json.dumps(frame)}\n\n"
        finally:
            generating.cancel()

    return StreamingResponse(read(), media_type="text/event-stream")


def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    transitions = Transitions(json.loads(sys.argv[1]))
    routes = [Route("/transitions", transitions.stream), Route("/tokens", tokens)]
    config = uvicorn.Config(Starlette(routes=routes), loop="uvloop", http="httptools", log_level="error")
    print(f"gRPC 127.0.0.1:{listening.getsockname()[1]}\nCtrl-C ends it", flush=True)
    # Not `serve` in a loop of asyncio's own: it is to have the loop that a team would give it.
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
