"""Which instances are wanted: by what their states are called, their tags, their labels and their status.

A filter is asked about stored facts alone (state value, labels, status), so that it gives the same answer
about the state before a transition as it gave about the state after the one before: whoever watches hears
of an instance that enters and of one that leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from durachart.definitions.definition import Definition
from durachart.engine.errors import SnapshotInvalid
from durachart.engine.model import StateNode
from durachart.runtime.errors import InstanceCorrupt
from durachart.runtime.instance import read_labels
from durachart.runtime.judge.deletion import last_state
from durachart.runtime.log import Change, Deletion
from durachart.runtime.registry import Registry
from durachart.runtime.views import WatchFilter
from durachart.store.interface import StoredInstance

_KEPT: Final = 16_384


class _Active(NamedTuple):
    """What the active states of a value are called, and their tags."""

    ids: frozenset[str]
    tags: frozenset[str]


class ActiveStates:
    """Reads state values; remembers those it has read."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Active | None] = {}

    def of(self, definition: Definition, value_json: str) -> _Active | None:
        """None: it is no state value of this machine."""
        name = (definition.content_hash, value_json)
        try:
            return self._known[name]
        except KeyError:
            pass
        if len(self._known) >= _KEPT:
            self._known.clear()
        found = self._known[name] = _read(definition, value_json)
        return found


def _read(definition: Definition, value_json: str) -> _Active | None:
    nodes: list[StateNode] = []
    try:
        pending: list[tuple[StateNode, Any]] = [(definition.machine.root, orjson.loads(value_json))]
        while pending:
            node, value = pending.pop()
            nodes.append(node)
            below = {value: {}} if isinstance(value, str) else value
            pending.extend((node.children[name], inner) for name, inner in below.items())
    except (orjson.JSONDecodeError, KeyError, AttributeError):
        return None
    return _Active(
        frozenset(node.id for node in nodes), frozenset(tag for node in nodes for tag in node.tags)
    )


class InstanceFilter:
    """Judges instances and changes of them. What cannot be judged does not match.

    Attributes:
        takes_all: Whether it lets every instance through.
        asks_states: Whether it needs definitions to judge.
    """

    def __init__(self, wanted: WatchFilter, states: ActiveStates, registry: Registry) -> None:
        """Judge by ``wanted``, its machine apart; ``registry`` has the definitions.

        A definition that is not in memory is missing: `load` it first.
        """
        self._ids = frozenset(wanted.state_ids)
        self._tags = frozenset(wanted.tags)
        self._labels = dict(wanted.labels)
        self._status = wanted.status
        self._states = states
        self._registry = registry
        self.asks_states = bool(self._ids or self._tags)
        self.takes_all = not (self.asks_states or self._labels or self._status)

    def is_stored_wanted(self, stored: StoredInstance) -> bool:
        """Whether an instance matches as it is stored; its definition must have been loaded."""
        row = stored.row
        try:
            labels = read_labels(row.labels) if self._labels else {}
        except SnapshotInvalid:
            return False
        definition = self._registry.get(row.machine_id, row.machine_version) if self.asks_states else None
        return self._matches(definition, row.value, labels, row.status)

    def before(self, change: Change) -> bool:
        """Whether the instance matched before a change. True when nothing is known of it any more."""
        row = change.entry.row
        if self.takes_all:
            return row.cause != "create"
        if isinstance(change, Deletion):
            return self._matched_at_the_end(change)
        if row.cause == "create":
            return False
        instance = change.instance
        # What is done takes no more events, so whatever moved on was active.
        return self._matches(instance.definition, row.from_value, instance.labels, "active")

    def after(self, change: Change) -> bool:
        """Whether the instance matches after a change."""
        if isinstance(change, Deletion):
            return False
        if self.takes_all:
            return True
        row, instance = change.entry.row, change.instance
        return self._matches(instance.definition, row.to_value, instance.labels, instance.snapshot.status)

    def wants(self, change: Change) -> bool:
        """Whether a watcher has to hear of a change."""
        return self.takes_all or self.after(change) or self.before(change)

    def _matched_at_the_end(self, deletion: Deletion) -> bool:
        row = deletion.entry.row
        definition = self._registry.get(row.machine_id, row.machine_version)
        if self.asks_states and definition is None:
            return True
        try:
            last = last_state(row)
        except InstanceCorrupt:
            return True
        return self._matches(definition, row.from_value, last.labels, last.status)

    def _matches(
        self, definition: Definition | None, value_json: str, labels: Mapping[str, str], status: str
    ) -> bool:
        if self._status is not None and (status == "active") != (self._status == "active"):
            return False
        if self._labels and any(labels.get(name) != value for name, value in self._labels.items()):
            return False
        if not self.asks_states:
            return True
        active = None if definition is None else self._states.of(definition, value_json)
        if active is None:
            return False
        return (not self._ids or not self._ids.isdisjoint(active.ids)) and self._tags <= active.tags
