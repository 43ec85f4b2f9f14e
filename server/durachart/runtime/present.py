"""What is stored, as callers are shown it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import orjson

from durachart.definitions.definition import Definition
from durachart.engine.errors import SnapshotInvalid
from durachart.engine.queries import allowed_events
from durachart.engine.snapshot import MISSING, Snapshot
from durachart.runtime.clock import instant
from durachart.runtime.commands import NO_LABELS
from durachart.runtime.errors import InstanceCorrupt
from durachart.runtime.instance import Instance, read_labels
from durachart.runtime.views import (
    Cause,
    InstanceState,
    JournalEffect,
    JournalEntry,
    MachineRecord,
    Outcome,
    RunningEffect,
    View,
)
from durachart.store.interface import LogEntry, StoredInstance
from durachart.store.rows import EffectRow, MachineRow


def allowed(definition: Definition, snapshot: Snapshot, now_ms: int) -> tuple[str, ...]:
    """The external event types that some payload might be accepted with, sorted."""
    return tuple(allowed_events(definition.machine, snapshot, definition.event_types, now_ms=now_ms))


def instance_state(
    instance: Instance, view: View, at_ms: int, running: Sequence[RunningEffect] | None = None
) -> InstanceState:
    """An instance as of its version.

    Args:
        instance: The instance.
        view: How much of it.
        at_ms: The instant at which ``allowed_events`` are asked for.
        running: What to show as running; None: as the instance has it.
    """
    snapshot = instance.snapshot
    configuration = snapshot.configuration
    if running is None:
        running = tuple(map(running_effect, instance.effects)) if instance.effects else ()
    full = view is View.FULL
    return InstanceState(
        instance.key,
        instance.uid,
        instance.version,
        instance.machine_version,
        instance.value_json,
        instance.context_json if full else "",
        allowed(instance.definition, snapshot, at_ms) if full else (),
        tuple(configuration.tags),
        orjson.dumps(configuration.meta).decode() if full and configuration.meta else "",
        instance.labels,
        "active" if snapshot.status == "active" else "done",
        "" if snapshot.output is MISSING or not full else orjson.dumps(snapshot.output).decode(),
        tuple(running),
        instant(instance.created_at_ms),
        instant(instance.updated_at_ms),
        instant(at_ms) if full else None,
    )


def bare_state(stored: StoredInstance, view: View) -> InstanceState:
    """An instance whose definition is not at hand: without what only the definition knows.

    What of the row is not what it should be is left out.
    """
    row = stored.row
    try:
        labels = read_labels(row.labels)
    except SnapshotInvalid:
        labels = NO_LABELS
    full = view is View.FULL
    return InstanceState(
        row.key,
        row.uid,
        row.version,
        row.machine_version,
        _json_or_nothing(row.value),
        _json_or_nothing(row.context) if full else "",
        (),
        (),
        "",
        labels,
        "active" if row.status == "active" else "done",
        "",
        tuple(map(running_effect, stored.effects)),
        instant(row.created_at_ms),
        instant(row.updated_at_ms),
        instant(row.updated_at_ms) if full else None,
    )


def _json_or_nothing(text: str) -> str:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return ""
    return text


def running_effect(row: EffectRow) -> RunningEffect:
    """An effect that has not ended."""
    return RunningEffect(
        row.effect_id, row.type, row.handler, row.attempt, row.state == "running", instant(row.created_at_ms)
    )


def running_effects_json(effects: Sequence[EffectRow]) -> str | None:
    """The running effects of a version as its journal row keeps them; None when there are none."""
    if not effects:
        return None
    return orjson.dumps(
        [(e.effect_id, e.type, e.handler, e.attempt, e.state == "running", e.created_at_ms) for e in effects]
    ).decode()


def running_effects_of(text: str | None) -> tuple[RunningEffect, ...]:
    """The running effects that `running_effects_json` wrote."""
    if text is None:
        return ()
    return tuple(
        RunningEffect(effect_id, effect_type, handler, attempt, executing, instant(at_ms))
        for effect_id, effect_type, handler, attempt, executing, at_ms in orjson.loads(text)
    )


def journal_effects_of(text: str | None) -> tuple[JournalEffect, ...]:
    """The effects of a journal row."""
    if text is None:
        return ()
    return tuple(
        JournalEffect(
            effect["id"],
            effect["type"],
            orjson.dumps(effect["params"]).decode() if "params" in effect else "",
            effect["emitted"],
        )
        for effect in orjson.loads(text)
    )


def journal_entry(entry: LogEntry, effects: tuple[JournalEffect, ...] | None = None) -> JournalEntry:
    """A journal row as an entry; ``effects`` when they are at hand already. Raises InstanceCorrupt."""
    row = entry.row
    if effects is None:
        try:
            effects = journal_effects_of(row.effects)
        except (ValueError, TypeError, KeyError) as error:
            raise InstanceCorrupt(row.key, f"the effects of journal row {row.seq}: {error}") from error
    return JournalEntry(
        row.key,
        row.uid,
        row.seq,
        entry.revision,
        cast(Cause, row.cause),
        row.event_type,
        row.data,
        row.actor,
        instant(row.at_ms),
        cast(Outcome, row.outcome),
        row.reason,
        row.message,
        row.from_version,
        row.to_version,
        row.from_value,
        row.to_value,
        effects,
        row.machine_version,
        row.expected_version,
        row.request_id,
        row.traceparent,
        row.hash.hex(),
    )


def machine_record(row: MachineRow, *, with_document: bool = False) -> MachineRecord:
    """A stored definition."""
    return MachineRecord(
        row.machine_id,
        row.version,
        row.content_hash,
        row.document if with_document else "",
        instant(row.created_at_ms),
        row.description,
        tuple(orjson.loads(row.event_types)),
    )
