"""What workers act on in tests: does what it is asked for once per idempotency key, as a good service does.

It speaks JSON, a line for a request and a line for the answer, so that a worker needs nothing to reach it.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class Receiver:
    """The service.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        asked: How often each key was asked for.
        done: How often each thing was done, by name: twice is a duplicate, whatever the keys were.
        texts: The texts that came with a key.
        refuse: Names that are answered with a refusal.
        hold: Names that are not answered yet.
    """

    def __init__(self) -> None:
        self.port = 0
        self.asked: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.texts: dict[str, set[str]] = {}
        self.refuse: set[str] = set()
        self.hold: set[str] = set()
        self._applied: set[str] = set()
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def wait_asked(self, key: str, count: int = 1) -> None:
        """Wait until a key was asked for so many times."""
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: self.asked[key] >= count)

    async def release(self, name: str) -> None:
        """Answer what was held."""
        async with self._changed:
            self.hold.discard(name)
            self._changed.notify_all()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while line := await reader.readline():
                answer = await self._answer(json.loads(line))
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def close(self) -> None:
        """End the connections there are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, request: dict[str, str]) -> dict[str, Any]:
        key, name = request["key"], request["name"]
        async with self._changed:
            self.asked[key] += 1
            self.texts.setdefault(key, set()).add(request.get("text", ""))
            self._changed.notify_all()
            await self._changed.wait_for(lambda: name not in self.hold)
        if name in self.refuse:
            return {"refused": True}
        if key not in self._applied:
            self._applied.add(key)
            self.done[name] += 1
        return {"refused": False}


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """The service, for as long as the block lasts."""
    receiver = Receiver()
    async with await asyncio.start_server(receiver.serve, "127.0.0.1", 0) as listener:
        receiver.port = listener.sockets[0].getsockname()[1]
        try:
            yield receiver
        finally:
            await receiver.close()
