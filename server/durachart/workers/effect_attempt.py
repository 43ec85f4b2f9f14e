"""One attempt at an effect, from its lease to its end.

The handler runs in a task of its own, so that it can be stopped at any moment while what follows it, the
commit of its result, never is: once a handler has returned, its result is committed, or the lease is lost.

    running ── returns ───────────► commit (completed) ──────────────────► over
       │  ├─── fails ─────────────► commit (retry, failed or rejected) ──► over
       │  └─── aborted: SHUTDOWN ─► commit (retry, at once, not counted) ─► over
       └────── aborted: ENDED, LOST ─────────────────────────────────────► over
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any, Final, Literal

from opentelemetry.trace import Span, Tracer, use_span

from durachart.crash_points import reach
from durachart.runtime.commands import SYSTEM_ACTOR, Caller, EffectError, FinishEffect, RetryEffect
from durachart.runtime.effect_views import LeasedEffect
from durachart.runtime.effects.retries import wait_before_next_ms
from durachart.runtime.errors import (
    DurachartError,
    InvalidArgument,
    LeaseLost,
    Overloaded,
    StoreUnavailable,
)
from durachart.workers.effect_runtime import EffectRuntime
from durachart.workers.effect_tracing import begin_span, mark, traceparent_of
from durachart.workers.errors import HANDLER_FAILED, EffectFailure, EffectRejected
from durachart.workers.handlers import Attempt, EffectHandler
from durachart.workers.steps import Steps

_log = logging.getLogger(__name__)

INTERRUPTED: Final = "INTERRUPTED"
OUTPUT_INVALID: Final = "OUTPUT_INVALID"

# A lease is prolonged this many times before it would end, so that two of them may fail.
_HEARTBEATS_PER_LEASE = 3
# Wait before a commit that failed is tried again, doubled each time up to the bound.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0

EndCommand = FinishEffect | RetryEffect


class Abort(Enum):
    """Why a running handler is stopped."""

    ENDED = "ended"
    """The effect was stopped or cancelled; that is on disk already."""
    LOST = "lost"
    """The lease is lost; another worker makes the next attempt."""
    SHUTDOWN = "shutdown"
    """The server is shutting down; another attempt follows."""


@dataclass(frozen=True, slots=True)
class AttemptTools:
    """What all attempts of a worker share.

    Attributes:
        runtime: Where leases are prolonged and ends are committed.
        lease: How long a lease lasts unless it is prolonged.
        jitter: Random numbers from 0 (inclusive) to 1.
        tracer: Makes a span per attempt.
    """

    runtime: EffectRuntime
    lease: timedelta
    jitter: Callable[[], float]
    tracer: Tracer


class RunningAttempt:
    """One attempt. `run` it once; `abort` it at any time."""

    def __init__(self, leased: LeasedEffect, handler: EffectHandler, tools: AttemptTools) -> None:
        """Prepare; nothing runs yet.

        Args:
            leased: The attempt's lease.
            handler: Who runs it.
            tools: Shared with the other attempts.
        """
        self.leased = leased
        self._handler = handler
        self._tools = tools
        self._work: asyncio.Task[object] | None = None
        self._aborted: Abort | None = None

    def abort(self, why: Abort) -> None:
        """Stop the handler. Nothing happens when it has returned; of several reasons the first counts."""
        if self._aborted is None and (self._work is None or not self._work.done()):
            self._aborted = why
            if self._work is not None:
                self._work.cancel()

    async def run(self) -> None:
        """Make the attempt and commit its end."""
        leased = self.leased
        params = json.loads(leased.params_json or "{}")
        steps = Steps(self._tools.runtime, leased)
        attempt = Attempt(leased.key, leased.effect_id, leased.type, leased.attempt, params, steps)
        span = begin_span(self._tools.tracer, leased)
        heartbeat = asyncio.create_task(self._keep_lease())
        reach("effect.leased")
        try:
            with attempt.until_committed:
                command = await self._make(attempt, span)
                reach("effect.returned")
                if command is not None:
                    await self._commit(command, traceparent_of(span) or leased.traceparent)
                    reach("effect.ended")
        finally:
            span.end()
            heartbeat.cancel()
            await asyncio.wait({heartbeat})

    async def _make(self, attempt: Attempt, span: Span) -> EndCommand | None:
        """Run the handler; return what is to be committed, None for nothing."""
        with use_span(span):
            work = self._work = asyncio.create_task(self._handler.run(attempt))
        if self._aborted is not None:
            work.cancel()
        try:
            await asyncio.wait({work}, timeout=self.leased.spec.timeout_ms / 1000)
            timed_out = not work.done()
            if timed_out:
                work.cancel()
                await asyncio.wait({work})
        finally:
            # Does something only when this task itself is cancelled: then nothing is left running behind it.
            work.cancel()
        if not work.cancelled():
            return self._after_return(work, span)
        if self._aborted is not None:
            return self._after_abort(self._aborted, span)
        if timed_out:
            message = f"The attempt was given {self.leased.spec.timeout_ms:,} ms and took longer."
            return self._after_failure(
                EffectFailure(self._handler.timeout_reason, message, retryable=True), span
            )
        return self._after_failure(self._defect(asyncio.CancelledError("the handler cancelled itself")), span)

    def _after_return(self, work: asyncio.Task[object], span: Span) -> EndCommand | None:
        error = work.exception()
        if isinstance(error, LeaseLost):
            # A step could not be recorded any more.
            mark(span, "lost")
            return None
        if error is None:
            output = work.result()
            try:
                # An output that is no JSON is the handler's defect as well.
                output_json = (
                    "" if output is None else json.dumps(output, ensure_ascii=False, allow_nan=False)
                )
            except (TypeError, ValueError) as unfit:
                error = unfit
            else:
                mark(span, "completed")
                return self._finish("completed", output_json=output_json)
        failure = error if isinstance(error, EffectFailure) else self._defect(error)
        return self._after_failure(failure, span)

    def _after_abort(self, why: Abort, span: Span) -> EndCommand | None:
        if why is Abort.SHUTDOWN:
            message = "The server was shut down in the middle of the attempt; another one follows."
            mark(span, "retryable", INTERRUPTED, message)
            # Whoever restarts a server often must not use up the attempts of its effects.
            return self._retry(EffectError(INTERRUPTED, message), 0, counts=False)
        mark(span, "cancelled" if why is Abort.ENDED else "lost")
        return None

    def _after_failure(self, failure: EffectFailure, span: Span) -> EndCommand:
        leased = self.leased
        error = EffectError(failure.reason, failure.message)
        wait_ms = None
        if failure.retryable:
            wait_ms = wait_before_next_ms(
                leased.spec.retry,
                failure.reason,
                attempt=leased.attempt,
                max_attempts=leased.max_attempts,
                jitter=self._tools.jitter(),
                at_least_ms=int((failure.retry_after_s or 0.0) * 1000),
            )
        if wait_ms is not None:
            mark(span, "retryable", failure.reason, failure.message)
            return self._retry(error, wait_ms)
        outcome: Literal["rejected", "failed"] = (
            "rejected" if isinstance(failure, EffectRejected) else "failed"
        )
        mark(span, outcome, failure.reason, failure.message)
        return self._finish(outcome, error=error)

    def _finish(self, outcome: Literal["completed", "failed", "rejected"], **result: Any) -> FinishEffect:
        leased = self.leased
        return FinishEffect(leased.key, leased.effect_id, leased.lease_token, outcome, **result)

    def _retry(self, error: EffectError, delay_ms: int, *, counts: bool = True) -> RetryEffect:
        leased = self.leased
        return RetryEffect(leased.key, leased.effect_id, leased.lease_token, error, delay_ms, counts)

    def _defect(self, error: BaseException) -> EffectFailure:
        """A failure that the handler did not foresee: its text may hold anything, so only the log has it."""
        error_id = uuid.uuid4().hex
        leased = self.leased
        _log.error(
            "effect handler failed error_id=%s handler=%s instance=%s effect_id=%s attempt=%d",
            error_id,
            leased.handler,
            leased.key,
            leased.effect_id,
            leased.attempt,
            exc_info=error,
        )
        message = (
            f"The handler {leased.handler!r} failed unexpectedly; "
            f"the server's log has the cause under error id {error_id}."
        )
        return EffectFailure(HANDLER_FAILED, message, retryable=True)

    async def _commit(self, command: EndCommand, traceparent: str) -> None:
        """Commit the end, however often the store has to be asked; the lease decides if it still counts."""
        runtime, leased = self._tools.runtime, self.leased
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                if isinstance(command, FinishEffect):
                    await runtime.finish_effect(command, Caller(SYSTEM_ACTOR, traceparent))
                else:
                    await runtime.retry_effect(command)
            except LeaseLost:
                # It was stopped meanwhile, or taken over; or an earlier try was committed after all.
                _log.info("effect ended elsewhere instance=%s effect_id=%s", leased.key, leased.effect_id)
            except InvalidArgument as error:
                # The handler's output cannot be stored: what it ends with then is a failure that can.
                command = self._finish("failed", error=EffectError(OUTPUT_INVALID, error.message))
                continue
            except (StoreUnavailable, Overloaded) as error:
                _log.warning(
                    "effect end not stored yet instance=%s effect_id=%s error=%s",
                    leased.key,
                    leased.effect_id,
                    error,
                )
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                continue
            return

    async def _keep_lease(self) -> None:
        leased, lease = self.leased, self._tools.lease
        while True:
            await asyncio.sleep(lease.total_seconds() / _HEARTBEATS_PER_LEASE)
            try:
                kept = await self._tools.runtime.extend_lease(
                    leased.key, leased.effect_id, leased.lease_token, lease
                )
            except DurachartError as error:
                _log.warning(
                    "lease not prolonged instance=%s effect_id=%s error=%s",
                    leased.key,
                    leased.effect_id,
                    error,
                )
                continue
            if kept is None:
                self.abort(Abort.LOST)
                return
