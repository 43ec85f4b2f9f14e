"""What instances were: states read back from the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from durachart.engine.errors import SnapshotInvalid
from durachart.runtime.commands import NO_LABELS
from durachart.runtime.errors import InstanceCorrupt
from durachart.runtime.instance import Instance, dumps, read_labels, read_snapshot
from durachart.runtime.log import Transition
from durachart.runtime.present import journal_effects_of, running_effects_of
from durachart.runtime.registry import Registry
from durachart.runtime.stepping import patched
from durachart.store.interface import LogEntry, Store
from durachart.store.keys import InstanceKey
from durachart.store.rows import JournalRow


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

    async def transitions(self, entries: Sequence[LogEntry]) -> list[Transition]:
        """The states that accepted rows made.

        Args:
            entries: Accepted rows; of each instance without a gap.

        Raises:
            InstanceCorrupt: A row is no state of its machine.
            MachineNotFound: The definition is not stored any more.
            ImplementationMissing: The definition cannot be run here.
        """
        origins = await self._origins(entries)
        contexts: dict[InstanceKey, tuple[JournalRow, dict[str, Any]]] = {}
        transitions = []
        for revision, row in entries:
            context, context_json = await self._context(row, contexts.get(row.key))
            contexts[row.key] = (row, context)
            definition = await self._registry.load(row.machine_id, row.machine_version)
            internals = row.internals or ""
            try:
                snapshot = read_snapshot(definition, context_json, internals)
            except SnapshotInvalid as error:
                raise InstanceCorrupt(row.key, f"journal row {row.seq}: {error}") from error
            origin = origins.get((row.key, row.uid)) or _Origin(NO_LABELS, row.at_ms)
            instance = Instance(
                row.key,
                row.uid,
                definition,
                row.machine_version,
                row.to_version,
                snapshot._replace(context=context),
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
            transitions.append(
                Transition(
                    revision,
                    row,
                    instance,
                    journal_effects_of(row.effects),
                    running_effects_of(row.running_effects),
                )
            )
        return transitions

    async def _origins(self, entries: Sequence[LogEntry]) -> dict[tuple[InstanceKey, str], _Origin]:
        origins = {
            (row.key, row.uid): _Origin(_labels(row.key, row.labels or ""), row.at_ms)
            for _, row in entries
            if row.cause == "create"
        }
        others = {row.key for _, row in entries if (row.key, row.uid) not in origins}
        if others:
            page = await self._store.get_instances(sorted(others))
            for stored in page.instances:
                instance = stored.row
                labels = _labels(instance.key, instance.labels)
                origins[instance.key, instance.uid] = _Origin(labels, instance.created_at_ms)
        return origins

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


def _labels(key: InstanceKey, text: str) -> Mapping[str, str]:
    try:
        return read_labels(text)
    except SnapshotInvalid as error:
        raise InstanceCorrupt(key, str(error)) from error
