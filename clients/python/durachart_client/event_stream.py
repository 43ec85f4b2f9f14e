"""Events sent without waiting for answers, over any number of connections.

An event stays with the stream until it is answered. When a connection is lost, what is unanswered is sent
again on the next one, in the order in which it was sent, under the same request ids: so each is taken once,
and events of one instance are taken in order. An event without a request id is not sent twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from durachart_client import convert, errors
from durachart_client.calls import Backoff, is_transient
from durachart_client.gen import state_machine_service_pb2 as pb
from durachart_client.models import Accepted, EventToSend
from durachart_client.rebuild import server_error, status_error
from durachart_client.stubs import Stubs

# What one message carries: a message costs about as much as a few events, and the server refuses large ones.
_MAX_EVENTS = 64
_MAX_MESSAGE_BYTES = 1024 * 1024


class _Sent:
    """An event without an answer."""

    __slots__ = ("answer", "message", "written")

    def __init__(self, message: pb.StreamEvent) -> None:
        self.message = message
        self.answer: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self.written = False

    def fail(self, error: errors.ServerError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class EventStream:
    """Made by ``Client.stream_events``; leaving the ``async with`` block waits for all answers.

    When the block is left by an exception, or the stream or its client is closed, what has no answer fails
    with ``Unavailable``; it may have been taken all the same.
    """

    def __init__(self, stubs: Stubs, namespace: str, window: int) -> None:
        if window < 1:
            raise ValueError("the window must be 1 or more")
        self._stubs = stubs
        self._namespace = namespace
        self._window = window
        self._unanswered: dict[str, _Sent] = {}
        self._unwritten: deque[_Sent] = deque()
        self._sent = 0
        self._answered = 0
        self._changed = asyncio.Event()
        self._work = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def unanswered(self) -> int:
        """How many events have no answer yet."""
        return len(self._unanswered)

    async def send(self, event: EventToSend) -> asyncio.Future[Accepted]:
        """Send one event, as soon as the window has room.

        Returns:
            Gets the answer, or the error that ``Client.send`` would have raised. Cancelling it takes nothing
            back.

        Raises:
            RuntimeError: The stream is closed.
        """
        while len(self._unanswered) >= self._window and not self._closed:
            self._changed.clear()
            await self._changed.wait()
        if self._closed:
            raise RuntimeError("the stream is closed")
        self._sent += 1
        name = str(self._sent)
        message = pb.StreamEvent(
            correlation_id=name, send_event=convert.send_event_request(event, self._namespace)
        )
        sent = self._unanswered[name] = _Sent(message)
        self._unwritten.append(sent)
        self._work.set()
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return sent.answer

    async def wait_answers(self) -> None:
        """Wait until every event sent so far is answered, or has failed."""
        while self._unanswered:
            self._changed.clear()
            await self._changed.wait()

    async def aclose(self) -> None:
        """End the stream at once; closing again does nothing."""
        self._closed = True
        self._changed.set()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        self._fail(errors.Unavailable("the stream was closed before the answer came"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.wait_answers()
        await self.aclose()

    # --- the connections ---------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Hold a connection; give up when no answer can be had within the client's timeout."""
        connection = self._stubs.connection
        loop = asyncio.get_running_loop()
        backoff = Backoff(connection.policy)
        answered, attempts, last_answer_at = -1, 0, 0.0
        while True:
            failure = await self._connected()
            if self._answered > answered:
                answered, attempts, last_answer_at = self._answered, 0, loop.time()
                backoff.reset()
            attempts += 1
            wait = backoff.next_wait(failure.retry_after)
            late = loop.time() + wait - last_answer_at >= connection.timeout.total_seconds()
            if not is_transient(failure) or late or attempts == connection.policy.max_attempts:
                self._fail(failure)
                return
            await asyncio.sleep(wait)

    async def _connected(self) -> errors.ServerError:
        """Send and receive until the connection ends; returns why it did."""
        self._begin_anew()
        call = self._stubs.instances.StreamEvents(metadata=self._stubs.connection.metadata())
        writing = asyncio.create_task(self._write(call))
        try:
            while (message := await call.read()) is not grpc.aio.EOF:
                for result in message.results:
                    self._take(result)
            return errors.Unavailable("the server ended the stream")
        except grpc.aio.AioRpcError as error:
            return server_error(error)
        finally:
            writing.cancel()
            call.cancel()
            await asyncio.wait([writing])

    def _begin_anew(self) -> None:
        """What was written to a connection that is gone is written again, if it may be."""
        for name, sent in list(self._unanswered.items()):
            if sent.written and not sent.message.send_event.request_id:
                del self._unanswered[name]
                sent.fail(errors.Unavailable("the connection was lost before the answer came"))
        self._unwritten = deque(self._unanswered.values())
        self._changed.set()
        self._work.set()

    async def _write(self, call: Any) -> None:
        # The reader hears why a call ended.
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                while self._unwritten:
                    await call.write(self._next_request())
                self._work.clear()
                await self._work.wait()

    def _next_request(self) -> pb.StreamEventsRequest:
        """What waits to be written, as far as one message takes it; at least one event."""
        request = pb.StreamEventsRequest()
        size = 0
        while self._unwritten and len(request.events) < _MAX_EVENTS:
            sent = self._unwritten[0]
            size += sent.message.ByteSize()
            if size > _MAX_MESSAGE_BYTES and request.events:
                break
            self._unwritten.popleft()
            sent.written = True
            request.events.append(sent.message)
        return request

    def _take(self, message: pb.StreamEventsResult) -> None:
        sent = self._unanswered.pop(message.correlation_id, None)
        if sent is None:
            return
        self._answered += 1
        self._changed.set()
        if sent.answer.done():
            return
        if message.HasField("response"):
            sent.answer.set_result(convert.accepted(message.response))
        else:
            request_id = sent.message.send_event.request_id
            sent.answer.set_exception(status_error(message.error, request_id=request_id))

    def _fail(self, failure: errors.ServerError) -> None:
        unanswered, self._unanswered = self._unanswered, {}
        self._unwritten.clear()
        for sent in unanswered.values():
            sent.fail(failure)
        self._changed.set()
