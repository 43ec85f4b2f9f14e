"""A tiny HTTP server that streams what a test says, byte for byte, and sees when the other side goes away.

For what aimock cannot do: end a stream properly but too early, send garbage, fall silent, refuse to begin.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

_LIMIT_S = 30


class Exchange:
    """One request and the answer to it.

    Attributes:
        path: Of the request.
        headers: Of the request, with lower-case names.
        body: Of the request, parsed.
    """

    def __init__(self, path: str, headers: dict[str, str], body: Any, writer: asyncio.StreamWriter) -> None:
        self.path = path
        self.headers = headers
        self.body = body
        self._writer = writer

    async def begin(self, status: int = 200, content_type: str = "text/event-stream") -> None:
        """Send the head of an answer that ends when the connection does."""
        head = f"HTTP/1.1 {status} Status\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n"
        await self.send(head)

    async def send(self, text: str) -> None:
        """Send as it is."""
        self._writer.write(text.encode())
        await self._writer.drain()

    async def event(self, data: object, name: str = "") -> None:
        """Send one server-sent event."""
        text = data if isinstance(data, str) else json.dumps(data)
        await self.send((f"event: {name}\n" if name else "") + f"data: {text}\n\n")

    def reset(self) -> None:
        """Tear the connection down without ending it."""
        self._writer.transport.abort()


class SseServer:
    """Answers each request with ``script``.

    Attributes:
        url: Base URL.
        exchanges: Requests so far.
        serving: Tasks of the open connections.
    """

    def __init__(self, script: Callable[[Exchange], Awaitable[None]]) -> None:
        self._script = script
        self.url = ""
        self.exchanges: list[Exchange] = []
        self.serving: set[asyncio.Task[None]] = set()
        self._gone: asyncio.Queue[None] = asyncio.Queue()

    async def wait_gone(self) -> None:
        """Wait until the other side closed a connection before its answer was complete."""
        async with asyncio.timeout(_LIMIT_S):
            await self._gone.get()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)
        request_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        exchange = Exchange(request_line.split()[1], headers, body, writer)
        self.exchanges.append(exchange)
        script = asyncio.ensure_future(self._script(exchange))
        # The client sends nothing more: what can be read now is the end of the connection.
        end = asyncio.ensure_future(reader.read())
        try:
            await asyncio.wait({script, end}, return_when=asyncio.FIRST_COMPLETED)
            if not script.done():
                self._gone.put_nowait(None)
        finally:
            for task in (script, end):
                task.cancel()
            await asyncio.wait({script, end})
            with suppress(OSError):
                if not script.cancelled():
                    script.result()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def running_sse_server(script: Callable[[Exchange], Awaitable[None]]) -> AsyncIterator[SseServer]:
    """Serve on a free loopback port.

    Args:
        script: Answers a request; when it returns, the connection is closed properly.
    """
    server = SseServer(script)
    listener = await asyncio.start_server(server._serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()
        # The clients are closed by now, which ends every exchange.
        async with asyncio.timeout(_LIMIT_S):
            await asyncio.gather(*server.serving)
