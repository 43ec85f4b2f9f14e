"""The outbox as workers see it: leases, ends, and who wants to hear of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, cast

from durachart.runtime.cache import InstanceCache
from durachart.runtime.clock import Clock, instant
from durachart.runtime.commands import SYSTEM_ACTOR, Caller, EffectError, FinishEffect, RetryEffect
from durachart.runtime.doorbell import Doorbell
from durachart.runtime.effect_views import EffectRecord, EffectState, LeasedEffect, effect_record, effect_step
from durachart.runtime.errors import DurachartError, InvalidArgument, LeaseLost, StoreUnavailable
from durachart.runtime.instance import dumps
from durachart.runtime.payload import Malformed, parse_json
from durachart.runtime.queue import CommandQueue
from durachart.runtime.registry import Registry
from durachart.runtime.settings import RuntimeSettings
from durachart.store.errors import StoreFailed
from durachart.store.interface import Store, Writes
from durachart.store.keys import InstanceKey
from durachart.store.rows import EffectEnd, EffectRow

_log = logging.getLogger(__name__)

EffectListener = Callable[[InstanceKey, str, EffectState], None]
EXHAUSTED: Final = "ATTEMPTS_EXHAUSTED"


class Outbox:
    """Effects that wait for workers, or are being run by them."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        cache: InstanceCache,
        queue: CommandQueue,
        clock: Clock,
        settings: RuntimeSettings,
    ) -> None:
        """Lease the effects of ``store``; end them through ``queue``."""
        self._store = store
        self._registry = registry
        self._cache = cache
        self._queue = queue
        self._clock = clock
        self._settings = settings
        self._bell = Doorbell()
        self._listeners: list[EffectListener] = []

    def committed(self, writes: Writes) -> None:
        """Take in a commit: ring for what was asked for, tell of what ended."""
        if writes.effects:
            self._bell.ring()
        if not self._listeners:
            return
        for end in writes.ends:
            self._tell(end)
        for effect in writes.effects:
            if effect.finalized_at_ms is not None:
                self._tell(effect)

    def _tell(self, end: EffectEnd | EffectRow) -> None:
        key = InstanceKey(end.namespace, end.machine_id, end.instance_id)
        for listener in tuple(self._listeners):
            try:
                listener(key, end.effect_id, cast(EffectState, end.state))
            except Exception:  # noqa: BLE001 - logged; a listener must not harm the queue
                _log.exception("effect listener failed instance=%s effect_id=%s", key, end.effect_id)

    def on_end(self, listener: EffectListener) -> Callable[[], None]:
        """See ``Runtime.on_effect_end``."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    async def wait(self, max_wait_s: float | None) -> bool:
        """See ``Runtime.wait_effects``."""
        return await self._bell.wait_ring(max_wait_s)

    async def next_at(self, handlers: Sequence[str]) -> datetime | None:
        """See ``Runtime.next_effect_at``."""
        try:
            at_ms = await self._store.next_effect_at(handlers)
        except StoreFailed as error:
            raise StoreUnavailable(str(error)) from error
        return None if at_ms is None else instant(at_ms)

    async def lease(
        self, handlers: Sequence[str], limit: int, holder: str, lease: timedelta
    ) -> list[LeasedEffect]:
        """See ``Runtime.lease_effects``."""
        if limit < 1 or not handlers:
            return []
        now_ms = self._clock.now_ms()
        try:
            taken = await self._store.lease_effects(
                handlers, limit=limit, holder=holder, now_ms=now_ms, until_ms=now_ms + _ms(lease)
            )
        except StoreFailed as error:
            raise StoreUnavailable(str(error)) from error
        leased = []
        for row, exhausted in taken:
            self._cache.note_lease(row)
            try:
                if exhausted:
                    await self._give_up(row)
                else:
                    leased.append(await self._leased(row))
            except DurachartError as error:
                # Nobody here can run or end it; when its lease runs out it is tried again.
                _log.warning(
                    "effect not begun instance=%s effect_id=%s error=%s", row.key, row.effect_id, error
                )
        return leased

    async def _leased(self, row: EffectRow) -> LeasedEffect:
        definition = await self._registry.load(row.machine_id, row.machine_version)
        # Nothing was recorded before the first attempt.
        steps = await self._store.list_steps(row.key, [row.effect_id]) if row.attempt > 1 else []
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

    async def _give_up(self, row: EffectRow) -> None:
        """End an effect whose last allowed attempt never ended: its worker went away."""
        error = EffectError(
            EXHAUSTED, f"attempt {row.attempt} of {row.max_attempts} did not end before its lease ran out"
        )
        command = FinishEffect(row.key, row.effect_id, row.lease_token, "failed", error=error)
        await self.finish(command, Caller(SYSTEM_ACTOR, row.traceparent))

    async def extend(self, key: InstanceKey, effect_id: str, lease_token: str, lease: timedelta) -> bool:
        """See ``Runtime.extend_lease``."""
        until_ms = self._clock.now_ms() + _ms(lease)
        try:
            row = await self._store.extend_lease(key, effect_id, lease_token, until_ms=until_ms)
        except StoreFailed as error:
            raise StoreUnavailable(str(error)) from error
        if row is not None:
            self._cache.note_lease(row)
        return row is not None

    async def retry(self, command: RetryEffect) -> None:
        """See ``Runtime.retry_effect``."""
        now_ms = self._clock.now_ms()
        try:
            row = await self._store.retry_effect(
                command.key,
                command.effect_id,
                command.lease_token,
                now_ms=now_ms,
                scheduled_at_ms=now_ms + max(command.delay_ms, 0),
                error=dumps(command.error._asdict()),
                more_attempts=0 if command.counts else 1,
            )
        except StoreFailed as error:
            raise StoreUnavailable(str(error)) from error
        if row is None:
            raise LeaseLost(command.key, command.effect_id)
        self._cache.note_lease(row)
        self._bell.ring()

    async def finish(self, command: FinishEffect, caller: Caller) -> None:
        """See ``Runtime.finish_effect``."""
        if command.output_json:
            self._require_output(command.output_json)
        reply = await self._queue.submit(command, caller._replace(actor=SYSTEM_ACTOR))
        if reply.verdict.error is not None:
            raise reply.verdict.error

    def _require_output(self, text: str) -> None:
        limit = self._settings.max_context_bytes
        if len(text) * 4 > limit and (size := len(text.encode("utf-8", "surrogatepass"))) > limit:
            raise InvalidArgument(
                "output_json", f"the output is {size} bytes long; at most {limit} are taken"
            )
        try:
            parse_json(text)
        except Malformed as problem:
            raise InvalidArgument("output_json", f"the output is {problem.message}") from None

    async def get(self, key: InstanceKey, effect_id: str) -> EffectRecord | None:
        """See ``Runtime.get_effect``."""
        try:
            row = await self._store.get_effect(key, effect_id)
        except StoreFailed as error:
            raise StoreUnavailable(str(error)) from error
        return None if row is None else effect_record(row)

    async def latest(self, key: InstanceKey, handler: str) -> EffectRecord | None:
        """See ``Runtime.latest_effect``."""
        try:
            row = await self._store.latest_effect(key, handler)
        except StoreFailed as error:
            raise StoreUnavailable(str(error)) from error
        return None if row is None else effect_record(row)


def _ms(span: timedelta) -> int:
    return int(span / timedelta(milliseconds=1))
