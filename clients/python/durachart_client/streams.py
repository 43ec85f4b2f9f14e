"""A stream that survives its connections: what watches and token streams have in common.

A stream has a position (a resume token, an offset). A connection that is cut, silent for too long, or
announced as ending is replaced by another that begins strictly after the position. Positions move only when
an event has been taken from the queue, and nothing is read while the queue holds events, so a replaced
connection loses nothing.

Whoever leaves - by ``break``, by cancellation, by closing the client - leaves no call behind: grpc.aio
never collects an abandoned call, so the call is cancelled explicitly, at the latest when the stream object
goes away.

Thousands of streams may be begun at once: they open in turns (`opening`), and what is refused all the same is
tried again after a random wait.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc
import grpc.aio

from durachart_client import errors
from durachart_client.calls import Backoff, Connection, is_transient
from durachart_client.opening import Turn
from durachart_client.rebuild import server_error

Event = TypeVar("Event")

OnInterrupt = Callable[[errors.ServerError, timedelta], None]
"""Told why a connection was lost, and how long the stream waits before it connects again."""


class ResumableStream(ABC, AsyncIterator[Event], Generic[Event]):
    """An endless-looking iterator over one server stream at a time.

    One task at a time may iterate. Cancelling an ``anext`` keeps the position: iterating again goes on
    after the last event. As an async context manager it closes on exit; ``break`` and garbage collection
    close it as well.
    """

    _call: Any = None
    _loop: asyncio.AbstractEventLoop | None = None

    def __init__(
        self, connection: Connection, *, silence: timedelta | None, on_interrupt: OnInterrupt | None
    ) -> None:
        self._connection = connection
        self._silence = silence
        self._on_interrupt = on_interrupt
        self._frames: deque[Any] = deque()
        self._backoff = Backoff(connection.policy)
        self._attempts = 0
        self._opened_at = 0.0
        self._first_deadline: float | None = None
        self._turn: Turn | None = None
        self._established = False
        self._heard = False
        self._reading = False
        self._ended = asyncio.Event()
        self._complete = False

    @abstractmethod
    def _open(self) -> Any:
        """Begin a call strictly after the current position."""

    @abstractmethod
    def _frames_of(self, message: Any) -> Sequence[Any]:
        """The frames of one response, in order."""

    @abstractmethod
    def _take(self, frame: Any) -> Event | None:
        """Move the position past ``frame``; the event it makes, or None when it makes none.

        Sets ``_complete`` with the last frame the stream can have.
        """

    def _is_end(self) -> bool:
        """Whether a stream that the server ended with OK has said all it had to say; otherwise it was cut."""
        return False

    @property
    def closed(self) -> bool:
        """Whether the stream has ended, failed or been closed."""
        return self._ended.is_set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._reading:
            raise RuntimeError("another task is waiting for this stream's next event")
        self._reading = True
        try:
            return await self._next()
        except (errors.ClientError, StopAsyncIteration):
            self._finish()
            raise
        finally:
            self._reading = False

    async def _next(self) -> Event:
        while True:
            while self._frames:
                event = self._take(self._frames.popleft())
                if event is not None:
                    return event
            if self._complete or self.closed:
                raise StopAsyncIteration
            await self._receive()

    async def _receive(self) -> None:
        """Wait for one response, on a new connection if there is none; a lost one leaves nothing queued."""
        try:
            if self._call is None:
                await self._begin()
            async with asyncio.timeout(self._silence.total_seconds() if self._silence else None):
                message = await self._call.read()
        except TimeoutError:
            silence = self._silence or timedelta()
            await self._lost(errors.Unavailable(f"the server was silent for {silence.total_seconds():g} s"))
        except grpc.aio.AioRpcError as error:
            failure = server_error(error)
            if not self._may_go_on(failure):
                raise failure from error
            await self._lost(failure)
        except asyncio.CancelledError:
            self._drop()
            task = asyncio.current_task()
            # Closing the stream or the client cancels the call, not the task that reads it.
            if self.closed and task is not None and not task.cancelling():
                raise StopAsyncIteration from None
            raise
        else:
            if message is not grpc.aio.EOF:
                self._established = self._heard = True
                self._end_turn()
                self._frames.extend(self._frames_of(message))
            elif self._is_end():
                raise StopAsyncIteration
            else:
                await self._lost(errors.Unavailable("the server ended the stream"))

    async def _begin(self) -> None:
        self._turn = self._connection.openings.turn()
        await self._turn.wait()
        self._loop = loop = asyncio.get_running_loop()
        if self._first_deadline is None:
            self._first_deadline = loop.time() + self._connection.timeout.total_seconds()
        self._opened_at = loop.time()
        self._attempts += 1
        self._heard = False
        self._call = self._open()

    def _may_go_on(self, failure: errors.ServerError) -> bool:
        """Whether another connection may do better than one that failed."""
        if is_transient(failure):
            return True
        # A stream that was served is no longer: the headers it began with have expired, or what lies between
        # here and the server broke off in its own words. A new connection asks for headers anew, and if it is
        # refused as well, without a message, then that is the answer.
        return self._heard and (failure.code == "UNAUTHENTICATED" or failure.reason == "")

    async def _lost(self, failure: errors.ServerError) -> None:
        """Wait before the next connection; a stream that never was established gives up when time is up."""
        self._drop()
        loop = asyncio.get_running_loop()
        policy = self._connection.policy
        # A server that accepts and fails at once must not be asked in a tight loop: only a life longer than
        # the longest wait counts as recovery.
        if self._established and loop.time() - self._opened_at > policy.maximum_ms / 1000:
            self._backoff.reset()
        wait = self._backoff.next_wait(failure.retry_after)
        if not self._established:
            late = self._first_deadline is not None and loop.time() + wait >= self._first_deadline
            if late or self._attempts == policy.max_attempts:
                raise failure
        if self._on_interrupt is not None:
            self._on_interrupt(failure, timedelta(seconds=wait))
        try:
            async with asyncio.timeout(wait):
                await self._ended.wait()
        except TimeoutError:
            pass

    def _drop(self) -> None:
        self._end_turn()
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.end()

    def _finish(self) -> None:
        self._ended.set()
        self._frames.clear()
        self._drop()

    async def aclose(self) -> None:
        """End the stream and its call; a waiting ``anext`` ends the iteration. Closing again does nothing."""
        self._finish()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # The garbage collector may run on any thread, a call belongs to its loop's.
        if self._call is not None and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._call.cancel)
