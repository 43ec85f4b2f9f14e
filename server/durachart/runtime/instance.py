"""An instance in memory: what is stored of it, ready to be stepped and to be shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

import orjson

from durachart.definitions.definition import Definition
from durachart.engine.codec import snapshot_from_json, snapshot_to_json
from durachart.engine.configuration import Configuration
from durachart.engine.errors import SnapshotInvalid
from durachart.engine.snapshot import Snapshot
from durachart.runtime.commands import NO_LABELS
from durachart.store.interface import Head, StoredInstance
from durachart.store.keys import InstanceKey, shard
from durachart.store.rows import EffectRow, InstanceRow

_OVERHEAD_BYTES = 4_096
_BYTES_PER_CHARACTER = 4
# Longer texts of a machine are not remembered.
_NOTED_CHARACTERS = 512
_new = tuple.__new__


NOT_AS_WRITTEN: Final = (ValueError, TypeError, KeyError, AttributeError, IndexError)
"""What reading stored JSON raises when it is none, or not in the form in which it was written."""


class Unstorable(Exception):
    """A value of the machine has no JSON form that reads back as it was."""


class Instance(NamedTuple):
    """One instance at one version. A value: every step makes another.

    Attributes:
        key: Which instance.
        uid: Which incarnation.
        definition: What it is pinned to.
        machine_version: The definition's number.
        version: Accepted macrosteps since creation.
        snapshot: The engine's state.
        value_json: The state value as text.
        context_json: The context as text.
        internals_json: The snapshot but for its context as text.
        labels: As given at creation.
        labels_json: The same as text; empty when there are none.
        created_at_ms: When version 0 was made.
        updated_at_ms: When this version was made.
        seq: Of the journal row that made this version.
        snapshot_seq: Of the nearest row at or before it with a whole context.
        effects: Those that have not ended, in the order in which they were asked for.
    """

    key: InstanceKey
    uid: str
    definition: Definition
    machine_version: int
    version: int
    snapshot: Snapshot
    value_json: str
    context_json: str
    internals_json: str
    labels: Mapping[str, str]
    labels_json: str
    created_at_ms: int
    updated_at_ms: int
    seq: int
    snapshot_seq: int
    effects: tuple[EffectRow, ...]

    @property
    def size_bytes(self) -> int:
        """About what it holds in memory."""
        size = _OVERHEAD_BYTES + _BYTES_PER_CHARACTER * (len(self.context_json) + len(self.internals_json))
        for effect in self.effects:
            size += len(effect.params)
        return size

    @property
    def row(self) -> InstanceRow:
        """As it is stored."""
        # A tuple at once: the constructor takes three times as long, and every event makes a row.
        return _new(
            InstanceRow,
            (
                shard(self.key),
                *self.key,
                self.uid,
                self.machine_version,
                self.version,
                self.snapshot.status,
                self.value_json,
                self.context_json,
                self.internals_json,
                self.labels_json,
                self.created_at_ms,
                self.updated_at_ms,
                self.seq,
                self.snapshot_seq,
            ),
        )


class Pinned(NamedTuple):
    """A definition and its version number, as a new instance is pinned to it."""

    definition: Definition
    version: int


class Seat(NamedTuple):
    """An instance, or the place where it would be, with the end of its journal.

    Attributes:
        instance: None when there is none.
        head: A journal exists for refused creations as well.
    """

    instance: Instance | None
    head: Head


def restored(stored: StoredInstance, definition: Definition) -> Instance:
    """The instance that was stored. Raises SnapshotInvalid when the row is no snapshot of the machine."""
    row = stored.row
    snapshot = read_snapshot(definition, row.context, row.internals)
    # Kept beside the snapshot for those who do not read it; it must not say anything else.
    if (
        value := write_value(definition, snapshot.configuration)
    ) != row.value or snapshot.status != row.status:
        raise SnapshotInvalid(
            f"its row says {row.status} in {row.value}, its snapshot {snapshot.status} in {value}"
        )
    labels = read_labels(row.labels)
    return Instance(
        row.key,
        row.uid,
        definition,
        row.machine_version,
        row.version,
        snapshot,
        row.value,
        row.context,
        row.internals,
        labels,
        row.labels,
        row.created_at_ms,
        row.updated_at_ms,
        row.seq,
        row.snapshot_seq,
        stored.effects,
    )


def read_labels(text: str) -> Mapping[str, str]:
    """The labels that a text holds; the empty text holds none. Raises SnapshotInvalid."""
    if not text:
        return NO_LABELS
    try:
        labels = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise SnapshotInvalid(f"broken labels: {error}") from error
    if type(labels) is not dict or any(type(value) is not str for value in labels.values()):
        raise SnapshotInvalid("the labels are no object of strings")
    return labels


def read_snapshot(definition: Definition, context: str, internals: str) -> Snapshot:
    """The snapshot that two texts hold. Raises SnapshotInvalid."""
    notes = definition.machine.configurations.notes
    try:
        own = orjson.loads(context)
        known: Snapshot | None = notes.get(internals)
        document = orjson.loads(internals) if known is None else None
    except (orjson.JSONDecodeError, TypeError) as error:
        raise SnapshotInvalid(f"broken JSON: {error}") from error
    if type(own) is not dict:
        raise SnapshotInvalid("the context is no object")
    if known is not None:
        return _new(Snapshot, (known.configuration, own, *known[2:]))
    if type(document) is not dict:
        raise SnapshotInvalid("the internals are no object")
    document["context"] = own
    snapshot = snapshot_from_json(definition.machine, document)
    if len(internals) <= _NOTED_CHARACTERS and _is_common(snapshot):
        definition.machine.configurations.note(internals, snapshot._replace(context={}))
    return snapshot


def write_internals(definition: Definition, snapshot: Snapshot) -> str:
    """A snapshot but for its context. Raises Unstorable."""
    table = definition.machine.configurations
    # What is common has no history to remember: it follows from these two.
    key = (snapshot.configuration, snapshot.next_sequence)
    is_common = _is_common(snapshot) and not snapshot.history_value
    if is_common and (known := table.notes.get(key)) is not None:
        return cast(str, known)
    document = snapshot_to_json(definition.machine, snapshot)
    del document["context"]
    text = dumps(document)
    if is_common and len(text) <= _NOTED_CHARACTERS:
        table.note(key, text)
    return text


def write_value(definition: Definition, configuration: Configuration) -> str:
    """The state value as text."""
    table = definition.machine.configurations
    text: str | None = table.notes.get(configuration)
    if text is None:
        text = dumps(configuration.value)
        if len(text) <= _NOTED_CHARACTERS:
            table.note(configuration, text)
    return text


def _is_common(snapshot: Snapshot) -> bool:
    """Whether many instances are likely to have the same but for their contexts."""
    return snapshot.status == "active" and not snapshot.timers


def dumps(value: Any, new: Any = None) -> str:
    """A value of the machine as JSON text.

    Args:
        value: The value.
        new: What of it was never written before; None: all of it.

    Raises:
        Unstorable: It holds a number that is not finite, an integer beyond 64 bits, a key that is no string,
        or
            something that is no JSON at all.
    """
    try:
        text = orjson.dumps(value)
    except (TypeError, ValueError) as error:
        raise Unstorable(str(error)) from None
    # Numbers that are not finite come out as null; where there is no null there is none of them.
    if b"null" in text and _holds_infinity(value if new is None else new):
        raise Unstorable("a number is not finite")
    return text.decode()


def _holds_infinity(value: Any) -> bool:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, float):
            if item - item != 0.0:
                return True
        elif isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, (list, tuple)):
            pending.extend(item)
    return False
