"""The use cases, as ``rpc`` and ``workers`` call them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta

from durachart.definitions.findings import Finding
from durachart.runtime.commands import (
    Caller,
    CreateInstance,
    FinishEffect,
    FireTimer,
    RetryEffect,
    SendEvent,
    StopEffect,
)
from durachart.runtime.views import (
    Accepted,
    Created,
    DueTimer,
    EffectRecord,
    EffectState,
    InstanceState,
    InstanceStatus,
    JournalEntry,
    LeasedEffect,
    MachineRecord,
    Page,
    Published,
    Stopped,
    View,
    WatchFrame,
    WatchSpec,
)
from durachart.store.keys import InstanceKey

EffectListener = Callable[[InstanceKey, str, EffectState], None]


class Runtime:
    """Everything that can be asked of the service, transport-neutral. Every error is a `DurachartError`."""

    def running(self) -> AbstractAsyncContextManager[Runtime]:
        """Open the store and start; on leaving refuse new work, finish what was taken on, and close."""
        raise NotImplementedError

    def drain(self) -> None:
        """Refuse new commands (``ShuttingDown``) and close every watch with a token. What waits is
        executed.
        """
        raise NotImplementedError

    # --- machines -----------------------------------------------------------------------------------------

    async def publish(self, definition_json: str, caller: Caller) -> Published:
        """Check a definition and store it. Raises DefinitionInvalid with all findings."""
        raise NotImplementedError

    async def validate(self, definition_json: str) -> list[Finding]:
        """Check a definition as `publish` would."""
        raise NotImplementedError

    async def get_machine(self, machine_id: str, version: int = 0) -> MachineRecord:
        """One version; 0 is the latest. Raises MachineNotFound."""
        raise NotImplementedError

    async def list_machines(self, *, page_size: int = 0, page_token: str = "") -> Page[MachineRecord]:
        """The latest version of each, sorted by machine id."""
        raise NotImplementedError

    # --- instances ----------------------------------------------------------------------------------------

    async def create_instance(self, command: CreateInstance, caller: Caller) -> Created:
        """Start an instance."""
        raise NotImplementedError

    async def send_event(self, command: SendEvent, caller: Caller) -> Accepted:
        """Run one macrostep; answers after it is on disk."""
        raise NotImplementedError

    async def get_state(self, key: InstanceKey, view: View = View.FULL) -> InstanceState:
        """The last committed state."""
        raise NotImplementedError

    async def list_instances(
        self,
        namespace: str,
        *,
        machine_id: str = "",
        status: InstanceStatus | None = None,
        page_size: int = 0,
        page_token: str = "",
        view: View = View.BASIC,
    ) -> Page[InstanceState]:
        """Instances by machine id, then instance id."""
        raise NotImplementedError

    async def list_journal(
        self, key: InstanceKey, *, page_size: int = 0, page_token: str = "", newest_first: bool = False
    ) -> Page[JournalEntry]:
        """One instance's journal by seq. Raises InstanceNotFound when nothing was ever attempted on it."""
        raise NotImplementedError

    def watch(self, spec: WatchSpec, caller: Caller) -> AsyncIterator[list[WatchFrame]]:
        """What the watched instances are and what they become; lists of at least one frame. An async
        generator.
        """
        raise NotImplementedError

    # --- effects (workers) --------------------------------------------------------------------------------

    async def lease_effects(
        self, handlers: Sequence[str], *, limit: int, holder: str, lease: timedelta
    ) -> list[LeasedEffect]:
        """Begin an attempt at up to ``limit`` effects that wait, or whose lease ran out, the most urgent
        first.
        """
        raise NotImplementedError

    async def extend_lease(
        self, key: InstanceKey, effect_id: str, lease_token: str, lease: timedelta
    ) -> bool:
        """Prolong a lease from now; False: it is lost (ended, cancelled or taken over): stop."""
        raise NotImplementedError

    async def finish_effect(self, command: FinishEffect, caller: Caller) -> None:
        """End an effect; the machine hears of it in the same transaction. Raises LeaseLost."""
        raise NotImplementedError

    async def retry_effect(self, command: RetryEffect) -> None:
        """Give a failed attempt back for another one. Raises LeaseLost."""
        raise NotImplementedError

    async def stop_effect(self, command: StopEffect, caller: Caller) -> Stopped:
        """End an effect on purpose. Idempotent."""
        raise NotImplementedError

    async def stop_generation(self, command: StopEffect, caller: Caller) -> Stopped:
        """`stop_effect` for effects of the handler ``llm.generate``."""
        raise NotImplementedError

    async def get_effect(self, key: InstanceKey, effect_id: str) -> EffectRecord | None:
        """One effect; None when there is no such effect."""
        raise NotImplementedError

    async def latest_effect(self, key: InstanceKey, handler: str = "") -> EffectRecord | None:
        """The running effect asked for last, or else the one that ended last; None when there is none."""
        raise NotImplementedError

    async def wait_effects(self, max_wait_s: float | None = None) -> bool:
        """Wait until effects may be leased; False: ``max_wait_s`` passed first."""
        raise NotImplementedError

    async def next_effect_at(self) -> datetime | None:
        """When the next effect can be leased: scheduled, or its lease runs out. None: nothing waits."""
        raise NotImplementedError

    def on_effect_end(self, listener: EffectListener) -> Callable[[], None]:
        """Call ``listener(key, effect_id, state)`` on the loop after an effect's end is on disk.

        Returns a function that ends the subscription.
        """
        raise NotImplementedError

    # --- timers (workers) ---------------------------------------------------------------------------------

    async def due_timers(self, limit: int) -> list[DueTimer]:
        """Timers that are due now, in due order."""
        raise NotImplementedError

    async def next_due_at(self) -> datetime | None:
        """When the next timer comes due; None: none is pending."""
        raise NotImplementedError

    async def wait_timers(self, max_wait_s: float | None = None) -> bool:
        """Wait until the earliest due instant may have changed; False: ``max_wait_s`` passed first."""
        raise NotImplementedError

    async def fire_timer(self, command: FireTimer) -> bool:
        """Deliver a timer's event; False: that arming is not pending any more, or not due yet."""
        raise NotImplementedError
