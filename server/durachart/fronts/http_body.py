"""Reading a request body from ASGI, within bounds, and noticing that the client went away.

ASGI tells of a disconnect only to who waits in ``receive``. While a call runs, a watcher does; what else it
receives (the rest of a streamed request) is kept for the call, up to a bound, past which it stops receiving
and so holds the client up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Self

from durachart.rpc.errors import malformed_message, message_too_large, unsupported_compression

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Envelope = tuple[int, bytes]

_MAX_WAITING_BYTES = 256 * 1024
_PREFIX_BYTES = 5
COMPRESSED = 0x01


class ClientGone(Exception):
    """The client disconnected before the request was complete."""


class RequestBody:
    """The body of one request, chunk by chunk.

    As a context manager it watches the client while the block runs: when the client goes away, the task that
    entered is cancelled inside the block, and the block ends quietly.

    Args:
        receive: Of the ASGI call.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._chunks: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._complete = False
        self._gone = False
        self._task: asyncio.Task[Any] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()

    async def chunk(self) -> bytes:
        """The next bytes; empty at the end.

        Raises:
            ClientGone: The client disconnected before the end.
        """
        while not self._chunks:
            if self._complete:
                return b""
            if self._gone:
                raise ClientGone
            if self._watcher is None:
                await self._take()
            else:
                self._arrived.clear()
                await self._arrived.wait()
        taken = self._chunks.popleft()
        self._waiting_bytes -= len(taken)
        self._room.set()
        return taken

    async def read_all(self, limit: int) -> bytes:
        """The whole body.

        Raises:
            RpcError: MESSAGE_TOO_LARGE, as soon as more than ``limit`` bytes have come.
            ClientGone: The client disconnected before the end.
        """
        first = await self.chunk()
        if len(first) <= limit and self._complete and not self._chunks:
            return first
        parts, size = [first], len(first)
        while size <= limit and (part := await self.chunk()):
            parts.append(part)
            size += len(part)
        if size > limit:
            raise message_too_large(size, limit)
        return b"".join(parts)

    async def _take(self) -> None:
        event = await self._receive()
        if event["type"] == "http.disconnect":
            self._gone = True
            return
        if body := event.get("body", b""):
            self._chunks.append(body)
            self._waiting_bytes += len(body)
        self._complete = not event.get("more_body", False)

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        self._watcher = asyncio.create_task(self._watch())
        return self

    async def _watch(self) -> None:
        while not self._gone:
            while self._waiting_bytes > _MAX_WAITING_BYTES:
                self._room.clear()
                await self._room.wait()
            await self._take()
            self._arrived.set()
        assert self._task is not None
        self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        assert self._watcher is not None
        assert self._task is not None
        self._watcher.cancel()
        return kind is asyncio.CancelledError and self._gone and self._task.uncancel() == 0


class Envelopes:
    """The length-prefixed messages of a body: one byte of flags, four of length, then the message.

    Args:
        body: Where they come from.
        limit: Most bytes of one message; a longer one is refused when its length has come, before it is read.
        decode: Undoes a transfer encoding, such as base64, of the whole body; None when there is none.
    """

    def __init__(self, body: RequestBody, limit: int, decode: Callable[[bytes], bytes] | None = None) -> None:
        self._body = body
        self._limit = limit
        self._decode = decode
        self._buffer = bytearray()

    async def next(self) -> bytes | None:
        """The next message; None at the end.

        Raises:
            RpcError: MESSAGE_TOO_LARGE, MESSAGE_MALFORMED or COMPRESSION_UNSUPPORTED.
            ClientGone: The client disconnected before the end.
        """
        if not await self._fill(_PREFIX_BYTES):
            if self._buffer:
                raise malformed_message("the body ends in the middle of a message's length")
            return None
        flags = self._buffer[0]
        length = int.from_bytes(self._buffer[1:_PREFIX_BYTES], "big")
        if flags & COMPRESSED:
            raise unsupported_compression("a compressed message")
        if flags:
            raise malformed_message(f"a message has the flags {flags:#04x}, only 0 is allowed")
        if length > self._limit:
            raise message_too_large(length, self._limit)
        if not await self._fill(_PREFIX_BYTES + length):
            raise malformed_message(f"the body ends in the middle of a message of {length} bytes")
        message = bytes(memoryview(self._buffer)[_PREFIX_BYTES : _PREFIX_BYTES + length])
        del self._buffer[: _PREFIX_BYTES + length]
        return message

    async def only(self) -> bytes:
        """The one message of the body.

        Raises:
            RpcError: As `next`; MESSAGE_MALFORMED when there is none, or more than one.
            ClientGone: The client disconnected before the end.
        """
        message = await self.next()
        if message is None:
            raise malformed_message("the body has no message")
        if self._buffer or await self.next() is not None:
            raise malformed_message("the body has more than one message where the method takes one")
        return message

    async def each(self) -> AsyncIterator[bytes]:
        """Every message, in order. Raises as `next`."""
        while (message := await self.next()) is not None:
            yield message

    async def _fill(self, size: int) -> bool:
        """Read until ``size`` bytes are there; False when the body ends before."""
        while len(self._buffer) < size:
            chunk = await self._body.chunk()
            if not chunk:
                return False
            self._buffer += self._decode(chunk) if self._decode else chunk
        return True
