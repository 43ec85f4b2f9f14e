"""Sets of active state nodes, one object per set, and what is remembered about each.

A configuration carries the memo tables of the steps that start from it: the plan per event type and the
compiled microsteps. They grow with what a machine's instances actually visit and are bounded per machine:
when the bound is reached everything is forgotten and learned anew, because the sets in use are few and a
clever eviction would cost every hit. A snapshot may outlive that; its configuration then joins, at its next
miss, the object that took its place.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durachart.engine.microstep import Microsteps
    from durachart.engine.model import StateNode
    from durachart.engine.queries import Allowed
    from durachart.engine.select import Candidate, Plan

MIN_MEMO_LIMIT = 16_384
MEMO_ENTRIES_PER_STATE = 8
"""Enough for a machine whose instances visit all its states, each with a few event types."""


class Configuration:
    """A set of active state nodes. Equal when the nodes are.

    Nearly always the set is *regular*: with each node its parent, of a compound state one child, of a
    parallel state all regions. XState's rules for history and for several targets can leave sets that are
    not (an ancestor left but not entered again, two children of a compound state). XState then shows, and
    selects from, a completed set; so does this class.

    Attributes:
        nodes: In document order.
        plans: What may be selected, by the key of ``select.find_plan``.
        eventless: The eventless candidates; ``None`` until asked for.
        microsteps: Compiled microsteps by the transitions taken.
        allowed: What ``queries.allowed_events`` knows without a context; ``None`` until asked for.
    """

    __slots__ = ("__dict__", "allowed", "eventless", "microsteps", "nodes", "plans")

    def __init__(self, nodes: tuple[StateNode, ...]) -> None:
        self.nodes = nodes
        self.plans: dict[object, Plan] = {}
        self.eventless: tuple[Candidate, ...] | None = None
        self.microsteps: dict[object, Microsteps] = {}
        self.allowed: Allowed | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Configuration) and self.nodes == other.nodes

    def __hash__(self) -> int:
        return hash(self.nodes)

    def __repr__(self) -> str:
        return f"<Configuration {self.value!r}>"

    def __contains__(self, node: object) -> bool:
        return node in self.members

    @cached_property
    def members(self) -> frozenset[StateNode]:
        """The nodes as a set."""
        return frozenset(self.nodes)

    def below(self, node: StateNode) -> tuple[StateNode, ...]:
        """The active nodes strictly below ``node``, which need not be active itself."""
        first = bisect_right(self.nodes, node.index, key=_index)
        return self.nodes[first : bisect_right(self.nodes, node.last, lo=first, key=_index)]

    @cached_property
    def is_regular(self) -> bool:
        """Whether nothing is missing and nothing is too much."""
        active = self.members
        for node in self.nodes:
            if node.type == "compound":
                complete = sum(region in active for region in node.regions) == 1
            else:
                complete = node.type != "parallel" or all(region in active for region in node.regions)
            parent = node.parent
            rooted = parent is None or (parent in active and parent.type in ("compound", "parallel"))
            if not (complete and rooted):
                return False
        return bool(self.nodes)

    @cached_property
    def shown(self) -> dict[StateNode, list[StateNode]]:
        """The nodes that the state value names, each with the children it shows; parents first."""
        children: dict[StateNode, list[StateNode]] = {}
        for node in self.nodes if self.is_regular else complete(self.nodes):
            children.setdefault(node, [])
            if node.parent is not None:
                children.setdefault(node.parent, []).append(node)
        shown: dict[StateNode, list[StateNode]] = {}
        pending = [node for node in children if node.parent is None]
        while pending:
            node = pending.pop()
            below = children[node]
            if node.type == "compound" and below and below[0].is_atomic:
                below = below[:1]
                children[below[0]] = []
            shown[node] = below
            pending.extend(reversed(below))
        return shown

    @cached_property
    def value(self) -> Any:
        """XState's state value: the key of a compound state's atomic child, else an object by key. Shared."""
        values: dict[StateNode, Any] = {}
        for node in reversed(self.shown):
            below = self.shown[node]
            if node.type == "compound" and len(below) == 1 and below[0].is_atomic:
                values[node] = below[0].key
            else:
                values[node] = {child.key: values[child] for child in below}
        return values[self.nodes[0].root] if self.nodes else {}

    @cached_property
    def tags(self) -> list[str]:
        """The tags of all active nodes, sorted, each once. Shared."""
        return sorted({tag for node in self.nodes for tag in node.tags})

    @cached_property
    def meta(self) -> dict[str, Any]:
        """The meta data of the active nodes that have any, by node id, in document order. Shared."""
        return {node.id: node.meta for node in self.nodes if node.meta is not None}


def _index(node: StateNode) -> int:
    return node.index


def complete(nodes: Iterable[StateNode]) -> list[StateNode]:
    """The nodes and, after them, what is missing: initial children, other regions, then ancestors.

    Source: XState's ``getAllStateNodes``, which restores snapshots as well.
    """
    found = dict.fromkeys(nodes)
    with_children = {node.parent for node in found}
    pending = list(found)
    for node in pending:  # grows while it is walked
        missing: list[StateNode] = []
        if node.type == "compound" and node not in with_children:
            missing = default_closure(node)
        elif node.type == "parallel":
            missing = [
                below for region in node.regions if region not in found for below in default_closure(region)
            ]
        for below in missing:
            if below not in found:
                found[below] = None
                pending.append(below)
    for node in list(found):
        ancestor = node.parent
        while ancestor is not None:
            found[ancestor] = None
            ancestor = ancestor.parent
    return list(found)


def default_closure(node: StateNode) -> list[StateNode]:
    """The node and what is active below it by default; parents first, regions in document order."""
    closure = []
    pending = [node]
    while pending:
        current = pending.pop()
        closure.append(current)
        if current.type == "compound" and current.initial is not None:
            pending.append(current.initial)
        elif current.type == "parallel":
            pending.extend(reversed(current.regions))
    return closure


class ConfigurationTable:
    """The configurations of one machine, and the bound on all that is remembered about them.

    Attributes:
        limit: Most entries (configurations, plans, compiled microsteps, allowed events, notes) before all is
            forgotten; >= 1.
        size: Entries now.
        notes: What else was worth remembering, see `note`.
    """

    __slots__ = ("_by_nodes", "limit", "notes", "size")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.notes: dict[object, Any] = {}
        self._by_nodes: dict[tuple[StateNode, ...], Configuration] = {}

    def note(self, key: object, value: Any) -> None:
        """Remember something that follows from ``key`` and the machine alone, until all is forgotten."""
        self._make_room()
        self.notes[key] = value

    def intern(self, nodes: tuple[StateNode, ...]) -> Configuration:
        """The one configuration of these nodes, which must be in document order."""
        found = self._by_nodes.get(nodes)
        if found is None:
            self._make_room()
            found = self._by_nodes.setdefault(nodes, Configuration(nodes))
        return found

    def admit(self, configuration: Configuration, entries: int = 1) -> None:
        """Make room for more entries of ``configuration``, and let it share what is known about its nodes.

        To be called before they are added to its tables.
        """
        self._make_room(entries)
        known = self._by_nodes.setdefault(configuration.nodes, configuration)
        if known is not configuration:
            configuration.plans = known.plans
            configuration.microsteps = known.microsteps

    def _make_room(self, entries: int = 1) -> None:
        if self.size >= self.limit:
            forgotten, self._by_nodes, self.size = self._by_nodes, {}, 0
            self.notes.clear()
            for configuration in list(forgotten.values()):
                configuration.plans.clear()
                configuration.microsteps.clear()
                configuration.eventless = None
                configuration.allowed = None
        self.size += entries
