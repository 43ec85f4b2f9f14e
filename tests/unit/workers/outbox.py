"""An outbox in memory that keeps the runtime's promises towards workers: leases, tokens, doorbell, ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from durachart.definitions.effect_spec import EffectSpec, RetryPolicy
from durachart.runtime.commands import Caller, FinishEffect, RecordStep, RetryEffect
from durachart.runtime.effect_views import EffectState, EffectStep, LeasedEffect
from durachart.runtime.errors import DurachartError, LeaseLost
from durachart.store.keys import InstanceKey
from durachart.workers.steps import Steps
from tests.virtual_time import START, wall_clock

KEY = InstanceKey("", "canvas", "c-1")
FINAL = ("completed", "discarded", "cancelled")


@dataclass
class Row:
    """One effect."""

    effect_id: str
    spec: EffectSpec
    params: dict[str, Any]
    scheduled_at: datetime
    state: EffectState = "available"
    attempt: int = 0
    max_attempts: int = 3
    token: str = ""
    holder: str = ""
    finish: FinishEffect | None = None
    caller: Caller | None = None
    retries: list[RetryEffect] = field(default_factory=list)
    # When each attempt began, in seconds of simulated time.
    begun_at: list[float] = field(default_factory=list)
    steps: dict[str, EffectStep] = field(default_factory=dict)

    def leased(self) -> LeasedEffect:
        return LeasedEffect(
            key=KEY,
            uid="u" * 32,
            effect_id=self.effect_id,
            type="act",
            handler=self.spec.handler,
            params_json=json.dumps(self.params),
            attempt=self.attempt,
            lease_token=self.token,
            lease_expires_at=self.scheduled_at,
            created_at=START,
            machine_version=1,
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            spec=self.spec,
            max_attempts=self.max_attempts,
            steps=tuple(self.steps.values()),
        )


class Outbox:
    """See the module. ``failures`` are raised, one per call of the named method."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.failures: dict[str, list[Exception]] = {}
        self.calls: list[str] = []
        self._bell = asyncio.Event()
        self._listeners: list[Callable[[InstanceKey, str, EffectState], None]] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._called_events: dict[str, asyncio.Event] = {}

    def add(
        self,
        effect_id: str = "e-1",
        params: dict[str, Any] | None = None,
        *,
        handler: str = "test",
        timeout_ms: int = 60_000,
        retry: RetryPolicy | None = None,
        delay_s: float = 0,
    ) -> Row:
        spec = EffectSpec(
            "act", handler, "DONE", "FAILED", timeout_ms=timeout_ms, retry=retry or RetryPolicy()
        )
        row = Row(effect_id, spec, params or {}, wall_clock() + timedelta(seconds=delay_s))
        row.max_attempts = spec.retry.max_attempts
        self.rows[effect_id] = row
        self._ends[effect_id] = asyncio.Event()
        self._bell.set()
        return row

    def cancel(self, effect_id: str = "e-1") -> None:
        """Commit a stop, or that the state was left."""
        self._end(self.rows[effect_id], "cancelled")

    async def wait_end(self, effect_id: str = "e-1") -> Row:
        await self._ends[effect_id].wait()
        return self.rows[effect_id]

    async def wait_called(self, method: str) -> None:
        """Wait until a method was called; its call is still under way then."""
        await self._called_events.setdefault(method, asyncio.Event()).wait()

    # --- EffectRuntime ---

    async def lease_effects(
        self, handlers: Sequence[str], *, limit: int, holder: str, lease: timedelta
    ) -> list[LeasedEffect]:
        await self._called("lease_effects")
        waiting = [
            row
            for row in self.rows.values()
            if row.spec.handler in handlers and row.state not in FINAL and row.scheduled_at <= wall_clock()
        ]
        leased = []
        for row in waiting[:limit]:
            row.state, row.attempt, row.holder = "running", row.attempt + 1, holder
            row.token = f"{row.effect_id}.{row.attempt}"
            row.scheduled_at = wall_clock() + lease
            row.begun_at.append(asyncio.get_running_loop().time())
            leased.append(row.leased())
        return leased

    async def extend_lease(
        self, key: InstanceKey, effect_id: str, lease_token: str, lease: timedelta
    ) -> datetime | None:
        await self._called("extend_lease")
        row = self.rows[effect_id]
        if row.token != lease_token or row.state in FINAL:
            return None
        row.scheduled_at = wall_clock() + lease
        return row.scheduled_at

    async def finish_effect(self, command: FinishEffect, caller: Caller) -> None:
        await self._called("finish_effect")
        row = self._held(command.effect_id, command.lease_token)
        row.finish, row.caller = command, caller
        self._end(row, "completed" if command.outcome == "completed" else "discarded")

    async def retry_effect(self, command: RetryEffect) -> None:
        await self._called("retry_effect")
        row = self._held(command.effect_id, command.lease_token)
        row.state, row.token = "retryable", ""
        row.scheduled_at = wall_clock() + timedelta(milliseconds=command.delay_ms)
        row.max_attempts += not command.counts
        row.retries.append(command)

    async def record_step(self, command: RecordStep) -> EffectStep:
        await self._called("record_step")
        row = self._held(command.effect_id, command.lease_token)
        known = row.steps.get(command.name)
        if known is None or known.state != "completed":
            reason, message = command.error or ("", "")
            row.steps[command.name] = EffectStep(
                command.name, command.state, row.attempt, command.output_json, reason, message, START, None
            )
        return row.steps[command.name]

    async def wait_effects(self, max_wait_s: float | None = None) -> bool:
        await self._bell.wait()
        self._bell.clear()
        return True

    async def next_effect_at(self, handlers: Sequence[str]) -> datetime | None:
        await self._called("next_effect_at")
        waiting = [
            row.scheduled_at
            for row in self.rows.values()
            if row.spec.handler in handlers and row.state not in FINAL
        ]
        return min(waiting, default=None)

    def on_effect_end(self, listener: Callable[[InstanceKey, str, EffectState], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def _held(self, effect_id: str, lease_token: str) -> Row:
        row = self.rows[effect_id]
        if row.token != lease_token or row.state in FINAL:
            raise LeaseLost(KEY, effect_id)
        return row

    def _end(self, row: Row, state: EffectState) -> None:
        row.state = state
        for listener in list(self._listeners):
            listener(KEY, row.effect_id, state)
        self._ends[row.effect_id].set()

    async def _called(self, method: str) -> None:
        self.calls.append(method)
        self._called_events.setdefault(method, asyncio.Event()).set()
        await asyncio.sleep(0)
        failures = self.failures.get(method)
        if failures:
            raise failures.pop(0)


def unavailable() -> DurachartError:
    from durachart.runtime.errors import StoreUnavailable

    return StoreUnavailable("the disk is full")


def no_steps() -> Steps:
    """For handlers that record none."""
    spec = EffectSpec("act", "test")
    return Steps(Outbox(), Row("e-1", spec, {}, START).leased())
