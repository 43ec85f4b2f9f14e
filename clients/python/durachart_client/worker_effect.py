"""What a worker's handler is given, and what it can raise."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from contextvars import copy_context
from datetime import datetime, timedelta
from typing import Any, Protocol

from durachart_client.effect_models import EffectError, EffectStep, LeasedEffect
from durachart_client.models import InstanceRef, Json
from durachart_client.token_writer import TokenWriter

HANDLER_FAILED = "HANDLER_FAILED"

_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,62}")

StepFunction = Callable[[], Any]
"""Does one step: a coroutine function, or a function, which runs in a thread. Returns JSON or None."""


class AttemptEnded(Exception):
    """Base of what a handler raises to say how its attempt ended.

    Attributes:
        reason: Stable word for programs, for example ``CARD_DECLINED``.
        message: One sentence for people, without secrets: it is stored, and shown to operators.
    """

    def __init__(self, reason: str, message: str) -> None:
        """Say why.

        Raises:
            ValueError: ``reason`` is not a capital letter with at most 62 capitals, digits and underscores.
        """
        if not _REASON.fullmatch(reason):
            raise ValueError(
                f"{reason!r} is not a reason; write capitals, digits and underscores, as CARD_DECLINED"
            )
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class Retry(AttemptEnded):
    """The attempt failed and another one may go better; the effect's retry policy decides.

    Attributes:
        delay: How long to wait before it; None leaves it to the policy.
    """

    def __init__(self, reason: str, message: str, delay: timedelta | None = None) -> None:
        super().__init__(reason, message)
        self.delay = delay


class Fail(AttemptEnded):
    """The attempt failed and no other one is made; the machine takes the ``failed`` event."""


class Reject(AttemptEnded):
    """What was asked for cannot be done, for a reason of the business; the machine takes ``rejected``."""


class StepRecorder(Protocol):
    """Where steps are recorded; each call is repeated until it is on disk or the lease is gone."""

    async def started(self, name: str) -> EffectStep:
        """Record that a step begins; returns it as stored."""

    async def completed(self, name: str, output: Json) -> EffectStep:
        """Record that a step is done; returns it as stored."""

    async def failed(self, name: str, error: EffectError) -> EffectStep:
        """Record that a step failed; returns it as stored."""


class Effect:
    """One attempt at an effect, as its handler sees it.

    An effect may be attempted more than once, also after an attempt that did everything and whose worker died
    before it could say so. Give ``idempotency_key`` to whoever is asked for something, or cut the work into
    steps, each recorded when it is done.

    Attributes:
        instance: The instance that asked.
        effect_id: Identity of the effect: the same in every attempt.
        attempt: Which attempt this is, from 1.
        max_attempts: Attempts that will be made at most.
        type: The action type that asked for it.
        handler: The name under which the handler is registered.
        params: The action's parameters; empty when there are none.
        timeout: How long the attempt may take.
        created_at: When the effect was asked for.
        machine_version: Version of the definition that asked.
        traceparent: W3C trace context of the event that asked; ``""`` when not traced.
        cancelled: Set when the result is not wanted any more. A coroutine is cancelled as well; a function in
            a thread has to look (``effect.cancelled.is_set()``).
    """

    def __init__(
        self,
        leased: LeasedEffect,
        recorder: StepRecorder,
        executor: Executor | None,
        open_tokens: Callable[[str], TokenWriter],
    ) -> None:
        self.instance: InstanceRef = leased.instance
        self.effect_id: str = leased.effect_id
        self.attempt: int = leased.attempt
        self.max_attempts: int = leased.max_attempts
        self.type: str = leased.type
        self.handler: str = leased.handler
        self.params: Mapping[str, Json] = leased.params if isinstance(leased.params, dict) else {}
        self.timeout: timedelta = leased.timeout
        self.created_at: datetime = leased.created_at
        self.machine_version: int = leased.machine_version
        self.traceparent: str = leased.traceparent
        self.cancelled = asyncio.Event()
        self._recorder = recorder
        self._executor = executor
        self._open_tokens = open_tokens
        self._text: TokenWriter | None = None
        self._loop = asyncio.get_running_loop()
        self._known = {step.name: step for step in leased.steps}
        self._used: set[str] = set()

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt at this effect, and for nothing else."""
        return self.effect_id

    def step_key(self, name: str) -> str:
        """An idempotency key for one step: the same in every attempt, another for every other step."""
        return f"{self.effect_id}:{name}"

    async def step(self, name: str, do: StepFunction) -> Json:
        """Do one step of the work, unless an earlier attempt completed it.

        What it yields is stored before this returns. A worker that dies between doing a step and recording it
        leaves it to be done again, so what a step asks of others should carry ``step_key(name)``.

        Args:
            name: Unique within the effect, 1 to 128 characters.
            do: Does it; called only when it has to be done.

        Returns:
            What the step yielded, now or in the attempt that completed it, at most 256 KiB of JSON.

        Raises:
            ValueError: This attempt used ``name`` before, so that its second use would be skipped.
            LeaseLost: The effect is another worker's by now, or has ended.
            Exception: Whatever ``do`` raises, after the failure was recorded.
        """
        if name in self._used:
            raise ValueError(f"step {name!r} is used twice in one attempt; give every step its own name")
        self._used.add(name)
        known = self._known.get(name)
        if known is None or known.state != "completed":
            known = await self._recorder.started(name)
        if known.state == "completed":
            return known.output
        try:
            output = await self._do(do)
        except Exception as error:
            await self._recorder.failed(name, error_of(error, f"The step {name!r}"))
            raise
        return (await self._recorder.completed(name, output)).output

    def step_from_thread(self, name: str, do: Callable[[], Json]) -> Json:
        """``step`` for handlers that run in a thread: blocks until the step is recorded."""
        return asyncio.run_coroutine_threadsafe(self.step(name, do), self._loop).result()

    def tokens(self, model: str = "") -> TokenWriter:
        """Show viewers the text of a generation while it comes.

            async with effect.tokens(model) as out:
                async for piece in answer:
                    await out.write(piece)

        For effects of the handler ``llm.generate``, whose output is ``{"text", "finish_reason", "model",
        "usage"}`` and whose ``text`` should begin with what was written. What is written is stored nowhere,
        and gone with the attempt.

        Args:
            model: Model that answers; ``""`` when unknown.
        """
        return self._open_tokens(model)

    async def append(self, text: str) -> None:
        """``tokens`` for one who names no model: adds to the attempt's text.

        Raises:
            LeaseLost: The effect is another worker's by now, or has ended.
        """
        if self._text is None:
            self._text = self._open_tokens("")
        await self._text.write(text)

    def append_from_thread(self, text: str) -> None:
        """``append`` for handlers that run in a thread: blocks until the server takes the text."""
        asyncio.run_coroutine_threadsafe(self.append(text), self._loop).result()

    async def end_text(self) -> None:
        """Bring what was appended, before the attempt's end is told. Raises LeaseLost."""
        if self._text is not None:
            await self._text.close()

    async def _do(self, do: StepFunction) -> Json:
        if inspect.iscoroutinefunction(do):
            return await do()
        output = await in_thread(self._executor, do)
        # A lambda that calls a coroutine function hands its coroutine over.
        return await output if inspect.isawaitable(output) else output


def error_of(error: Exception, who: str, details: str = "") -> EffectError:
    """What the server is told of an exception: the handler's own words, or for others the type alone.

    The text of an unforeseen exception may hold anything, a password among it.

    Args:
        error: What was raised.
        who: Begins the sentence.
        details: Ends it, when the text may be told.
    """
    if isinstance(error, AttemptEnded):
        return EffectError(error.reason, error.message)
    sentence = f"{who} failed with {type(error).__name__}."
    return EffectError(HANDLER_FAILED, f"{sentence}\n{details}" if details else sentence)


def in_thread(executor: Executor | None, function: Callable[..., Any], *args: Any) -> Awaitable[Any]:
    """Call ``function`` in a thread, with the caller's context variables; cancelling leaves it running."""
    context = copy_context()
    return asyncio.get_running_loop().run_in_executor(executor, context.run, function, *args)
