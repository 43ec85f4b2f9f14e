"""What the effect worker needs of the runtime; `Runtime` has it all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from durachart.runtime.commands import Caller, FinishEffect, RecordStep, RetryEffect
from durachart.runtime.effect_views import EffectState, EffectStep, LeasedEffect
from durachart.store.keys import InstanceKey


class EffectRuntime(Protocol):
    """The outbox, as far as a worker goes; see `Runtime` for what each method promises."""

    async def lease_effects(
        self, handlers: Sequence[str], *, limit: int, holder: str, lease: timedelta
    ) -> list[LeasedEffect]:
        """Begin an attempt at up to ``limit`` effects that wait, or whose lease ran out."""

    async def extend_lease(
        self, key: InstanceKey, effect_id: str, lease_token: str, lease: timedelta
    ) -> datetime | None:
        """Prolong a lease from now; returns its end, None: it is lost."""

    async def finish_effect(self, command: FinishEffect, caller: Caller) -> None:
        """End an effect; the machine hears of it in the same transaction."""

    async def retry_effect(self, command: RetryEffect) -> None:
        """Give a failed attempt back for another one."""

    async def record_step(self, command: RecordStep) -> EffectStep:
        """Keep a named step of an attempt; returns it as it is stored."""

    async def wait_effects(self, max_wait_s: float | None = None) -> bool:
        """Wait until effects may be leased."""

    async def next_effect_at(self, handlers: Sequence[str]) -> datetime | None:
        """When the next effect of these handlers can be leased; None: none waits."""

    def on_effect_end(self, listener: Callable[[InstanceKey, str, EffectState], None]) -> Callable[[], None]:
        """Subscribe to ends of effects that are on disk."""
