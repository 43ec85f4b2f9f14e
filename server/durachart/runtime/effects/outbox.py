"""The outbox as workers see it: leases, what is recorded under them, ends, and who wants to hear of them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, cast

from durachart.runtime.arguments import require_key, require_request_id
from durachart.runtime.clock import Clock, instant
from durachart.runtime.commands import (
    SYSTEM_ACTOR,
    Caller,
    EffectError,
    FailEffect,
    FinishEffect,
    RecordStep,
    RetryEffect,
    ReviveEffect,
)
from durachart.runtime.doorbell import Doorbell
from durachart.runtime.effect_views import (
    EffectRecord,
    EffectState,
    EffectStep,
    LeasedEffect,
    effect_step,
)
from durachart.runtime.effects.arrivals import Arrivals
from durachart.runtime.effects.retries import wait_before_next_ms
from durachart.runtime.errors import DurachartError, InvalidArgument, LeaseLost
from durachart.runtime.instance import dumps
from durachart.runtime.judge.payload import Malformed, parse_json
from durachart.runtime.queue.answers import Answers
from durachart.runtime.queue.cache import InstanceCache
from durachart.runtime.queue.queue import CommandQueue
from durachart.runtime.registry import Registry
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.store_errors import told_as_unavailable
from durachart.store.interface import EffectKey, Store, Wanted, Writes
from durachart.store.keys import InstanceKey, shard
from durachart.store.rows import EffectRow, StepRow

_log = logging.getLogger(__name__)

EffectListener = Callable[[InstanceKey, str, EffectState], None]
EXHAUSTED: Final = "ATTEMPTS_EXHAUSTED"
NOT_DELIVERED: Final = "INTERRUPTED"
MAX_STEPS: Final = 1_000
MAX_STEP_OUTPUT_BYTES: Final = 256 * 1024

# What is due is not waited for; this only keeps a clock that runs a little ahead, or an effect that another
# node is just leasing, from being asked for in a tight loop.
_SHORTEST_WAIT_S: Final = 0.01
# An effect that this server cannot hand out, for want of a plug-in perhaps, is left to others for so long.
_PUT_OFF_MS: Final = 60_000
# In case nobody rang: here a ring may be lost with the one it woke, elsewhere other nodes write as well.
_POLL_S: Final = 10.0
_SHARED_POLL_S: Final = 2.0


class Outbox:
    """Effects that wait for workers, or are being run by them.

    Attributes:
        arrivals: Wakes workers that wait for effects.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        cache: InstanceCache,
        queue: CommandQueue,
        answers: Answers,
        clock: Clock,
        settings: RuntimeSettings,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Lease the effects of ``store``; end them through ``queue``.

        Args:
            store: Holds them.
            registry: Has the definitions that say how they are run.
            cache: Is told of leases.
            queue: Takes the commands that end them.
            answers: Makes answers of the queue's replies.
            clock: The wall clock.
            settings: Bounds.
            jitter: Random numbers from 0 (inclusive) to 1.
        """
        self.arrivals = Arrivals()
        self._store = store
        self._registry = registry
        self._cache = cache
        self._queue = queue
        self._answers = answers
        self._clock = clock
        self._settings = settings
        self._jitter = jitter
        self._bell = Doorbell()
        self._listeners: list[EffectListener] = []
        # Leased here and not known to have ended; only kept where other nodes can end them.
        self._leased_here: dict[EffectKey, str] = {}
        self._giving_back: set[asyncio.Task[None]] = set()
        self._draining = False

    # --- what was committed -------------------------------------------------------------------------------

    def committed(self, writes: Writes) -> None:
        """Take in a commit: ring for what was asked for, tell of what ended."""
        if writes.effects or writes.revivals:
            rows = (*writes.effects, *(revival.row for revival in writes.revivals))
            self._ring([row.handler for row in rows if row.finalized_at_ms is None])
        if not self._listeners and not self._leased_here:
            return
        for end in writes.ends:
            self._tell(InstanceKey(end.namespace, end.machine_id, end.instance_id), end.effect_id, end.state)
        for effect in (*writes.effects, *(revival.row for revival in writes.revivals)):
            if effect.finalized_at_ms is not None:
                self._tell(effect.key, effect.effect_id, effect.state)

    async def look_for_ends(self) -> None:
        """Tell of effects leased here that another node has ended."""
        held = tuple(self._leased_here)
        if not held:
            return
        with told_as_unavailable():
            found = (await self._store.load(Wanted(effects=held))).effects
        for which in held:
            row = found.get(which)
            if row is None:  # gone with its instance
                self._tell(*which, "cancelled")
            elif row.finalized_at_ms is not None:
                self._tell(*which, row.state)
            elif row.lease_token != self._leased_here.get(which):
                self._leased_here.pop(which, None)

    def wake_workers(self) -> None:
        """Let everybody who waits for effects look whether there are some: other nodes may have asked."""
        self._bell.ring()
        self.arrivals.wake_all()

    def _ring(self, handlers: Sequence[str]) -> None:
        if handlers:
            self._bell.ring()
            self.arrivals.ring(handlers)

    def _tell(self, key: InstanceKey, effect_id: str, state: str) -> None:
        self._leased_here.pop((key, effect_id), None)
        for listener in tuple(self._listeners):
            try:
                listener(key, effect_id, cast(EffectState, state))
            except Exception:  # noqa: BLE001 - logged; a listener must not harm the queue
                _log.exception("effect listener failed instance=%s effect_id=%s", key, effect_id)

    def on_end(self, listener: EffectListener) -> Callable[[], None]:
        """See ``Runtime.on_effect_end``."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    def drain(self) -> None:
        """Let nobody wait for effects any more; what is there can still be leased and ended."""
        self._draining = True
        self.arrivals.wake_all()

    async def stop(self) -> None:
        """Finish giving back what was leased for callers that went away."""
        if self._giving_back:
            await asyncio.wait(self._giving_back)

    # --- leases -------------------------------------------------------------------------------------------

    async def wait(self, max_wait_s: float | None) -> bool:
        """See ``Runtime.wait_effects``."""
        return await self._bell.wait_ring(max_wait_s)

    async def next_at(self, handlers: Sequence[str]) -> datetime | None:
        """See ``Runtime.next_effect_at``."""
        with told_as_unavailable():
            at_ms = await self._store.next_effect_at(handlers)
        return None if at_ms is None else instant(at_ms)

    async def wait_s(self, handlers: Sequence[str]) -> float:
        """How long nothing new can be leased unless it rings, in seconds."""
        with told_as_unavailable():
            at_ms = await self._store.next_effect_at(handlers)
        longest_s = _POLL_S if self._store.exclusive else _SHARED_POLL_S
        if at_ms is None:
            return longest_s
        return min(max((at_ms - self._clock.now_ms()) / 1000, _SHORTEST_WAIT_S), longest_s)

    async def take(
        self, handlers: Sequence[str], limit: int, holder: str, lease: timedelta, wait: timedelta
    ) -> list[LeasedEffect]:
        """`lease`, waiting up to ``wait`` for something that can be leased; not at all while draining."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait.total_seconds()
        with self.arrivals.listening(handlers) as listener:
            while True:
                self.arrivals.ready(listener)
                leased = await self.lease(handlers, limit, holder, lease)
                remaining = end - loop.time()
                if leased or remaining <= 0 or self._draining:
                    return leased
                await listener.wait_ring(min(remaining, await self.wait_s(handlers)))

    async def lease(
        self, handlers: Sequence[str], limit: int, holder: str, lease: timedelta
    ) -> list[LeasedEffect]:
        """See ``Runtime.lease_effects``. A caller that is cancelled meanwhile has leased nothing."""
        if limit < 1 or not handlers:
            return []
        leasing = asyncio.create_task(self._lease(handlers, limit, holder, lease))
        try:
            return await asyncio.shield(leasing)
        except asyncio.CancelledError:
            task = asyncio.create_task(self._undo(leasing))
            self._giving_back.add(task)
            task.add_done_callback(self._giving_back.discard)
            raise

    async def _lease(
        self, handlers: Sequence[str], limit: int, holder: str, lease: timedelta
    ) -> list[LeasedEffect]:
        now_ms = self._clock.now_ms()
        with told_as_unavailable():
            taken = await self._store.lease_effects(
                handlers, limit=limit, holder=holder, now_ms=now_ms, until_ms=now_ms + _ms(lease)
            )
        leased = []
        for row, exhausted in taken:
            self._cache.note_lease(row)
            try:
                if exhausted:
                    await self._give_up(row)
                else:
                    leased.append(await self._leased(row))
                    if not self._store.exclusive:
                        self._leased_here[row.key, row.effect_id] = row.lease_token
            except DurachartError as error:
                _log.warning(
                    "effect not begun instance=%s effect_id=%s error=%s", row.key, row.effect_id, error
                )
                if not exhausted:
                    # Its definition cannot be run here, or the store failed: no fault of the effect's. It is
                    # begun later, or by another node.
                    why = EffectError(
                        NOT_DELIVERED, "The server could not hand the effect out; its log says why."
                    )
                    place = (row.key, row.effect_id, row.lease_token)
                    await self._give_back(*place, why, delay_ms=_PUT_OFF_MS)
        return leased

    async def _leased(self, row: EffectRow) -> LeasedEffect:
        definition = await self._registry.load(row.machine_id, row.machine_version)
        steps: Sequence[StepRow] = ()
        if row.attempt > 1:  # nothing was recorded before the first attempt
            with told_as_unavailable():
                steps = await self._store.list_steps(row.key, [row.effect_id])
        return LeasedEffect(
            row.key,
            row.uid,
            row.effect_id,
            row.type,
            row.handler,
            row.params,
            row.attempt,
            row.lease_token,
            instant(row.scheduled_at_ms),
            instant(row.created_at_ms),
            row.machine_version,
            row.traceparent,
            definition.effects[row.type],
            row.max_attempts,
            tuple(map(effect_step, steps)),
        )

    async def _undo(self, leasing: asyncio.Task[list[LeasedEffect]]) -> None:
        try:
            leased = await leasing
        except DurachartError:
            return
        await self.give_back(leased)

    async def give_back(self, leased: Sequence[LeasedEffect]) -> None:
        """End attempts that never reached a worker, for others at once; they do not count."""
        error = EffectError(
            NOT_DELIVERED, "The worker was gone, or had no room, when the effect was handed out."
        )
        for effect in leased:
            place = (effect.key, effect.effect_id, effect.lease_token)
            await self._give_back(*place, error, delay_ms=0)

    async def _give_back(
        self, key: InstanceKey, effect_id: str, lease_token: str, error: EffectError, *, delay_ms: int
    ) -> None:
        try:
            await self.retry(RetryEffect(key, effect_id, lease_token, error, delay_ms, counts=False))
        except DurachartError as failure:  # then its lease runs out
            _log.warning("effect not given back instance=%s effect_id=%s error=%s", key, effect_id, failure)

    async def _give_up(self, row: EffectRow) -> None:
        """End an effect whose last allowed attempt never ended: its worker went away."""
        error = EffectError(
            EXHAUSTED, f"attempt {row.attempt} of {row.max_attempts} did not end before its lease ran out"
        )
        command = FinishEffect(row.key, row.effect_id, row.lease_token, "failed", error=error)
        await self.finish(command, Caller(SYSTEM_ACTOR, row.traceparent))

    async def extend(
        self, key: InstanceKey, effect_id: str, lease_token: str, lease: timedelta
    ) -> datetime | None:
        """See ``Runtime.extend_lease``."""
        until_ms = self._clock.now_ms() + _ms(lease)
        with told_as_unavailable():
            row = await self._store.extend_lease(key, effect_id, lease_token, until_ms=until_ms)
        if row is None:
            self._leased_here.pop((key, effect_id), None)
            return None
        self._cache.note_lease(row)
        return instant(row.scheduled_at_ms)

    # --- under a lease ------------------------------------------------------------------------------------

    async def record_step(self, command: RecordStep) -> EffectStep:
        """Keep a step; returns it as it is stored, which is as it was when it had completed before.

        Raises:
            LeaseLost: The effect ended, or is another worker's by now.
            InvalidArgument: The output is no JSON or too large, or the effect has too many steps.
        """
        key, effect_id, lease_token, name, state, output_json, error = command
        if output_json:
            _require_json(output_json, MAX_STEP_OUTPUT_BYTES, "step.output_json")
        row = await self._held(key, effect_id, lease_token)
        now_ms = self._clock.now_ms()
        step = StepRow(
            shard(key),
            *key,
            effect_id,
            name,
            0,
            row.attempt,
            state,
            output_json or None,
            None if error is None else dumps(error._asdict()),
            now_ms,
            None if state == "started" else now_ms,
        )
        with told_as_unavailable():
            if await self._store.count_steps(key, effect_id, but=name) >= MAX_STEPS:
                raise InvalidArgument(
                    "step.name", f"effect {effect_id!r} has {MAX_STEPS:,} steps, and cannot have more"
                )
            stored = await self._store.record_step(step, lease_token)
        if stored is None:
            raise LeaseLost(key, effect_id)
        return effect_step(stored)

    async def running(self, key: InstanceKey, effect_id: str, lease_token: str) -> EffectRow:
        """The row of an effect that runs under this lease, as stored.

        Raises:
            LeaseLost: The effect ended, or is another worker's by now.
        """
        with told_as_unavailable():
            row = await self._store.get_effect(key, effect_id)
        if row is None or row.lease_token != lease_token or row.finalized_at_ms is not None:
            raise LeaseLost(key, effect_id)
        return row

    async def _held(self, key: InstanceKey, effect_id: str, lease_token: str) -> EffectRow:
        """The row of an effect under this lease, whether it has ended or not. Raises LeaseLost."""
        seat = self._cache.get(key)
        if seat is not None and seat.instance is not None:
            for effect in seat.instance.effects:
                if effect.effect_id == effect_id and effect.lease_token == lease_token:
                    return effect
        with told_as_unavailable():
            row = await self._store.get_effect(key, effect_id)
        if row is None or row.lease_token != lease_token:
            raise LeaseLost(key, effect_id)
        return row

    # --- ends ---------------------------------------------------------------------------------------------

    async def retry(self, command: RetryEffect) -> datetime:
        """See ``Runtime.retry_effect``."""
        now_ms = self._clock.now_ms()
        with told_as_unavailable():
            row = await self._store.retry_effect(
                command.key,
                command.effect_id,
                command.lease_token,
                now_ms=now_ms,
                scheduled_at_ms=now_ms + max(command.delay_ms, 0),
                error=dumps(command.error._asdict()),
                more_attempts=0 if command.counts else 1,
            )
        if row is None:
            raise LeaseLost(command.key, command.effect_id)
        self._leased_here.pop((command.key, command.effect_id), None)
        self._cache.note_lease(row)
        self._ring((row.handler,))
        return instant(row.scheduled_at_ms)

    async def fail(self, command: FailEffect, caller: Caller) -> datetime | None:
        """End an attempt as failed; returns when the next one may begin, None: there is none.

        Repeating it does nothing, and answers the same. An attempt that was INTERRUPTED, because its worker
        ends, does not count.

        Raises:
            LeaseLost: The effect ended otherwise, or is another worker's by now.
        """
        key, effect_id, lease_token, error, delay_ms, final = command
        with told_as_unavailable():
            row = await self._store.get_effect(key, effect_id)
        if row is not None and not final and _was_given_back(row, lease_token):
            return instant(row.scheduled_at_ms)
        if row is None or row.lease_token != lease_token:
            raise LeaseLost(key, effect_id)
        if row.finalized_at_ms is None and error.reason == NOT_DELIVERED and not final:
            # A worker that is shut down often must not use up the attempts of what it gives back.
            given_back = RetryEffect(key, effect_id, lease_token, error, delay_ms or 0, counts=False)
            return await self.retry(given_back)
        if row.finalized_at_ms is None and not final:
            definition = await self._registry.load(row.machine_id, row.machine_version)
            wait_ms = wait_before_next_ms(
                definition.effects[row.type].retry,
                error.reason,
                attempt=row.attempt,
                max_attempts=row.max_attempts,
                jitter=self._jitter(),
                asked_ms=delay_ms,
            )
            if wait_ms is not None:
                return await self.retry(RetryEffect(key, effect_id, lease_token, error, wait_ms))
        await self.finish(FinishEffect(key, effect_id, lease_token, "failed", error=error), caller)
        return None

    async def finish(self, command: FinishEffect, caller: Caller) -> None:
        """See ``Runtime.finish_effect``."""
        if command.output_json:
            _require_json(command.output_json, self._settings.max_context_bytes, "output_json")
        reply = await self._queue.submit(command, caller._replace(actor=SYSTEM_ACTOR))
        if reply.verdict.error is not None:
            raise reply.verdict.error

    async def revive(self, command: ReviveEffect, caller: Caller) -> EffectRecord:
        """Give a dead letter back for further attempts.

        Raises:
            InvalidArgument, InstanceNotFound, EffectNotFound: Not journaled.
            EffectNotRetryable: It was not discarded, or its instance has finished or is gone.
            RequestIdReused: The request id was used for another request.
        """
        require_key(command.key)
        require_request_id(command.request_id)
        return await self._answers.revived(await self._queue.submit(command, caller))


def _was_given_back(row: EffectRow, lease_token: str) -> bool:
    """Whether the newest lease was this one and ended with a retry, which forgets the token but its epoch."""
    epoch, _, _ = lease_token.partition(".")
    return row.state == "retryable" and epoch == str(row.lease_epoch)


def _require_json(text: str, limit: int, field: str) -> None:
    if len(text) * 4 > limit and (size := len(text.encode("utf-8", "surrogatepass"))) > limit:
        raise InvalidArgument(field, f"the output is {size} bytes long; at most {limit} are taken")
    try:
        parse_json(text)
    except Malformed as problem:
        raise InvalidArgument(field, f"the output is not valid: {problem.message}") from None


def _ms(span: timedelta) -> int:
    return int(span / timedelta(milliseconds=1))
