"""Rows as the runtime makes them, shortened to what a test cares about."""

from __future__ import annotations

from typing import Any

from durachart.store.chain import sealed
from durachart.store.interface import InstanceUpdate, Store, Writes
from durachart.store.keys import InstanceKey, shard
from durachart.store.rows import (
    EffectEnd,
    EffectRow,
    InstanceRow,
    JournalRow,
    MachineRow,
    RequestRow,
    TimerRow,
)

UID = "u" * 32


def key(name: str = "o-1", machine_id: str = "order", namespace: str = "") -> InstanceKey:
    return InstanceKey(namespace, machine_id, name)


def instance(of: InstanceKey, version: int = 0, **given: Any) -> InstanceRow:
    row = InstanceRow(
        shard=shard(of),
        namespace=of.namespace,
        machine_id=of.machine_id,
        instance_id=of.instance_id,
        uid=UID,
        machine_version=1,
        version=version,
        status="active",
        value='"draft"',
        context='{"n":0}',
        internals="{}",
        labels="",
        created_at_ms=1_000,
        updated_at_ms=1_000 + version,
        seq=version + 1,
        snapshot_seq=version + 1,
    )
    return row._replace(**given)


def journal(of: InstanceKey, seq: int = 1, *, before: JournalRow | None = None, **given: Any) -> JournalRow:
    row = JournalRow(
        shard=shard(of),
        namespace=of.namespace,
        machine_id=of.machine_id,
        instance_id=of.instance_id,
        seq=seq,
        uid=UID,
        cause="create" if seq == 1 else "event",
        event_type="" if seq == 1 else "GO",
        data="",
        data_hash="",
        actor="ada",
        at_ms=1_000 + seq,
        outcome="accepted",
        reason="",
        message="",
        details=None,
        from_version=max(seq - 2, 0),
        to_version=seq - 1,
        from_value="" if seq == 1 else '"draft"',
        to_value='"draft"',
        status="active",
        changed=True,
        effects=None,
        machine_version=1,
        engine_version="0",
        expected_version=None,
        request_id="",
        traceparent="",
        context='{"n":0}',
        context_patch=None,
        internals="{}",
        snapshot_seq=seq,
        running_effects=None,
        labels=None,
        prev_hash=before.hash if before is not None else b"",
        hash=b"",
    )
    return sealed(row._replace(**given))


def effect(of: InstanceKey, effect_id: str = "e-1", **given: Any) -> EffectRow:
    row = EffectRow(
        shard=shard(of),
        namespace=of.namespace,
        machine_id=of.machine_id,
        instance_id=of.instance_id,
        effect_id=effect_id,
        uid=UID,
        version=1,
        ordinal=0,
        type="charge",
        handler="payments.charge",
        params='{"amount":5}',
        owner="order.paying",
        cancel_on_exit=True,
        machine_version=1,
        traceparent="",
        created_at_ms=1_000,
        max_attempts=3,
        state="available",
        attempt=0,
        scheduled_at_ms=1_000,
        lease_holder="",
        lease_token="",
        lease_epoch=0,
        finalized_at_ms=None,
        output=None,
        error=None,
        priority=2,
        attempted_at_ms=None,
    )
    return row._replace(**given)


def end(row: EffectRow, state: str = "completed", **given: Any) -> EffectEnd:
    return EffectEnd(*row[:5], state, 2_000, None, None, row.lease_token or None)._replace(**given)


def timer(of: InstanceKey, timer_key: str = "t", due_at_ms: int = 5_000, sequence: int = 0) -> TimerRow:
    return TimerRow(shard(of), *of, timer_key, UID, sequence, due_at_ms)


def request(of: InstanceKey, request_id: str = "r-1", seq: int = 1) -> RequestRow:
    return RequestRow(shard(of), *of, request_id, b"body", seq, None, 1_000)


def machine(machine_id: str = "order", content_hash: str = "a") -> MachineRow:
    return MachineRow(machine_id, 0, content_hash, '{"machine":{}}', "About it.", '["GO"]', 1_000)


async def wait_final(store: Store, revision: int) -> None:
    """Wait until the log is final up to ``revision``; with several nodes that may take a moment."""
    while await store.newest_revision() < revision:
        pass


def created(*keys: InstanceKey, **given: Any) -> Writes:
    """What creating these instances writes."""
    return Writes(
        journal=[journal(each) for each in keys], inserts=[instance(each, **given) for each in keys]
    )


def moved(of: InstanceKey, version: int, **given: Any) -> Writes:
    """What an accepted event that made ``version`` writes."""
    return Writes(
        journal=[journal(of, version + 1)],
        updates=[InstanceUpdate(instance(of, version, **given), version - 1)],
    )
