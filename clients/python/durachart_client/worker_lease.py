"""A worker's lease on one effect: kept while the handler runs, and what is called under it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from durachart_client import errors
from durachart_client.calls import Backoff, is_transient
from durachart_client.effect_models import EffectError, EffectStep, LeasedEffect
from durachart_client.effects import Effects
from durachart_client.models import Json, RetryPolicy

_log = logging.getLogger("durachart_client.worker")

# A lease is prolonged this many times before it would end, so that two of them may fail.
_HEARTBEATS_PER_LEASE = 3

Answer = TypeVar("Answer")


class Lease:
    """The right to end one attempt, for as long as it is known to last.

    How long that is, is counted on this process's own clock from before the call that prolonged it, so that
    no difference between clocks matters.
    """

    def __init__(
        self, effects: Effects, leased: LeasedEffect, duration: timedelta, policy: RetryPolicy
    ) -> None:
        """Take a lease that was just handed out.

        Args:
            effects: Where it is from.
            leased: What is leased.
            duration: How long it lasts, each time it is prolonged.
            policy: Waits between calls that failed.
        """
        self._effects = effects
        self._leased = leased
        self._duration = duration
        self._policy = policy
        self._loop = asyncio.get_running_loop()
        self._ends_at = self._loop.time() + duration.total_seconds()

    async def keep(self) -> None:
        """Prolong the lease until it is lost; returns then, and never before."""
        interval = self._duration / _HEARTBEATS_PER_LEASE
        while True:
            await asyncio.sleep(interval.total_seconds())
            asked_at = self._loop.time()
            try:
                answer = await self._effects.heartbeat(self._leased, lease=self._duration, timeout=interval)
            except errors.LeaseLost:
                return
            except errors.ServerError as error:
                _log.warning(
                    "lease not prolonged instance=%s effect_id=%s error=%s",
                    self._leased.instance,
                    self._leased.effect_id,
                    error,
                )
                if self._loop.time() >= self._ends_at:
                    return
                continue
            if answer.cancelled:
                return
            self._ends_at = asked_at + self._duration.total_seconds()

    async def call(self, make: Callable[[timedelta], Awaitable[Answer]]) -> Answer:
        """Make a call under the lease, again while nobody answers and the lease lasts.

        Args:
            make: Makes it once, with the time it may take.

        Raises:
            LeaseLost: The server says so, or the lease ran out before it answered.
            ServerError: The server refused for another reason.
        """
        backoff = Backoff(self._policy)
        while True:
            left_s = self._ends_at - self._loop.time()
            if left_s <= 0:
                raise errors.LeaseLost("The lease ran out before the server answered.")
            try:
                return await make(timedelta(seconds=left_s))
            except errors.ServerError as error:
                if not _in_passing(error):
                    raise
                _log.warning(
                    "effect call not answered instance=%s effect_id=%s error=%s",
                    self._leased.instance,
                    self._leased.effect_id,
                    error,
                )
                await asyncio.sleep(backoff.next_wait(error.retry_after))

    # --- what is called ----------------------------------------------------------------------------------

    async def complete(self, output: Json) -> None:
        """End the effect with its output."""
        await self.call(lambda left: self._effects.complete(self._leased, output, timeout=left))

    async def fail(self, error: EffectError, delay: timedelta | None, *, final: bool = False) -> None:
        """End the attempt as failed."""
        await self.call(
            lambda left: self._effects.fail(self._leased, error, delay=delay, final=final, timeout=left)
        )

    async def reject(self, error: EffectError) -> None:
        """End the effect as rejected."""
        await self.call(lambda left: self._effects.reject(self._leased, error, timeout=left))

    async def started(self, name: str) -> EffectStep:
        """Record that a step begins."""
        return await self.call(lambda left: self._effects.step_started(self._leased, name, timeout=left))

    async def completed(self, name: str, output: Json) -> EffectStep:
        """Record that a step is done."""
        return await self.call(
            lambda left: self._effects.step_completed(self._leased, name, output, timeout=left)
        )

    async def failed(self, name: str, error: EffectError) -> EffectStep:
        """Record that a step failed."""
        return await self.call(
            lambda left: self._effects.step_failed(self._leased, name, error, timeout=left)
        )


def _in_passing(error: errors.ServerError) -> bool:
    """Whether the same call may be answered later. UNKNOWN without a reason is a connection that was cut."""
    cut = error.code == "UNKNOWN" and not error.reason
    return cut or is_transient(error) or isinstance(error, errors.DeadlineExceeded)
