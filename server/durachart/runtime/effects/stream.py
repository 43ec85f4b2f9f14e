"""A stream of work for one worker: effects as far as it has given credits, and cancellations of what it has.

Without a credit nothing is leased, so a worker that is full holds up nobody's effects. Closing the stream
gives nothing back that was sent: a worker that lost its connection goes on under its leases.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from durachart.runtime.effect_views import EffectState, LeasedEffect
from durachart.runtime.effects.arrivals import Listener
from durachart.runtime.effects.outbox import Outbox
from durachart.store.keys import InstanceKey

MAX_CREDITS: Final = 1_000
# Leased at a time; what is on its way to a worker that is slow to read is bounded by it.
_LEASED_AT_ONCE: Final = 50
# Without credits only the worker, or an end, wakes the stream.
_IDLE_S: Final = 3_600.0


class Work(NamedTuple):
    """What a stream brings.

    Attributes:
        effects: New attempts; each took one credit.
        cancelled: Effects sent earlier that are not wanted any more.
    """

    effects: tuple[LeasedEffect, ...] = ()
    cancelled: tuple[tuple[InstanceKey, str], ...] = ()


class EffectStream:
    """One worker's stream. Cancellations are those committed on this node; a heartbeat hears of all."""

    def __init__(self, outbox: Outbox, handlers: Sequence[str], holder: str, lease: timedelta) -> None:
        """Lease from ``outbox`` for ``holder``; nothing happens before `work` is iterated."""
        self._outbox = outbox
        self._handlers = tuple(handlers)
        self._holder = holder
        self._lease = lease
        self._credits = 0
        self._closed = False
        self._failure: Exception | None = None
        self._sent: dict[str, InstanceKey] = {}
        self._cancelled: list[tuple[InstanceKey, str]] = []
        # Ends heard of while a lease is under way: what it brings may have ended before it is sent.
        self._ended_meanwhile: dict[str, EffectState] | None = None
        self._listener: Listener | None = None

    def add_credits(self, more: int) -> None:
        """Let ``more`` (>= 0) effects come; at most `MAX_CREDITS` are open."""
        self._credits = min(self._credits + more, MAX_CREDITS)
        self._wake()

    def close_credits(self, failure: Exception | None = None) -> None:
        """No more credits will come; ``failure``, if there is one, ends the stream."""
        self._closed = True
        self._failure = failure
        self._wake()

    async def work(self) -> AsyncGenerator[Work, None]:
        """Work as it comes.

        Ends when nothing can come any more: no more credits will be given, none is left, and every effect
        that was sent has ended.

        Raises:
            StoreUnavailable: The store failed.
            Exception: What `close_credits` was given.
        """
        unsubscribe = self._outbox.on_end(self._on_end)
        try:
            with self._outbox.arrivals.listening(self._handlers) as listener:
                self._listener = listener
                while self._failure is None:
                    if self._cancelled:
                        cancelled, self._cancelled = tuple(self._cancelled), []
                        yield Work(cancelled=cancelled)
                    elif self._credits:
                        self._outbox.arrivals.ready(listener)
                        if leased := await self._take():
                            yield Work(leased)
                        else:
                            await listener.wait_ring(await self._outbox.wait_s(self._handlers))
                    elif self._closed and not self._sent:
                        return
                    else:
                        self._outbox.arrivals.busy(listener)
                        await listener.wait_ring(_IDLE_S)
                raise self._failure
        finally:
            unsubscribe()

    async def _take(self) -> tuple[LeasedEffect, ...]:
        ended_meanwhile: dict[str, EffectState] = {}
        self._ended_meanwhile = ended_meanwhile
        limit = min(self._credits, _LEASED_AT_ONCE)
        leased = tuple(await self._outbox.lease(self._handlers, limit, self._holder, self._lease))
        self._ended_meanwhile = None
        self._credits -= len(leased)
        for effect in leased:
            ended = ended_meanwhile.get(effect.effect_id)
            if ended is None:
                self._sent[effect.effect_id] = effect.key
            elif ended == "cancelled":
                self._cancelled.append((effect.key, effect.effect_id))
        return leased

    def _on_end(self, key: InstanceKey, effect_id: str, state: EffectState) -> None:
        if self._ended_meanwhile is not None:
            self._ended_meanwhile[effect_id] = state
        if self._sent.pop(effect_id, None) is None:
            return
        if state == "cancelled":
            self._cancelled.append((key, effect_id))
        self._wake()

    def _wake(self) -> None:
        if self._listener is not None:
            self._listener.wake()
