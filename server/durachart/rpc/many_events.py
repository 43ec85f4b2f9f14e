"""Events in numbers: each stands for itself, as with SendEvent, and its error is its own answer.

No event costs a task: it is offered to the runtime, which calls back with the answer. Events of one instance
are judged in the order in which they came.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from functools import partial

from durachart.rpc import convert
from durachart.rpc.context import CallContext
from durachart.rpc.errors import Violation, error_of, invalid_request, shutting_down
from durachart.rpc.gen import state_machine_service_pb2 as pb
from durachart.rpc.status import RpcError
from durachart.rpc.validation import MAX_CORRELATION_ID_CHARS, check
from durachart.runtime.paging import size_bytes
from durachart.runtime.queue.offers import Offer, OnAnswer
from durachart.runtime.runtime import Runtime
from durachart.runtime.views import Accepted

DEFAULT_WINDOW = 256
"""Events of a stream that may be unanswered."""

# One response stays well under the 4 MiB that gRPC clients take by default; a single answer may exceed it,
# within the context's limit.
MAX_RESPONSE_BYTES = 1024 * 1024
MAX_RESULTS = 64
# What contexts, outputs and parameters of effects in one response of SendEvents may come to before further
# results go without them. So a thousand results stay under the same 4 MiB, if labels and state values are not
# large: a response that its caller cannot take in is of events that have been applied.
FULL_RESULTS_BYTES = 2 * 1024 * 1024
# What a stream's answers that nobody reads may amount to, about: their contexts may be a mebibyte each.
_UNREAD_BYTES = 8 * 1024 * 1024
# Under way before it is known how large the answers are.
_AT_FIRST = 16

Answer = Accepted | Exception


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

    def send(self, request: pb.SendEventRequest, on_answer: OnAnswer) -> Offer:
        """Offer one event; ``on_answer`` is called once with its answer, perhaps before this returns."""
        try:
            check(request)
        except RpcError as error:
            on_answer(error)
            return Offer(None)
        return self._runtime.offer_event(convert.send_event(request), self._caller, on_answer)

    def fill(self, result: pb.SendEventResult | pb.StreamEventsResult, answer: Answer) -> None:
        """Put an answer into its empty result; one that cannot be put on the wire is an error of its own."""
        if isinstance(answer, Exception):
            self._refuse(result, answer)
            return
        try:
            convert.fill_accepted(result.response, answer)
        except Exception as error:  # noqa: BLE001 - is the result
            # Of the two, only the one set last is there.
            self._refuse(result, error)

    def _refuse(self, result: pb.SendEventResult | pb.StreamEventsResult, error: Exception) -> None:
        result.error.CopyFrom(error_of(error, self._method).status())


async def send_all(sender: EventSender, requests: Sequence[pb.SendEventRequest]) -> pb.SendEventsResponse:
    """Send events together, so that they share transactions; one result for each, in the order given."""
    response = pb.SendEventsResponse()
    results = [response.results.add() for _ in requests]
    missing = len(results)
    room = FULL_RESULTS_BYTES
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(result: pb.SendEventResult, answer: Answer) -> None:
        nonlocal missing, room
        if isinstance(answer, Accepted):
            # Before it is put in: a message does not give back what it has held.
            size = _full_bytes(answer)
            if size > room:
                answer = _basic(answer)
            else:
                room -= size
        sender.fill(result, answer)
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
    return response


def _full_bytes(answer: Accepted) -> int:
    """About what an answer holds that `_basic` does not."""
    state = answer.state
    size = len(state.meta_json) + size_bytes(state.output_json) + size_bytes(state.context_json)
    for effect in answer.effects:
        size += size_bytes(effect.params_json)
    return size


def _basic(answer: Accepted) -> Accepted:
    """An answer without what view BASIC does not have, and without the parameters of effects."""
    state = answer.state._replace(
        context_json="", allowed_events=(), meta_json="", output_json="", evaluated_at=None
    )
    effects = tuple(effect._replace(params_json="") for effect in answer.effects)
    return answer._replace(state=state, effects=effects)


class EventStream:
    """The events of one stream, and their answers.

    Args:
        sender: What sends them.
        window: How many may be unanswered before no more are taken, >= 1; fewer while answers are so large
            that together they would pass some mebibytes. An answer counts as long as its reader has not made
            room for it.
    """

    def __init__(self, sender: EventSender, window: int) -> None:
        self._sender = sender
        self._most = window
        self._window = min(window, _AT_FIRST)
        self._answer_bytes = 0
        self._answers: deque[tuple[str, Answer]] = deque()
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
        """The answers as they come, until there are no more requests and all are answered.

        What is answered while a response is on its way to the reader goes together in the next one.
        """
        reading = asyncio.create_task(self._read(requests))
        try:
            while True:
                while self._answers:
                    response = self._gathered()
                    yield response
                    self._unanswered -= len(response.results)
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
            # What ended the requests knows this by the frames through which it came.
            self._failure = None

    async def _read(self, requests: AsyncIterator[pb.StreamEventsRequest]) -> None:
        try:
            async for request in requests:
                for event in request.events or (request,):
                    if self._ended:
                        return
                    self._take(event)
                    while self._unanswered >= self._window:
                        self._room = asyncio.get_running_loop().create_future()
                        await self._room
            self._end(None)
        except Exception as error:  # noqa: BLE001 - ends the stream, after the answers to what came before
            self._end(error)

    def _take(self, event: pb.StreamEvent | pb.StreamEventsRequest) -> None:
        self._taken += 1
        number = self._taken
        self._unanswered += 1
        correlation_id = event.correlation_id
        done = partial(self._answer, number, correlation_id)
        if len(correlation_id) > MAX_CORRELATION_ID_CHARS:
            text = f"must have at most {MAX_CORRELATION_ID_CHARS} characters"
            done(invalid_request([Violation("correlation_id", text)]))
            return
        offer = self._sender.send(event.send_event, done)
        if offer.pending:
            self._offers[number] = offer

    def _answer(self, number: int, correlation_id: str, answer: Answer) -> None:
        self._offers.pop(number, None)
        self._open_window(answer)
        self._answers.append((correlation_id, answer))
        _set(self._news)

    def _open_window(self, answer: Answer) -> None:
        """Take as many events as answers like this one have room."""
        size = 0 if isinstance(answer, Exception) else size_bytes(answer.state.context_json)
        # Large ones are remembered for a while.
        self._answer_bytes = max(size, self._answer_bytes * 7 // 8)
        self._window = max(min(self._most, _UNREAD_BYTES // max(self._answer_bytes, 1)), 1)

    def _gathered(self) -> pb.StreamEventsResponse:
        """The next response: what there is, as far as there is room in one, and at least one result."""
        response = pb.StreamEventsResponse()
        results = response.results
        answers = self._answers
        size = 0
        while answers and len(results) < MAX_RESULTS:
            correlation_id, answer = answers[0]
            result = results.add()
            result.correlation_id = correlation_id
            self._sender.fill(result, answer)
            size += result.ByteSize()
            # Errors are short, and making one may log: none is made twice.
            if size > MAX_RESPONSE_BYTES and len(results) > 1 and result.HasField("response"):
                del results[-1]
                break
            answers.popleft()
        return response

    def _end(self, failure: Exception | None) -> None:
        if not self._ended:
            self._ended = True
            self._failure = failure
            _set(self._news)


def _set(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
