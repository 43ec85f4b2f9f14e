"""Runs the effects that were committed to the outbox.

The worker leases what waits, runs its handler and commits how it ended: at least once, fenced by the lease's
token. It looks for work when a commit rings, when an effect's time has come, when a slot becomes free, and
every now and then in case a ring was missed. A lease that ran out, because the process that held it is gone,
is leased again like any other effect; that is how a crashed attempt is followed by the next.

What becomes of an effect is decided by the transaction that ends it, never here: when it was stopped, or its
state was left, the worker hears of it after the commit and aborts the handler at once; a result that comes
later is refused by the store and dropped.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from opentelemetry.trace import Tracer

from durachart.runtime.effect_views import EffectState, LeasedEffect
from durachart.runtime.errors import DurachartError
from durachart.store.keys import InstanceKey
from durachart.workers.effect_attempt import Abort, AttemptTools, RunningAttempt
from durachart.workers.effect_runtime import EffectRuntime
from durachart.workers.handlers import EffectHandler

_log = logging.getLogger(__name__)

# What is due is not waited for; this only keeps a clock that runs a little ahead from being asked in a tight
# loop.
_SHORTEST_WAIT_S = 0.001


@dataclass(frozen=True, slots=True)
class EffectWorkerSettings:
    """How the worker works.

    Attributes:
        lease_ms: A process that is gone blocks its effects for this long.
        poll_ms: Longest wait before the outbox is looked at although nothing rang.
        pause_ms: Wait after the store failed.
        drain_ms: Longest wait, at the end, for results to be committed.
        concurrency: Most attempts at a time by handler, >= 0, where it is not what the handler says. With 0
            the handler's effects are left to other workers.
    """

    lease_ms: int = 15_000
    poll_ms: int = 10_000
    pause_ms: int = 1_000
    drain_ms: int = 10_000
    concurrency: Mapping[str, int] = field(default_factory=dict)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _this_process() -> str:
    # What begins so is known to end with the server's process; no other worker may call itself so.
    return f"server/{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class EffectWorker:
    """Runs effects in this process."""

    def __init__(
        self,
        runtime: EffectRuntime,
        handlers: Sequence[EffectHandler],
        tracer: Tracer,
        settings: EffectWorkerSettings | None = None,
        *,
        now: Callable[[], datetime] = _utc_now,
        jitter: Callable[[], float] = random.random,
        holder: str | None = None,
    ) -> None:
        """Prepare; nothing runs before `running` is entered.

        Args:
            runtime: Where effects are leased and ended.
            handlers: Who runs them; one per name.
            tracer: Makes a span per attempt.
            settings: None for the defaults.
            now: The wall clock, aware.
            jitter: Random numbers from 0 (inclusive) to 1.
            holder: Name of this process in leases; None makes one.
        """
        self._runtime = runtime
        self._handlers = {handler.name: handler for handler in handlers}
        self._settings = settings or EffectWorkerSettings()
        self._now = now
        self._holder = holder or _this_process()
        lease = timedelta(milliseconds=self._settings.lease_ms)
        self._tools = AttemptTools(runtime, lease, jitter, tracer)
        self._attempts: dict[str, RunningAttempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: Counter[str] = Counter()
        self._wake = asyncio.Event()
        self._stopping = False
        # Ends heard of while a lease is under way: what it brings may have ended before we know of it.
        self._ended_meanwhile: set[str] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work while the block runs.

        In the end no new effect is begun, running handlers are aborted and their effects given back, so that
        the next process begins their next attempt at once (what was broken off so does not count as an
        attempt), and results that are there are committed.
        """
        unsubscribe = self._runtime.on_effect_end(self._on_effect_end)
        listening = asyncio.create_task(self._listen())
        working = asyncio.create_task(self._work())
        try:
            yield
        finally:
            listening.cancel()
            self._stopping = True
            self._wake.set()
            # The loop ends by itself: cancelled in the middle of leasing, it would forget what it has leased.
            await asyncio.wait({listening, working})
            await self._drain()
            unsubscribe()

    @property
    def attempts(self) -> int:
        """How many attempts are being made now."""
        return len(self._tasks)

    async def _listen(self) -> None:
        while True:
            try:
                await self._runtime.wait_effects()
            except Exception:  # noqa: BLE001 -- logged; a loop that ends stops all effects
                _log.exception("effects not listened for")
                await self._pause()
            self._wake.set()

    async def _work(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                wait_s = await self._take_what_waits()
            except DurachartError as error:
                _log.warning("effects not leased error=%s", error)
                wait_s = self._settings.pause_ms / 1000
            except Exception:  # noqa: BLE001 -- logged; a loop that ends stops all effects
                _log.exception("effects not leased")
                wait_s = self._settings.pause_ms / 1000
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def _take_what_waits(self) -> float:
        """Lease and start what may begin and has a slot; return how long nothing else can, in seconds."""
        free = []
        for name, handler in self._handlers.items():
            slots = self._settings.concurrency.get(name, handler.concurrency) - self._busy[name]
            if slots > 0:
                slots -= await self._take(handler, slots)
            if slots > 0 and not self._stopping:
                free.append(name)
        longest_s = self._settings.poll_ms / 1000
        # Without a free slot the end of an attempt is what wakes us.
        next_at = await self._runtime.next_effect_at(free) if free else None
        if next_at is None:
            return longest_s
        return min(max((next_at - self._now()).total_seconds(), _SHORTEST_WAIT_S), longest_s)

    async def _take(self, handler: EffectHandler, slots: int) -> int:
        self._ended_meanwhile.clear()
        leased = await self._runtime.lease_effects(
            [handler.name], limit=slots, holder=self._holder, lease=self._tools.lease
        )
        for each in leased:
            self._start(each, handler)
        return len(leased)

    def _start(self, leased: LeasedEffect, handler: EffectHandler) -> None:
        attempt = RunningAttempt(leased, handler, self._tools)
        if leased.effect_id in self._ended_meanwhile:
            attempt.abort(Abort.ENDED)
        earlier = self._attempts.get(leased.effect_id)
        if earlier is not None:
            # Our own lease ran out, because this process was stalled, and we are who took the effect over.
            earlier.abort(Abort.LOST)
        self._attempts[leased.effect_id] = attempt
        self._busy[handler.name] += 1
        task = asyncio.create_task(self._run(attempt))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, attempt: RunningAttempt) -> None:
        leased = attempt.leased
        try:
            await attempt.run()
        except Exception:  # noqa: BLE001 -- logged; a loop that ends stops all effects
            _log.exception("effect attempt broke instance=%s effect_id=%s", leased.key, leased.effect_id)
        finally:
            if self._attempts.get(leased.effect_id) is attempt:
                del self._attempts[leased.effect_id]
            self._busy[leased.handler] -= 1
            self._wake.set()

    def _on_effect_end(self, key: InstanceKey, effect_id: str, state: EffectState) -> None:
        self._ended_meanwhile.add(effect_id)
        attempt = self._attempts.get(effect_id)
        if attempt is not None:
            attempt.abort(Abort.ENDED)

    async def _drain(self) -> None:
        for attempt in self._attempts.values():
            attempt.abort(Abort.SHUTDOWN)
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=self._settings.drain_ms / 1000)
        for task in late:
            task.cancel()
        if late:
            _log.error(
                "effects not given back in time, their leases run out by themselves count=%d", len(late)
            )
            await asyncio.wait(late)

    async def _pause(self) -> None:
        await asyncio.sleep(self._settings.pause_ms / 1000)
