"""Events in numbers: each stands for itself, as with SendEvent, and its error is its own answer.

No event costs a task: it is offered to the runtime, which calls back with the answer. Events of one instance
are judged in the order in which they came.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from functools import partial

from google.rpc.status_pb2 import Status

from durachart.rpc import convert
from durachart.rpc.context import CallContext
from durachart.rpc.errors import Violation, error_of, invalid_request, shutting_down
from durachart.rpc.gen import state_machine_service_pb2 as pb
from durachart.rpc.status import RpcError
from durachart.rpc.validation import MAX_CORRELATION_ID_CHARS, check
from durachart.runtime.offers import Offer
from durachart.runtime.runtime import Runtime
from durachart.runtime.views import Accepted

DEFAULT_WINDOW = 256
"""Events of a stream that may be unanswered."""

Outcome = pb.SendEventResponse | Status
OnOutcome = Callable[[Outcome], None]


class EventSender:
    """Sends the events of one call.

    Args:
        runtime: What takes them.
        ctx: The call.
    """

    def __init__(self, runtime: Runtime, ctx: CallContext) -> None:
        self._runtime = runtime
        self._method = ctx.method
        self._caller = convert.caller_of(ctx)

    def send(self, request: pb.SendEventRequest, on_outcome: OnOutcome) -> Offer:
        """Offer one event; ``on_outcome`` is called once with its outcome, perhaps before this returns."""
        try:
            check(request)
        except RpcError as error:
            on_outcome(error.status())
            return Offer(None)
        command = convert.send_event(request)
        return self._runtime.offer_event(command, self._caller, partial(self._answer, on_outcome))

    def _answer(self, on_outcome: OnOutcome, answer: Accepted | BaseException) -> None:
        outcome: Outcome
        try:
            if isinstance(answer, BaseException):
                raise answer
            outcome = convert.accepted(answer)
        except Exception as error:  # noqa: BLE001 - is the outcome
            outcome = error_of(error, self._method).status()
        on_outcome(outcome)


async def send_all(sender: EventSender, requests: Sequence[pb.SendEventRequest]) -> list[pb.SendEventResult]:
    """Send events together, so that they share transactions; one result for each, in the order given."""
    results: list[pb.SendEventResult] = [pb.SendEventResult() for _ in requests]
    missing = len(results)
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(result: pb.SendEventResult, outcome: Outcome) -> None:
        nonlocal missing
        _fill(result, outcome)
        missing -= 1
        if not missing and not finished.done():
            finished.set_result(None)

    offers = [
        sender.send(request, partial(take, result)) for request, result in zip(requests, results, strict=True)
    ]
    try:
        await finished
    finally:
        for offer in offers:
            offer.withdraw()
    return results


class EventStream:
    """The events of one stream, and their answers.

    Args:
        sender: What sends them.
        window: How many may be unanswered before no more are read, >= 1. An answer counts as long as its
            reader has not made room for it.
    """

    def __init__(self, sender: EventSender, window: int) -> None:
        self._sender = sender
        self._window = window
        self._answers: deque[pb.StreamEventsResponse] = deque()
        self._unanswered = 0
        self._offers: dict[int, Offer] = {}
        self._taken = 0
        self._room: asyncio.Future[None] | None = None
        self._news: asyncio.Future[None] | None = None
        self._ended = False
        self._failure: Exception | None = None

    def drain(self) -> None:
        """Take no more events; those taken are answered, then the stream ends with SHUTTING_DOWN."""
        self._end(shutting_down())

    async def answers(
        self, requests: AsyncIterator[pb.StreamEventsRequest]
    ) -> AsyncGenerator[pb.StreamEventsResponse, None]:
        """The answers as they come, until there are no more requests and all are answered."""
        reading = asyncio.create_task(self._read(requests))
        try:
            while True:
                while self._answers:
                    yield self._answers.popleft()
                    self._unanswered -= 1
                    _set(self._room)
                if self._ended and not self._unanswered:
                    break
                self._news = asyncio.get_running_loop().create_future()
                await self._news
            if self._failure is not None:
                raise self._failure
        finally:
            self._ended = True
            for offer in self._offers.values():
                offer.withdraw()
            reading.cancel()
            await asyncio.wait([reading])

    async def _read(self, requests: AsyncIterator[pb.StreamEventsRequest]) -> None:
        try:
            async for request in requests:
                if self._ended:
                    return
                self._take(request)
                while self._unanswered >= self._window:
                    self._room = asyncio.get_running_loop().create_future()
                    await self._room
            self._end(None)
        except Exception as error:  # noqa: BLE001 - ends the stream, after the answers to what came before
            self._end(error)

    def _take(self, request: pb.StreamEventsRequest) -> None:
        self._taken += 1
        number = self._taken
        self._unanswered += 1
        response = pb.StreamEventsResponse(correlation_id=request.correlation_id)
        done = partial(self._answer, number, response)
        if len(request.correlation_id) > MAX_CORRELATION_ID_CHARS:
            text = f"must have at most {MAX_CORRELATION_ID_CHARS} characters"
            done(invalid_request([Violation("correlation_id", text)]).status())
            return
        offer = self._sender.send(request.send_event, done)
        if offer.pending:
            self._offers[number] = offer

    def _answer(self, number: int, response: pb.StreamEventsResponse, outcome: Outcome) -> None:
        self._offers.pop(number, None)
        _fill(response, outcome)
        self._answers.append(response)
        _set(self._news)

    def _end(self, failure: Exception | None) -> None:
        if not self._ended:
            self._ended = True
            self._failure = failure
            _set(self._news)


def _fill(result: pb.SendEventResult | pb.StreamEventsResponse, outcome: Outcome) -> None:
    if isinstance(outcome, Status):
        result.error.CopyFrom(outcome)
    else:
        result.response.CopyFrom(outcome)


def _set(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
