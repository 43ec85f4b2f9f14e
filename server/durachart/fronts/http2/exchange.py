"""One request and its response, as the application sees it; the stream, as the connection does."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, Protocol

from durachart.fronts.http2.headers import Head

# What waits here of one response before its handler waits, and when it goes on.
HIGH_BYTES = 64 * 1024
LOW_BYTES = 16 * 1024
_SMALL_BYTES = 512


class PeerGone(Exception):
    """The stream was reset or the connection is lost."""


class Application(Protocol):
    """What answers requests."""

    def begin(self, exchange: Exchange) -> None:
        """Look at the head of a request, and say with `Exchange.collect` whether its body is to be whole."""

    def run(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        """Answer. Runs in a task of its own, which is cancelled when the peer leaves."""


class Outgoing(Protocol):
    """What leaves by; see `Sender`."""

    unread_bytes: int

    def headers(self, exchange: Exchange, block: bytes) -> None:
        """Send the header block of a response."""

    def data(self, exchange: Exchange, data: bytes) -> None:
        """Send bytes of a response, or keep them until the windows allow it."""

    def trailers(self, exchange: Exchange, block: bytes) -> None:
        """End a response, after what is kept of it."""

    def flush(self) -> None:
        """Hand over to the transport what is ready."""


class Incoming(Protocol):
    """What comes of requests' bodies; see `Intake`."""

    def taken(self, exchange: Exchange, size: int) -> None:
        """The application took bytes of a body: as many may come."""


class Carrier(Protocol):
    """The connection that an exchange is on; see `Connection`."""

    @property
    def peer(self) -> str:
        """The other end."""

    @property
    def sender(self) -> Outgoing:
        """What leaves."""

    @property
    def intake(self) -> Incoming:
        """What comes."""

    def flush_if_alone(self) -> None:
        """Send at once what is ready, if nobody else on it could add to it in this turn."""


class Exchange:
    """One stream.

    Attributes:
        head: What the request says before its body.
        peer: The other end of the connection.
        complete: Whether all of the body is there.
        gone: Whether the stream was reset or the connection is lost.
        ended: Whether the response is complete, as far as the application is concerned.
        overflowed: Whether the body was longer than is collected.
        reset_here: Whether this side has reset the stream.
    """

    __slots__ = (
        "_arrived",
        "_chunks",
        "_connection",
        "_drained",
        "begun",
        "body_bytes",
        "collected_bytes",
        "complete",
        "ended",
        "expiry",
        "gone",
        "head",
        "overflowed",
        "pending",
        "pending_bytes",
        "reset_here",
        "running",
        "started",
        "stream",
        "task",
        "trailers",
        "uncredited_bytes",
        "waiting_bytes",
        "window",
    )

    def __init__(self, connection: Carrier, stream: int, head: Head, window: int) -> None:
        self._connection = connection
        self.stream = stream
        self.head = head
        self.complete = False
        self.gone = False
        self.ended = False
        self.overflowed = False
        self.reset_here = False
        self.started = False
        # Whether the application was asked to run, and whether it does: a task that is cancelled before its
        # first step never runs at all.
        self.begun = False
        self.running = False
        self.task: asyncio.Task[None] | None = None
        # The request: what came and was not taken.
        self._chunks: deque[bytes] = deque()
        self._arrived: asyncio.Future[None] | None = None
        self.body_bytes = 0
        self.waiting_bytes = 0
        self.uncredited_bytes = 0
        self.collected_bytes: int | None = None
        self.expiry: asyncio.TimerHandle | None = None
        # The response: what the peer's window does not let out yet.
        self.window = window
        self.pending: deque[bytes | memoryview] = deque()
        self.pending_bytes = 0
        self.trailers: bytes | None = None
        self._drained: asyncio.Future[None] | None = None

    @property
    def peer(self) -> str:
        """``192.0.2.1:4711`` or ``[2001:db8::1]:4711``."""
        return self._connection.peer

    @property
    def unread_bytes(self) -> int:
        """What is kept of complete responses, on this connection, because the peer does not read them."""
        return self._connection.sender.unread_bytes

    # --- for the application --------------------------------------------------------------------------------

    def collect(self, limit: int) -> None:
        """Have the application run once the whole body is there, or more than ``limit`` bytes of it."""
        self.collected_bytes = limit

    def body(self) -> bytes:
        """The whole body that was collected; once."""
        chunks = self._chunks
        whole = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self.drop_body()
        return whole

    async def chunk(self) -> bytes:
        """The next bytes of the body; empty at its end. Raises PeerGone."""
        while not self._chunks:
            if self.gone:
                raise PeerGone
            if self.complete:
                return b""
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        taken = self._chunks.popleft()
        self.waiting_bytes -= len(taken)
        self._connection.intake.taken(self, len(taken))
        return taken

    def start(self, block: bytes) -> None:
        """Send the header block of the response, once."""
        self.started = True
        self._connection.sender.headers(self, block)

    def write(self, data: bytes) -> bool:
        """Send bytes of the response's body; False: wait until `drained` before the next."""
        self._connection.sender.data(self, data)
        return self.pending_bytes <= HIGH_BYTES

    def flush(self) -> None:
        """Have what was written leave at once, and not at the end of this turn."""
        self._connection.sender.flush()

    async def drained(self) -> None:
        """Wait until the peer has let enough of the body out, or is gone."""
        while self.pending_bytes > LOW_BYTES and not self.gone:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def end(self, block: bytes) -> None:
        """Send the trailers, after what waits; once."""
        self.ended = True
        self._connection.sender.trailers(self, block)

    def answer(self, headers: bytes, data: bytes, trailers: bytes) -> None:
        """Send a whole response: what `start`, `write` and `end` do, at once."""
        self.started = self.ended = True
        sender = self._connection.sender
        sender.headers(self, headers)
        sender.data(self, data)
        sender.trailers(self, trailers)
        self._connection.flush_if_alone()

    # --- for the connection ---------------------------------------------------------------------------------

    def arrive(self, data: bytes) -> None:
        """Take in bytes of the body."""
        chunks = self._chunks
        self.waiting_bytes += len(data)
        if chunks and len(chunks[-1]) < _SMALL_BYTES:
            # A peer that sends a few bytes at a time must not have us keep an object for each.
            chunks[-1] += data
        else:
            chunks.append(data)
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def finish_body(self) -> None:
        """The body is complete."""
        self.complete = True
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def drop_body(self) -> int:
        """Forget what was not taken; how many bytes it was."""
        size = self.waiting_bytes
        self.waiting_bytes = 0
        self._chunks.clear()
        return size

    def wake_writer(self) -> None:
        """Let a handler go on that waits for room."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def leave(self) -> None:
        """The peer is gone: end the handler."""
        self.gone = True
        self.pending.clear()
        self.pending_bytes = 0
        self.wake_writer()
        if self.expiry is not None:
            self.expiry.cancel()
        if self.task is not None:
            self.task.cancel()
