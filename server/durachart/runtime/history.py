"""What instances were: states read back from the journal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from durachart.definitions.definition import Definition
from durachart.engine.errors import SnapshotInvalid
from durachart.runtime.commands import NO_LABELS
from durachart.runtime.errors import InstanceCorrupt
from durachart.runtime.instance import (
    NOT_AS_WRITTEN,
    Instance,
    dumps,
    read_labels,
    read_snapshot,
)
from durachart.runtime.judge.deletion import DELETED
from durachart.runtime.judge.stepping import patched
from durachart.runtime.log import Change, Deletion, Transition
from durachart.runtime.present import journal_effects_of, running_effects_of
from durachart.runtime.registry import Registry
from durachart.store.interface import LogEntry, Store
from durachart.store.keys import InstanceKey
from durachart.store.rows import JournalRow

_ROWS_PER_READ: Final = 200


class _Origin(NamedTuple):
    """What an instance has from its creation on."""

    labels: Mapping[str, str]
    created_at_ms: int


class History:
    """Reads states back. Every method raises StoreFailed when the store fails."""

    def __init__(self, store: Store, registry: Registry) -> None:
        """Read the journal of ``store``, with the definitions of ``registry``."""
        self._store = store
        self._registry = registry

    async def changes(self, entries: Sequence[LogEntry]) -> list[Change]:
        """What accepted rows say happened; arguments and errors as of `transitions`, deletions included."""
        stepped = [entry for entry in entries if entry.row.status != DELETED]
        transitions = iter(await self.transitions(stepped))
        return [Deletion(*entry) if entry.row.status == DELETED else next(transitions) for entry in entries]

    async def last_change(self, key: InstanceKey) -> LogEntry | None:
        """The instance's last accepted row; None: it has none."""
        last_seq = sys.maxsize
        while last_seq > 0:
            entries = await self._store.list_journal(
                key, from_seq=last_seq, limit=_ROWS_PER_READ, newest_first=True
            )
            for entry in entries:
                if entry.row.outcome == "accepted":
                    return entry
            last_seq = entries[-1].row.seq - 1 if entries else 0
        return None

    async def version(self, known: Instance, version: int, last_seq: int) -> Transition | None:
        """What made a version of an instance; None: its row is not in the journal any more.

        Args:
            known: The instance as it is at another version.
            version: >= 0.
            last_seq: The row is at or before this one.

        Raises:
            InstanceCorrupt, MachineNotFound, ImplementationMissing: As `transitions`.
        """
        # Rows of refusals lie between, so the place is searched for: versions only rise from row to row.
        key, uid = known.key, known.uid
        low, high = 1, last_seq
        while low < high:
            middle = (low + high) // 2
            row = await self._known_row(key, middle)
            if row is None or row.uid != uid or row.to_version < version:
                low = middle + 1
            else:
                high = middle
        found = await self._store.read_results(key, low, low)
        if not found or (found[0].row.uid, found[0].row.to_version) != (uid, version):
            return None
        try:
            return (await self.transitions(found, known))[0]
        except InstanceCorrupt:
            # Retention may have removed the row since it was read, and what its context is a patch of.
            if not await self._store.read_results(key, low, low):
                return None
            raise

    async def _known_row(self, key: InstanceKey, seq: int) -> JournalRow | None:
        """The last row at or before ``seq`` that says which version the instance had; None: none is left."""
        while seq > 0:
            entries = await self._store.list_journal(key, from_seq=seq, limit=8, newest_first=True)
            for _, row in entries:
                if row.uid:  # a refused creation has none
                    return row
            seq = entries[-1].row.seq - 1 if entries else 0
        return None

    async def transitions(
        self, entries: Sequence[LogEntry], known: Instance | None = None
    ) -> list[Transition]:
        """The states that accepted rows made.

        Args:
            entries: Accepted rows, none of them a deletion; of each instance without a gap.
            known: One of the instances, at any version: what it has from its creation on is not read.

        Raises:
            InstanceCorrupt: A row is no state of its machine.
            MachineNotFound: The definition is not stored any more.
            ImplementationMissing: The definition cannot be run here.
        """
        origins = await self._origins(entries, known)
        contexts: dict[InstanceKey, tuple[JournalRow, dict[str, Any]]] = {}
        transitions = []
        for entry in entries:
            row = entry.row
            try:
                context, context_json = await self._context(row, contexts.get(row.key))
                definition = await self._registry.load(row.machine_id, row.machine_version)
                origin = origins[row.key, row.uid]
                transitions.append(_transition(entry, definition, context, context_json, origin))
            except (SnapshotInvalid, *NOT_AS_WRITTEN) as error:
                raise InstanceCorrupt(row.key, f"journal row {row.seq}: {error}") from error
            contexts[row.key] = (row, context)
        return transitions

    async def _origins(
        self, entries: Sequence[LogEntry], known: Instance | None
    ) -> dict[tuple[InstanceKey, str], _Origin]:
        origins = {(row.key, row.uid): _origin(row) for _, row in entries if row.cause == "create"}
        if known is not None:
            origins[known.key, known.uid] = _Origin(known.labels, known.created_at_ms)
        others = {row.key for _, row in entries if (row.key, row.uid) not in origins}
        if others:
            page = await self._store.get_instances(sorted(others))
            for stored in page.instances:
                instance = stored.row
                labels = _labels(instance.key, instance.labels)
                origins[instance.key, instance.uid] = _Origin(labels, instance.created_at_ms)
        for _, row in entries:
            if (row.key, row.uid) not in origins:  # it was deleted since
                origins[row.key, row.uid] = await self._first_known(row)
        return origins

    async def _first_known(self, row: JournalRow) -> _Origin:
        """What the creation of ``row``'s instance says, or ``row`` itself if retention removed that."""
        last_seq = row.seq
        while last_seq > 0:
            entries = await self._store.list_journal(
                row.key, from_seq=last_seq, limit=_ROWS_PER_READ, newest_first=True
            )
            for _, earlier in entries:
                if earlier.uid == row.uid and earlier.cause == "create":
                    return _origin(earlier)
                if earlier.uid not in ("", row.uid):
                    return _Origin(NO_LABELS, row.at_ms)
            last_seq = entries[-1].row.seq - 1 if entries else 0
        return _Origin(NO_LABELS, row.at_ms)

    async def _context(
        self, row: JournalRow, before: tuple[JournalRow, dict[str, Any]] | None
    ) -> tuple[dict[str, Any], str]:
        """The context that a row left, as value and as text."""
        if row.context is not None:
            return orjson.loads(row.context), row.context
        if before is not None and before[0].uid == row.uid and before[0].to_version == row.from_version:
            context = before[1]
            rows = [row]
        else:
            chain = await self._store.read_results(row.key, row.snapshot_seq, row.seq)
            if not chain or chain[0].row.context is None:
                raise InstanceCorrupt(row.key, f"journal row {row.snapshot_seq} holds no context")
            context = orjson.loads(chain[0].row.context)
            rows = [entry.row for entry in chain[1:]]
        for step in rows:
            if step.context is not None:
                context = orjson.loads(step.context)
            elif step.context_patch is not None:
                context = patched(context, orjson.loads(step.context_patch))
        return context, dumps(context)


def _transition(
    entry: LogEntry, definition: Definition, context: dict[str, Any], context_json: str, origin: _Origin
) -> Transition:
    """Raises SnapshotInvalid, or one of NOT_AS_WRITTEN."""
    revision, row = entry
    internals = row.internals or ""
    instance = Instance(
        row.key,
        row.uid,
        definition,
        row.machine_version,
        row.to_version,
        read_snapshot(definition, context_json, internals)._replace(context=context),
        row.to_value,
        context_json,
        internals,
        origin.labels,
        "",
        origin.created_at_ms,
        row.at_ms,
        row.seq,
        row.snapshot_seq,
        (),
    )
    effects, running = journal_effects_of(row.effects), running_effects_of(row.running_effects)
    return Transition(revision, row, instance, effects, running)


def _origin(creation: JournalRow) -> _Origin:
    return _Origin(_labels(creation.key, creation.labels or ""), creation.at_ms)


def _labels(key: InstanceKey, text: str) -> Mapping[str, str]:
    try:
        return read_labels(text)
    except SnapshotInvalid as error:
        raise InstanceCorrupt(key, str(error)) from error
