"""The use cases, as ``rpc`` and ``workers`` call them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from datetime import datetime, timedelta
from typing import Final

from opentelemetry.trace import Tracer

from durachart.definitions.definition import PublishedPlugins
from durachart.definitions.findings import Finding
from durachart.runtime.arguments import (
    require_event_type,
    require_key,
    require_labels,
    require_request_id,
)
from durachart.runtime.checks import LargeChecks
from durachart.runtime.clock import Clock, SystemClock
from durachart.runtime.commands import (
    Caller,
    CreateInstance,
    DeleteInstance,
    FinishEffect,
    RecordStep,
    RetryEffect,
    SendEvent,
    StopEffect,
)
from durachart.runtime.effect_views import EffectRecord, EffectStep, LeasedEffect
from durachart.runtime.effects.outbox import EffectListener, Outbox
from durachart.runtime.effects.reads import EffectReads
from durachart.runtime.history import History
from durachart.runtime.instance_reads import InstanceReads
from durachart.runtime.judge.judge import Judge
from durachart.runtime.log import Change, RecentLog
from durachart.runtime.log_tail import LogTail
from durachart.runtime.neighbours import Neighbours
from durachart.runtime.outlet import Outlet
from durachart.runtime.queue.answers import Answers
from durachart.runtime.queue.cache import InstanceCache
from durachart.runtime.queue.offers import Offer, Offers, OnAnswer
from durachart.runtime.queue.queue import CommandQueue
from durachart.runtime.registry import Registry
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.store_errors import told_as_unavailable
from durachart.runtime.timers import Timers
from durachart.runtime.views import (
    Accepted,
    Created,
    Deleted,
    MachineRecord,
    Page,
    Published,
    Stopped,
    WatchFrame,
    WatchSpec,
)
from durachart.runtime.watch.texts import WatchText
from durachart.runtime.watch.watches import Watches
from durachart.store.interface import Expirable, Store, Writes
from durachart.store.keys import InstanceKey

GENERATE: Final = "llm.generate"


class Runtime:
    """Everything that can be asked of the service, transport-neutral.

    Every error is a ``DurachartError``, or ``DefinitionInvalid`` for a definition. Any method may raise
    ``StoreUnavailable``; commands may also raise ``Overloaded``, ``DeadlineExceeded`` and ``ShuttingDown``,
    after which nothing was done.
    """

    def __init__(
        self,
        store: Store,
        settings: RuntimeSettings | None = None,
        *,
        clock: Clock | None = None,
        plugins: PublishedPlugins | None = None,
        handlers: frozenset[str] | None = None,
        checks: LargeChecks | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        """Serve what is in ``store``; nothing happens before `running` is entered.

        Args:
            store: Not opened yet.
            settings: None: as they are by default.
            clock: None: the machine's own.
            plugins: Trusted implementations that definitions may name; None: there are none.
            handlers: Effect handlers this server runs; publishing a definition that names another warns.
                None: no warnings.
            checks: Checks large definitions outside of this process; None: threads of it do.
            tracer: Makes the spans of commands; None: there are none, at no cost.
        """
        self._store = store
        self._settings = settings or RuntimeSettings()
        self._clock = clock or SystemClock()
        bounds = self._settings
        self._cache = InstanceCache(bounds.cached_instances, bounds.cached_bytes)
        self._log = RecentLog(bounds.log_entries, bounds.log_bytes)
        self._registry = Registry(
            store, self._clock, bounds, plugins=plugins, handlers=handlers, checks=checks
        )
        self._judge = Judge(bounds, self._clock.new_uid)
        self._history = History(store, self._registry)
        self._answers = Answers(store, self._history)
        self._queue = CommandQueue(
            store, self._registry, self._cache, self._clock, bounds, self._committed, tracer
        )
        self._offers = Offers(self._queue, self._answers)
        self._outbox = Outbox(
            store, self._registry, self._cache, self._queue, self._answers, self._clock, bounds
        )
        self._effects = EffectReads(store)
        self._timers = Timers(store, self._queue, self._clock)
        self._watches, self._tail, self._neighbours = self._watching(store)
        self._instances = InstanceReads(
            store,
            self._registry,
            self._history,
            self._cache,
            self._judge,
            self._clock,
            self._watches.shared.states,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Runtime]:
        """Open the store and start; on leaving refuse new work, finish what was taken on, and close.

        Raises:
            StoreNotOpened: With a sentence for whoever runs the server.
        """
        await self._store.open()
        try:
            self._log.begin(await self._store.newest_revision())
            self._queue.start()
            if not self._store.exclusive:
                self._tail.start()
                self._neighbours.start()
            try:
                yield self
            finally:
                self.drain()
                await self._neighbours.close()
                await self._tail.close()
                await self._outbox.stop()
                await self._queue.stop()
        finally:
            self._registry.close()
            await self._store.close()

    def drain(self) -> None:
        """Refuse new commands and close every watch with a token. What waits is carried out."""
        self._queue.refuse_new()
        self._watches.drain()
        self._outbox.drain()

    @property
    def queue_depth(self) -> int:
        """Commands that wait for their turn."""
        return self._queue.depth

    def _watching(self, store: Store) -> tuple[Watches, LogTail, Neighbours]:
        """What watches need; where other nodes write as well, what they do has to be heard of."""
        log, history = self._log, self._history
        watches = Watches(store, self._registry, history, log, self._clock, self._settings, self._following)
        tail = LogTail(store, history, log, watches.fall_behind)
        neighbours = Neighbours(store, tail, self._outbox, self._timers.ring, self._registry.forget_latest)
        return watches, tail, neighbours

    def relay_texts(self, watch_text: WatchText) -> None:
        """Have watches that ask for it follow the text of generations by ``watch_text``."""
        self._watches.shared.watch_text = watch_text

    def _following(self) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self._store.exclusive else self._tail.following()

    def _committed(self, changes: list[Change], newest: int, writes: Writes) -> None:
        if self._store.exclusive:
            self._log.append(changes, newest)
        else:
            self._tail.committed(changes)
        if writes.effects or writes.ends or writes.revivals:
            self._outbox.committed(writes)
        self._timers.committed(writes.timers)

    @property
    def instances(self) -> InstanceReads:
        """What can be read of instances."""
        return self._instances

    @property
    def timers(self) -> Timers:
        """What fires timers asks for."""
        return self._timers

    # --- machines -----------------------------------------------------------------------------------------

    async def publish(self, definition_json: str, caller: Caller) -> Published:
        """Check a definition and store it as the next version of its machine, unless it is one already.

        Raises:
            DefinitionInvalid: With all findings.
            InvalidArgument: The document is over the limit.
        """
        return await self._registry.publish(definition_json)

    async def validate(self, definition_json: str) -> list[Finding]:
        """What `publish` would find, in document order. Raises InvalidArgument: it is over the limit."""
        return await self._registry.validate(definition_json)

    async def get_machine(self, machine_id: str, version: int = 0) -> MachineRecord:
        """One version with its document; 0 is the latest. Raises MachineNotFound."""
        return await self._registry.get_machine(machine_id, version)

    async def list_machines(self, *, page_size: int = 0, page_token: str = "") -> Page[MachineRecord]:
        """The latest version of each, by machine id. Raises PageTokenInvalid."""
        return await self._registry.list_machines(page_size, page_token)

    # --- instances ----------------------------------------------------------------------------------------

    async def create_instance(self, command: CreateInstance, caller: Caller) -> Created:
        """Start an instance; answers after it is on disk.

        Raises:
            InvalidArgument: Not journaled.
            MachineNotFound: Not journaled.
            InstanceExists: Unless ``request_id`` says that this call made it.
            PayloadInvalid: The input does not fit.
            EvaluationFailed: The machine cannot be started with it.
            RequestIdReused: The request id was used for another request.
        """
        require_key(command.key)
        require_request_id(command.request_id)
        require_labels(command.labels)
        await self._registry.load_latest(command.key.machine_id)
        return await self._answers.created(await self._queue.submit(command, caller), command.view)

    async def send_event(self, command: SendEvent, caller: Caller) -> Accepted:
        """Run one macrostep; answers after it is on disk.

        Raises:
            InvalidArgument: Not journaled.
            InstanceNotFound: Not journaled.
            MachineNotFound: The instance was to be made; not journaled.
            PayloadInvalid: The data, or the input of an instance to be made, does not fit.
            VersionConflict: The instance is at another version than expected.
            EventNotAllowed: The state does not handle the event.
            GuardRejected: The guards were false.
            EvaluationFailed: An expression failed on the event.
            InstanceFinished: The instance takes no more events.
            RequestIdReused: The request id was used for another request.
        """
        require_key(command.key)
        require_event_type(command.event_type)
        require_request_id(command.request_id)
        if command.create_if_missing:
            await self._registry.load_latest(command.key.machine_id)
        return await self._answers.accepted(await self._queue.submit(command, caller), command.view)

    def offer_event(self, command: SendEvent, caller: Caller, on_answer: OnAnswer) -> Offer:
        """`send_event` without waiting; events of one instance are judged in the order offered.

        Args:
            command: What is asked.
            caller: Who asks.
            on_answer: Called once with the answer, or with what `send_event` raises; perhaps before this
                returns. Never for an offer that was withdrawn.
        """
        return self._offers.offer(command, caller, on_answer)

    async def delete_instance(self, command: DeleteInstance, caller: Caller) -> Deleted:
        """End an instance with its timers and effects; answers after it is on disk.

        Raises:
            InvalidArgument: Not journaled.
            InstanceNotFound: Not journaled.
            VersionConflict: The instance is at another version than expected.
            RequestIdReused: The request id was used for another request.
        """
        require_key(command.key)
        require_request_id(command.request_id)
        return await self._answers.deleted(await self._queue.submit(command, caller))

    async def watch(
        self, spec: WatchSpec, caller: Caller, outlet: Outlet[list[WatchFrame]] | None = None
    ) -> AsyncGenerator[list[WatchFrame], None]:
        """What the watched instances are and what they become; lists of at least one frame.

        Args:
            spec: What to watch.
            caller: Who asks.
            outlet: See `Watches.watch`.

        Raises:
            InvalidArgument: The spec cannot be watched.
            ResumeTokenInvalid: The token was not given out by this store.
            WatchCompacted: What lies after the token has been removed.
            ShuttingDown: The server is draining.
        """
        for key in spec.instances:
            require_key(key)
        async with aclosing(self._watches.watch(spec, outlet)) as batches:
            async for frames in batches:
                yield frames

    # --- effects ------------------------------------------------------------------------------------------

    async def lease_effects(
        self, handlers: Sequence[str], *, limit: int, holder: str, lease: timedelta
    ) -> list[LeasedEffect]:
        """Begin an attempt at up to ``limit`` effects that wait, or whose lease ran out.

        By priority, then those that wait longest. One whose last allowed attempt was lost with its worker is
        ended as failed instead.
        """
        return await self._outbox.lease(handlers, limit, holder, lease)

    async def extend_lease(
        self, key: InstanceKey, effect_id: str, lease_token: str, lease: timedelta
    ) -> datetime | None:
        """Prolong a lease from now; returns its end.

        None: it is lost (ended, cancelled or taken over): stop.
        """
        return await self._outbox.extend(key, effect_id, lease_token, lease)

    async def finish_effect(self, command: FinishEffect, caller: Caller) -> None:
        """End an effect; the machine hears of it in the same transaction. Repeating it does nothing.

        Raises:
            LeaseLost: It was cancelled, or is another worker's by now.
            InvalidArgument: The output is no JSON, or over the limit of a context.
        """
        await self._outbox.finish(command, caller)

    async def retry_effect(self, command: RetryEffect) -> None:
        """Give a failed attempt back for another one. Raises LeaseLost."""
        await self._outbox.retry(command)

    async def record_step(self, command: RecordStep) -> EffectStep:
        """Keep a named step of an attempt; see `Outbox.record_step`."""
        return await self._outbox.record_step(command)

    @property
    def outbox(self) -> Outbox:
        """What workers in processes of their own may do, beyond the methods here."""
        return self._outbox

    @property
    def effects(self) -> EffectReads:
        """What operators may read of effects."""
        return self._effects

    async def stop_effect(self, command: StopEffect, caller: Caller) -> Stopped:
        """End an effect on purpose; nothing happens when none runs.

        Raises:
            InvalidArgument: Not journaled.
            InstanceNotFound: Not journaled.
            RequestIdReused: The request id was used for another request.
        """
        require_key(command.key)
        require_request_id(command.request_id)
        return await self._answers.stopped(await self._queue.submit(command, caller), command.view)

    async def stop_generation(self, command: StopEffect, caller: Caller) -> Stopped:
        """`stop_effect` for effects of the handler ``llm.generate``."""
        return await self.stop_effect(command._replace(handler=GENERATE), caller)

    async def get_effect(self, key: InstanceKey, effect_id: str) -> EffectRecord | None:
        """One effect; None when there is no such effect."""
        return await self._effects.get(key, effect_id)

    async def latest_effect(self, key: InstanceKey, handler: str = "") -> EffectRecord | None:
        """The running effect asked for last, or else the latest; None when there is none."""
        return await self._effects.latest(key, handler)

    async def wait_effects(self, max_wait_s: float | None = None) -> bool:
        """Wait until effects may be leased; False: ``max_wait_s`` passed first."""
        return await self._outbox.wait(max_wait_s)

    async def next_effect_at(self, handlers: Sequence[str]) -> datetime | None:
        """When the next effect of these handlers can be leased; None: none waits."""
        return await self._outbox.next_at(handlers)

    def on_effect_end(self, listener: EffectListener) -> Callable[[], None]:
        """Call ``listener(key, effect_id, state)`` on the loop after an effect's end is on disk.

        Returns:
            A function that ends the subscription.
        """
        return self._outbox.on_end(listener)

    # --- retention ----------------------------------------------------------------------------------------

    async def expire(self, what: Expirable, age: timedelta, limit: int) -> int:
        """Remove up to ``limit`` of what ended, or was written, longer than ``age`` ago.

        Returns how many; 0: there are no more for now.
        """
        before_ms = self._clock.now_ms() - int(age / timedelta(milliseconds=1))
        with told_as_unavailable():
            removed = await self._store.expire(what, before_ms, limit)
        if removed and what == "instances":
            self._cache.evict_finished(before_ms)
        return removed
