"""Reading a request body from ASGI, within bounds, and noticing that the client went away.

ASGI tells of a disconnect only to who waits in ``receive``. While a call runs, a watcher does; what else it
receives (the rest of a streamed request) is kept for the call, up to a bound, past which it stops receiving
and so holds the client up. A call whose request is complete is watched only once it takes a while: most are
over before that, and a watcher is a task.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Protocol, Self

from durachart.fronts.compression import Inflate
from durachart.rpc.deadlines import before
from durachart.rpc.errors import (
    malformed_message,
    message_too_large,
    unsupported_compression,
)

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Envelope = tuple[int, bytes]

_MAX_WAITING_BYTES = 256 * 1024
_WATCHED_AFTER_S = 0.05
PREFIX_BYTES = 5
COMPRESSED = 0x01


def peer_of(scope: Mapping[str, Any]) -> str:
    """The other end of the connection, as `CallContext` has it; empty: it is not known."""
    client = scope.get("client")
    if not client:
        return ""
    host, port = client
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class ClientGone(Exception):
    """The client disconnected before the request was complete."""


class RequestBody:
    """The body of one request.

    As a context manager it watches the client while the block runs: when the client goes away, the task that
    entered is cancelled inside the block, and the block ends quietly.

    Args:
        receive: Of the ASGI call.
    """

    __slots__ = (
        "_arrived",
        "_chunks",
        "_complete",
        "_gone",
        "_later",
        "_receive",
        "_room",
        "_task",
        "_waiting_bytes",
        "_watcher",
    )

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._chunks: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._complete = False
        self._gone = False
        self._task: asyncio.Task[Any] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None

    async def read_all(self, limit: int, until: float) -> bytes:
        """The whole body, before it is watched.

        Args:
            limit: Most bytes.
            until: When to give up waiting for it, on the event loop's clock in seconds.

        Raises:
            RpcError: MESSAGE_TOO_LARGE, as soon as more than ``limit`` bytes have come; DEADLINE_EXCEEDED.
            ClientGone: The client disconnected before the end.
        """
        await before(until, self._take_all(limit))
        if self._waiting_bytes > limit:
            raise message_too_large(self._waiting_bytes, limit)
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    async def _take_all(self, limit: int) -> None:
        await self._take()
        while not self._complete and self._waiting_bytes <= limit:
            await self._take()

    async def chunk(self) -> bytes:
        """The next bytes of a body that is watched; empty at the end."""
        while not self._chunks:
            if self._complete:
                return b""
            self._arrived.clear()
            await self._arrived.wait()
        taken = self._chunks.popleft()
        self._waiting_bytes -= len(taken)
        self._room.set()
        return taken

    async def _take(self) -> None:
        event = await self._receive()
        if event["type"] == "http.disconnect":
            self._gone = True
            raise ClientGone
        if body := event.get("body", b""):
            self._chunks.append(body)
            self._waiting_bytes += len(body)
        self._complete = not event.get("more_body", False)

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        if self._complete:
            self._later = asyncio.get_running_loop().call_later(_WATCHED_AFTER_S, self._begin_to_watch)
        else:
            self._arrived = asyncio.Event()
            self._room = asyncio.Event()
            self._begin_to_watch()
        return self

    def _begin_to_watch(self) -> None:
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        with contextlib.suppress(ClientGone):
            while not self._complete:
                while self._waiting_bytes > _MAX_WAITING_BYTES:
                    self._room.clear()
                    await self._room.wait()
                await self._take()
                self._arrived.set()
            await self._take()
        assert self._task is not None
        self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        assert self._task is not None
        if self._later is not None:
            self._later.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        return kind is asyncio.CancelledError and self._gone and self._task.uncancel() == 0


def only_message(body: bytes, limit: int, inflate: Inflate | None = None) -> bytes:
    """The one length-prefixed message of a whole body.

    Args:
        body: All of it.
        limit: Most bytes of the message, compressed or not.
        inflate: What undoes its compression; None: it may not be compressed.

    Raises:
        RpcError: MESSAGE_TOO_LARGE, MESSAGE_MALFORMED or COMPRESSION_UNSUPPORTED.
    """
    if not body:
        raise malformed_message("the body has no message")
    length, compressed = _prefix(body, limit, inflate)
    if len(body) < PREFIX_BYTES + length:
        raise malformed_message(f"the body ends in the middle of a message of {length} bytes")
    if len(body) > PREFIX_BYTES + length:
        raise malformed_message("the body has more than one message where the method takes one")
    message = body[PREFIX_BYTES:]
    return inflate(message, limit) if compressed and inflate is not None else message


def _prefix(prefix: bytes | bytearray, limit: int, inflate: Inflate | None) -> tuple[int, bool]:
    """The length that a prefix announces, and whether the message is compressed."""
    if len(prefix) < PREFIX_BYTES:
        raise malformed_message("the body ends in the middle of a message's length")
    flags = prefix[0]
    if flags & COMPRESSED and inflate is None:
        raise unsupported_compression("a compressed message")
    if flags & ~COMPRESSED:
        raise malformed_message(f"a message has the flags {flags:#04x}, only 0 and 1 are allowed")
    length = int.from_bytes(prefix[1:PREFIX_BYTES], "big")
    if length > limit:
        raise message_too_large(length, limit)
    return length, bool(flags)


class Chunks(Protocol):
    """A body that comes in pieces."""

    async def chunk(self) -> bytes:
        """The next bytes; empty at the end."""


class Envelopes:
    """The length-prefixed messages of a body that streams: a byte of flags, four of length, the message.

    Args:
        body: Where they come from.
        limit: Most bytes of one message; a longer one is refused when its length has come, before it is read.
        decode: Undoes a transfer encoding, such as base64, of the whole body; None when there is none.
        inflate: Undoes the compression of a message; None: none may be compressed.
    """

    def __init__(
        self,
        body: Chunks,
        limit: int,
        decode: Callable[[bytes], bytes] | None = None,
        inflate: Inflate | None = None,
    ) -> None:
        self._body = body
        self._limit = limit
        self._decode = decode
        self._inflate = inflate
        self._buffer = bytearray()

    async def each(self) -> AsyncIterator[bytes]:
        """Every message, in order. Raises as `only_message`."""
        while await self._fill(PREFIX_BYTES) or self._buffer:
            length, compressed = _prefix(self._buffer, self._limit, self._inflate)
            if not await self._fill(PREFIX_BYTES + length):
                raise malformed_message(f"the body ends in the middle of a message of {length} bytes")
            message = bytes(memoryview(self._buffer)[PREFIX_BYTES : PREFIX_BYTES + length])
            yield self._inflate(message, self._limit) if compressed and self._inflate is not None else message
            del self._buffer[: PREFIX_BYTES + length]

    async def _fill(self, size: int) -> bool:
        """Read until ``size`` bytes are there; False when the body ends before."""
        while len(self._buffer) < size:
            chunk = await self._body.chunk()
            if not chunk:
                return False
            self._buffer += self._decode(chunk) if self._decode else chunk
        return True
