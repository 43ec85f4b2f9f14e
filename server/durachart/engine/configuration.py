"""Sets of active state nodes, one object per set, and what is remembered about each.

A configuration carries the memo tables of the steps that start from it: the plan per event type and the
compiled microsteps. They grow with what a machine's instances actually visit and are bounded per machine:
when the bound is reached everything is forgotten and learned anew, because the sets in use are few and a
clever eviction would cost every hit. A snapshot may outlive that; its configuration then joins, at its next
miss, the object that took its place.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durachart.engine.microstep import Microsteps
    from durachart.engine.model import StateNode
    from durachart.engine.select import Chain, Plan

DEFAULT_MEMO_LIMIT = 32_768


class Configuration:
    """A set of active state nodes. Equal when the nodes are.

    Attributes:
        nodes: In document order, the root first; complete: with each node its ancestors.
        plans: What may be selected, by the key of ``select.plan_key``.
        eventless: The eventless candidates; ``None`` until asked for.
        microsteps: Compiled microsteps by the transitions taken.
    """

    __slots__ = ("__dict__", "eventless", "microsteps", "nodes", "plans")

    def __init__(self, nodes: tuple[StateNode, ...]) -> None:
        self.nodes = nodes
        self.plans: dict[object, Plan] = {}
        self.eventless: tuple[Chain, ...] | None = None
        self.microsteps: dict[object, Microsteps] = {}

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

    @cached_property
    def value(self) -> Any:
        """XState's state value: the key of a compound state's atomic child, else an object by key. Shared."""
        holder: dict[str, Any] = {}
        objects: dict[StateNode | None, dict[str, Any]] = {None: holder}
        for node in self.nodes:
            parent = node.parent
            siblings = objects[parent]
            if parent is not None and parent.type == "compound":
                if siblings:
                    siblings = {}  # should a definition activate several children, only one is shown
                elif node.is_atomic:
                    objects[parent.parent][parent.key] = node.key
                    continue
            siblings[node.key] = objects[node] = {}
        return next(iter(holder.values()), {})

    @cached_property
    def tags(self) -> list[str]:
        """The tags of all active nodes, sorted, each once. Shared."""
        return sorted({tag for node in self.nodes for tag in node.tags})

    @cached_property
    def meta(self) -> dict[str, Any]:
        """The meta data of the active nodes that have any, by node id, in document order. Shared."""
        return {node.id: node.meta for node in self.nodes if node.meta is not None}


class ConfigurationTable:
    """The configurations of one machine, and the bound on all that is remembered about them.

    Attributes:
        limit: Most entries (configurations, plans, compiled microsteps) before all is forgotten; >= 1.
        size: Entries now.
    """

    __slots__ = ("_by_nodes", "limit", "size")

    def __init__(self, limit: int = DEFAULT_MEMO_LIMIT) -> None:
        self.limit = limit
        self.size = 0
        self._by_nodes: dict[tuple[StateNode, ...], Configuration] = {}

    def intern(self, nodes: tuple[StateNode, ...]) -> Configuration:
        """The one configuration of these nodes, which must be in document order."""
        found = self._by_nodes.get(nodes)
        if found is None:
            self._make_room()
            found = self._by_nodes.setdefault(nodes, Configuration(nodes))
        return found

    def admit(self, configuration: Configuration) -> None:
        """Make room for one more entry of ``configuration``, and let it share what is known about its nodes.

        To be called before an entry is added to its tables.
        """
        self._make_room()
        known = self._by_nodes.setdefault(configuration.nodes, configuration)
        if known is not configuration:
            configuration.plans = known.plans
            configuration.microsteps = known.microsteps

    def _make_room(self) -> None:
        if self.size >= self.limit:
            forgotten, self._by_nodes, self.size = self._by_nodes, {}, 0
            for configuration in list(forgotten.values()):
                configuration.plans.clear()
                configuration.microsteps.clear()
                configuration.eventless = None
        self.size += 1
