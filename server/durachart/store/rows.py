"""Rows as plain tuples, in the order of the columns of `schema`.

A batch makes dozens of them between two commits, and drivers take them as they are.
"""

from __future__ import annotations

from typing import NamedTuple

from durachart.store.keys import InstanceKey


class InstanceRow(NamedTuple):
    """A row of ``instances``."""

    shard: int
    namespace: str
    machine_id: str
    instance_id: str
    uid: str
    machine_version: int
    version: int
    status: str
    value: str
    context: str
    internals: str
    labels: str
    created_at_ms: int
    updated_at_ms: int
    seq: int
    snapshot_seq: int

    @property
    def key(self) -> InstanceKey:
        """Which instance."""
        return InstanceKey(self.namespace, self.machine_id, self.instance_id)


class JournalRow(NamedTuple):
    """A row of ``journal`` but for ``revision``, which the store gives it at commit."""

    shard: int
    namespace: str
    machine_id: str
    instance_id: str
    seq: int
    uid: str
    cause: str
    event_type: str
    data: str
    data_hash: str
    actor: str
    at_ms: int
    outcome: str
    reason: str
    message: str
    details: str | None
    from_version: int
    to_version: int
    from_value: str
    to_value: str
    status: str
    changed: bool
    effects: str | None
    machine_version: int
    engine_version: str
    expected_version: int | None
    request_id: str
    traceparent: str
    context: str | None
    context_patch: str | None
    internals: str | None
    snapshot_seq: int
    running_effects: str | None
    labels: str | None
    prev_hash: bytes
    hash: bytes

    @property
    def key(self) -> InstanceKey:
        """Which instance."""
        return InstanceKey(self.namespace, self.machine_id, self.instance_id)


class EffectRow(NamedTuple):
    """A row of ``effects``."""

    shard: int
    namespace: str
    machine_id: str
    instance_id: str
    effect_id: str
    uid: str
    version: int
    ordinal: int
    type: str
    handler: str
    params: str
    owner: str | None
    cancel_on_exit: bool
    machine_version: int
    traceparent: str
    created_at_ms: int
    max_attempts: int
    state: str
    attempt: int
    scheduled_at_ms: int
    lease_holder: str
    lease_token: str
    lease_epoch: int
    finalized_at_ms: int | None
    output: str | None
    error: str | None
    priority: int
    attempted_at_ms: int | None

    @property
    def key(self) -> InstanceKey:
        """Which instance."""
        return InstanceKey(self.namespace, self.machine_id, self.instance_id)


class EffectEnd(NamedTuple):
    """The end of an effect that has not ended yet.

    Attributes:
        shard: Of the instance.
        namespace: Of the instance.
        machine_id: Of the instance.
        instance_id: Of the instance.
        effect_id: Which effect.
        state: ``completed``, ``discarded`` or ``cancelled``.
        finalized_at_ms: When.
        output: JSON; None: none.
        error: JSON; None: none.
        lease_token: Commit only if this is still its lease; None: whoever holds it.
        outcome: Of the attempt that ended with it, as ``effect_attempts`` has it; ``""``: none was made.
    """

    shard: int
    namespace: str
    machine_id: str
    instance_id: str
    effect_id: str
    state: str
    finalized_at_ms: int
    output: str | None
    error: str | None
    lease_token: str | None
    outcome: str = ""


class AttemptRow(NamedTuple):
    """A row of ``effect_attempts``."""

    shard: int
    namespace: str
    machine_id: str
    instance_id: str
    effect_id: str
    attempt: int
    lease_holder: str
    started_at_ms: int
    ended_at_ms: int | None
    outcome: str
    error: str | None


class StepRow(NamedTuple):
    """A row of ``effect_steps``."""

    shard: int
    namespace: str
    machine_id: str
    instance_id: str
    effect_id: str
    name: str
    ordinal: int
    attempt: int
    state: str
    output: str | None
    error: str | None
    started_at_ms: int
    ended_at_ms: int | None


class TombstoneRow(NamedTuple):
    """A row of ``tombstones``."""

    shard: int
    namespace: str
    machine_id: str
    instance_id: str
    uid: str
    seq: int
    deleted_at_ms: int

    @property
    def key(self) -> InstanceKey:
        """Which instance."""
        return InstanceKey(self.namespace, self.machine_id, self.instance_id)


class TimerRow(NamedTuple):
    """A row of ``timers``."""

    shard: int
    namespace: str
    machine_id: str
    instance_id: str
    timer_key: str
    uid: str
    sequence: int
    due_at_ms: int
    claimed_until_ms: int = 0

    @property
    def key(self) -> InstanceKey:
        """Which instance."""
        return InstanceKey(self.namespace, self.machine_id, self.instance_id)


class RequestRow(NamedTuple):
    """A row of ``requests``."""

    shard: int
    namespace: str
    machine_id: str
    instance_id: str
    request_id: str
    body_hash: bytes
    seq: int
    answer: str | None
    created_at_ms: int

    @property
    def key(self) -> InstanceKey:
        """Which instance."""
        return InstanceKey(self.namespace, self.machine_id, self.instance_id)


class MachineRow(NamedTuple):
    """A row of ``definitions``."""

    machine_id: str
    version: int
    content_hash: str
    document: str
    description: str
    event_types: str
    created_at_ms: int
