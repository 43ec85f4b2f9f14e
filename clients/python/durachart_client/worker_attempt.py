"""One attempt of a worker, from its lease to its end.

The handler runs in a task of its own, so that it can be stopped at any moment while what follows it, telling
the server, never is.

    running ── returns ───────────► CompleteEffect ────────────────► over
       │  ├─── raises ────────────► FailEffect, RejectEffect ──────► over
       │  └─── aborted: SHUTDOWN ─► FailEffect, without a wait ────► over
       └────── aborted: LOST ──────────────────────────────────────► over
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextvars import Context, copy_context
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any, Final

from durachart_client import errors
from durachart_client.effect_models import EffectError, LeasedEffect
from durachart_client.effects import Effects
from durachart_client.models import Json, RetryPolicy
from durachart_client.worker_effect import Effect, Fail, Reject, Retry, error_of, in_thread
from durachart_client.worker_lease import Lease

_log = logging.getLogger("durachart_client.worker")

EFFECT_TIMEOUT: Final = "EFFECT_TIMEOUT"
INTERRUPTED: Final = "INTERRUPTED"
OUTPUT_INVALID: Final = "OUTPUT_INVALID"

EffectFunction = Callable[[Effect], Any]
"""Runs an effect: a coroutine function, or a function, which runs in a thread."""

_End = Callable[[], Awaitable[None]]


class Abort(Enum):
    """Why a running handler is stopped."""

    LOST = "lost"
    """The effect was cancelled, or the lease is lost: nobody wants the result."""
    SHUTDOWN = "shutdown"
    """The worker ends; another attempt follows."""


@dataclass(frozen=True, slots=True)
class AttemptTools:
    """What all attempts of a worker share.

    Attributes:
        effects: Where leases are prolonged and ends are told.
        lease: How long a lease lasts unless it is prolonged.
        policy: Waits between calls that failed.
        executor: Threads for handlers that are no coroutines.
        tracebacks: Whether the server is told the traceback of an unforeseen exception.
    """

    effects: Effects
    lease: timedelta
    policy: RetryPolicy
    executor: Executor
    tracebacks: bool


class RunningAttempt:
    """One attempt. ``run`` it once; ``abort`` it at any time."""

    def __init__(self, leased: LeasedEffect, function: EffectFunction, tools: AttemptTools) -> None:
        """Prepare; nothing runs yet, but the lease is counted from now."""
        self.leased = leased
        self._function = function
        self._tools = tools
        self._lease = Lease(tools.effects, leased, tools.lease, tools.policy)
        self._effect = Effect(
            leased, self._lease, tools.executor, lambda model: tools.effects.tokens(leased, model)
        )
        self._work: asyncio.Task[Any] | None = None
        self._aborted: Abort | None = None

    def abort(self, why: Abort) -> None:
        """Stop the handler. Nothing happens when it has returned; of several reasons the first counts."""
        if self._aborted is None and (self._work is None or not self._work.done()):
            self._aborted = why
            self._effect.cancelled.set()
            if self._work is not None:
                self._work.cancel()

    async def run(self) -> None:
        """Make the attempt and tell the server how it ended."""
        keeping = asyncio.create_task(self._lease.keep())
        keeping.add_done_callback(lambda task: None if task.cancelled() else self.abort(Abort.LOST))
        try:
            end = await self._make()
            if end is not None:
                await self._tell(end)
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})

    async def _make(self) -> _End | None:
        """Run the handler; return what the server is to be told, None for nothing."""
        context = _context_of(self.leased.traceparent)
        work = self._work = asyncio.get_running_loop().create_task(self._call(), context=context)
        if self._aborted is not None:
            work.cancel()
        timeout_s = self.leased.timeout.total_seconds()
        try:
            await asyncio.wait({work}, timeout=timeout_s or None)
            timed_out = not work.done()
            if timed_out:
                self._effect.cancelled.set()
                work.cancel()
                await asyncio.wait({work})
        finally:
            # Does something only when this task itself is cancelled: then nothing is left running behind it.
            work.cancel()
        if self._aborted is Abort.LOST:
            # Whatever came of it: it is dropped, and a failure with it.
            if not work.cancelled():
                work.exception()
            return None
        if not work.cancelled():
            return self._after_return(work)
        if self._aborted is Abort.SHUTDOWN:
            error = EffectError(INTERRUPTED, "The worker was shut down in the middle of the attempt.")
            return lambda: self._lease.fail(error, timedelta())
        if timed_out:
            error = EffectError(EFFECT_TIMEOUT, f"The attempt was given {timeout_s:g} s and took longer.")
            return lambda: self._lease.fail(error, None)
        return self._after_failure(RuntimeError("the handler cancelled itself"))

    async def _call(self) -> Json:
        output = await self._call_function()
        await self._effect.end_text()
        return output

    async def _call_function(self) -> Json:
        if inspect.iscoroutinefunction(self._function):
            return await self._function(self._effect)
        output = await in_thread(self._tools.executor, self._function, self._effect)
        return await output if inspect.isawaitable(output) else output

    def _after_return(self, work: asyncio.Task[Json]) -> _End | None:
        error = work.exception()
        if error is None:
            output = work.result()
            return lambda: self._lease.complete(output)
        if isinstance(error, errors.LeaseLost):
            return self._forget
        if not isinstance(error, Exception):
            raise error
        return self._after_failure(error)

    def _after_failure(self, error: Exception) -> _End:
        leased = self.leased
        who = f"The handler {leased.handler!r}"
        match error:
            case Reject():
                return lambda: self._lease.reject(error_of(error, who))
            case Fail():
                return lambda: self._lease.fail(error_of(error, who), None, final=True)
            case Retry():
                return lambda: self._lease.fail(error_of(error, who), error.delay)
        _log.error(
            "effect handler failed handler=%s instance=%s effect_id=%s attempt=%d",
            leased.handler,
            leased.instance,
            leased.effect_id,
            leased.attempt,
            exc_info=error,
        )
        details = "".join(traceback.format_exception(error)) if self._tools.tracebacks else ""
        return lambda: self._lease.fail(error_of(error, who, details), None)

    async def _tell(self, end: _End) -> None:
        """Tell the server, as long as the lease lasts; whether it still counts is for it to decide."""
        leased = self.leased
        try:
            try:
                await end()
            except (errors.RequestInvalid, errors.MessageTooLarge, TypeError, ValueError) as error:
                # What the handler returned cannot be stored, and would not be the next time.
                _log.error(
                    "effect output not taken handler=%s instance=%s effect_id=%s error=%s",
                    leased.handler,
                    leased.instance,
                    leased.effect_id,
                    error,
                )
                message = f"What the handler {leased.handler!r} returned cannot be stored: {error}"
                await self._lease.fail(EffectError(OUTPUT_INVALID, message), None, final=True)
        except errors.LeaseLost:
            await self._forget()
        except errors.ClientError as error:
            _log.error(
                "effect end not taken handler=%s instance=%s effect_id=%s error=%s",
                leased.handler,
                leased.instance,
                leased.effect_id,
                error,
            )

    async def _forget(self) -> None:
        """It was cancelled meanwhile, or taken over; or an earlier call was answered by nobody but taken."""
        _log.info(
            "effect ended elsewhere instance=%s effect_id=%s", self.leased.instance, self.leased.effect_id
        )


def _context_of(traceparent: str) -> Context:
    """Context variables for the handler: with OpenTelemetry installed, its spans join the event's trace."""
    context = copy_context()
    if traceparent:
        try:
            from opentelemetry.context import Context as Baggage
            from opentelemetry.context import attach
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError:
            return context
        carrier = {"traceparent": traceparent}
        context.run(lambda: attach(TraceContextTextMapPropagator().extract(carrier, Baggage())))
    return context
