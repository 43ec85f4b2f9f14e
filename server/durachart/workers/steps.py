"""Named steps of one attempt, recorded so that later attempts skip what was done.

A step that was done and not yet recorded when its process died is done again: what it asks of others should
carry a key of its own, made of the effect's id and the step's name.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

from durachart.runtime.commands import EffectError, RecordStep
from durachart.runtime.effect_views import EffectStep, LeasedEffect
from durachart.runtime.errors import Overloaded, StoreUnavailable
from durachart.workers.errors import HANDLER_FAILED, EffectFailure

_log = logging.getLogger(__name__)

# Wait before a record that failed is tried again, doubled each time up to the bound.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0


class StepStore(Protocol):
    """Where steps are kept; `Runtime` has it."""

    async def record_step(self, command: RecordStep) -> EffectStep:
        """Keep a step; returns it as it is stored."""


class Steps:
    """The steps of one attempt."""

    def __init__(self, store: StepStore, leased: LeasedEffect) -> None:
        """Know what earlier attempts completed.

        Args:
            store: Where steps are kept.
            leased: The attempt's lease, which fences what is recorded.
        """
        self._store = store
        self._leased = leased
        self._known = {step.name: step for step in leased.steps}
        self._used: set[str] = set()

    async def do(self, name: str, work: Callable[[], Awaitable[object]]) -> object:
        """Do one step unless an earlier attempt completed it.

        Args:
            name: 1 to 128 characters, unique within the effect.
            work: Does it; called only when it has to be done.

        Returns:
            What the step yielded, now or then, as it reads back from JSON.

        Raises:
            ValueError: This attempt used ``name`` before, so that its second use would be skipped; or what
                the step yields is no JSON.
            LeaseLost: The effect ended, or is another worker's by now.
            InvalidArgument: The name or the output is too long, or there are too many steps.
            Exception: Whatever ``work`` raises, after the failure was recorded.
        """
        if name in self._used:
            raise ValueError(f"step {name!r} is used twice in one attempt; give every step its own name")
        self._used.add(name)
        known = self._known.get(name)
        if known is None or known.state != "completed":
            known = await self._record(name, "started")
        if known.state != "completed":
            known = await self._do(name, work)
        return json.loads(known.output_json) if known.output_json else None

    async def _do(self, name: str, work: Callable[[], Awaitable[object]]) -> EffectStep:
        try:
            output = await work()
        except EffectFailure as failure:
            await self._record(name, "failed", error=EffectError(failure.reason, failure.message))
            raise
        except Exception as error:
            # Its text may hold anything, so only its type is kept; the attempt's failure goes to the log.
            message = f"The step {name!r} failed with {type(error).__name__}."
            await self._record(name, "failed", error=EffectError(HANDLER_FAILED, message))
            raise
        text = "" if output is None else json.dumps(output, ensure_ascii=False, allow_nan=False)
        return await self._record(name, "completed", text)

    async def _record(
        self,
        name: str,
        state: Literal["started", "completed", "failed"],
        output_json: str = "",
        error: EffectError | None = None,
    ) -> EffectStep:
        """Record, however often the store has to be asked; the lease decides if it still counts."""
        leased = self._leased
        command = RecordStep(
            leased.key, leased.effect_id, leased.lease_token, name, state, output_json, error
        )
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await self._store.record_step(command)
            except (StoreUnavailable, Overloaded) as failure:
                _log.warning(
                    "effect step not stored yet instance=%s effect_id=%s step=%s error=%s",
                    leased.key,
                    leased.effect_id,
                    name,
                    failure,
                )
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
