"""Events in numbers: offered without waiting, answered by a call back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from durachart.runtime.arguments import require_event_type, require_key, require_request_id
from durachart.runtime.commands import Caller, SendEvent
from durachart.runtime.errors import DurachartError
from durachart.runtime.queue.answers import Answers
from durachart.runtime.queue.batch import Reply
from durachart.runtime.queue.queue import CommandQueue
from durachart.runtime.views import Accepted, View

OnAnswer = Callable[[Accepted | BaseException], None]
"""Called with the answer to an event, or with why there is none."""


class Offer:
    """An event that was offered."""

    __slots__ = ("_waiter",)

    def __init__(self, waiter: asyncio.Future[Reply] | None) -> None:
        self._waiter = waiter

    @property
    def pending(self) -> bool:
        """Whether it waited for its answer when it was made."""
        return self._waiter is not None

    def withdraw(self) -> None:
        """No longer wait: before its turn the event is not executed. There is no answer from here on."""
        if self._waiter is not None:
            self._waiter.cancel()


class Offers:
    """Offers events to the queue; costs no task for each of them."""

    def __init__(self, queue: CommandQueue, answers: Answers) -> None:
        self._queue = queue
        self._answers = answers
        self._reading: set[asyncio.Task[None]] = set()

    def offer(self, command: SendEvent, caller: Caller, on_answer: OnAnswer) -> Offer:
        """See ``Runtime.offer_event``."""
        try:
            require_key(command.key)
            require_event_type(command.event_type)
            require_request_id(command.request_id)
            waiter = self._queue.offer(command, caller)
        except DurachartError as error:
            on_answer(error)
            return Offer(None)
        waiter.add_done_callback(partial(self._answer, command.view, on_answer))
        return Offer(waiter)

    def _answer(self, view: View, on_answer: OnAnswer, waiter: asyncio.Future[Reply]) -> None:
        if waiter.cancelled():
            return
        error = waiter.exception()
        if error is not None:
            on_answer(error)
            return
        reply = waiter.result()
        if reply.request is not None:
            # Of an earlier call: it is read back. That is rare enough for a task of its own.
            reading = asyncio.create_task(self._read(reply, view, on_answer))
            self._reading.add(reading)
            reading.add_done_callback(self._reading.discard)
            return
        answer: Accepted | Exception
        try:
            answer = self._answers.accepted_now(reply, view)
        except Exception as failure:  # noqa: BLE001 - is the answer
            answer = failure.with_traceback(None)  # which knows this frame
        on_answer(answer)

    async def _read(self, reply: Reply, view: View, on_answer: OnAnswer) -> None:
        answer: Accepted | Exception
        try:
            answer = await self._answers.accepted(reply, view)
        except Exception as failure:  # noqa: BLE001 - is the answer
            answer = failure.with_traceback(None)  # which knows this frame
        on_answer(answer)
