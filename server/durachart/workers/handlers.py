"""What runs an effect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from durachart.store.keys import InstanceKey
from durachart.workers.steps import Steps


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at an effect, as its handler sees it.

    Attributes:
        key: The instance that asked.
        effect_id: Which effect; the same for all attempts, so a good idempotency key for the world outside.
        type: The action type that asked for it.
        number: Which attempt, from 1.
        params: The action's parameters.
        steps: What of it was done before.
        until_committed: What is entered here stays open until the attempt's end is on disk (or lost).
    """

    key: InstanceKey
    effect_id: str
    type: str
    number: int
    params: Mapping[str, Any]
    steps: Steps
    until_committed: ExitStack = field(default_factory=ExitStack)

    async def step(self, name: str, work: Callable[[], Awaitable[object]]) -> object:
        """Do a named step unless an earlier attempt completed it; see `Steps.do`."""
        return await self.steps.do(name, work)


class EffectHandler(Protocol):
    """Runs the effects whose definition names it. An effect may be run more than once."""

    @property
    def name(self) -> str:
        """The name definitions use, for example ``llm.generate``."""

    @property
    def concurrency(self) -> int:
        """Most attempts at a time, >= 1."""

    @property
    def timeout_reason(self) -> str:
        """Reason of the failure when an attempt takes longer than the definition allows."""

    async def run(self, attempt: Attempt) -> object:
        """Make one attempt.

        Cancelled when the effect was stopped or cancelled, took too long, or the server stops: let go at
        once.

        Args:
            attempt: What to do.

        Returns:
            The effect's output, JSON-ready; None is no output.

        Raises:
            EffectFailure: The attempt failed.
        """
