"""A machine's definition, compiled into what a step asks for.

``definitions`` builds it: nodes in document order, then their transitions and actions, then the
``Machine``, after which nothing changes. Nodes, transitions and actions are compared by identity.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from durachart.engine.configuration import MEMO_ENTRIES_PER_STATE, MIN_MEMO_LIMIT, ConfigurationTable

if TYPE_CHECKING:
    from durachart.engine.actions import Action
    from durachart.engine.guards import Guard

Event = dict[str, Any]
"""``{"type": …}`` and the event's own keys."""

Evaluate = Callable[[Mapping[str, Any], Mapping[str, Any], Any, int, Any], Any]
"""``(context, event, params, now_ms, budget) -> value``; raises anything to say that it failed."""

NodeType = Literal["atomic", "compound", "parallel", "final", "history"]
HistoryKind = Literal["shallow", "deep"]

INIT_EVENT = "xstate.init"
WILDCARD = "*"


class StateNode:
    """One state of the machine.

    Attributes:
        index: Position in document order, from 0 (the root).
        last: Index of the last descendant, its own when it has none.
        id: Unique in the machine.
        key: Its name in the parent; the machine's id for the root.
        type: What kind of state it is.
        parent: ``None`` for the root.
        depth: 0 for the root.
        children: All of them by key, history nodes included, in document order.
        regions: The children that can be active: all but history nodes.
        histories: The children that are history nodes.
        entry: Actions on entering; those that arm ``after`` timers come last.
        exit: Actions on leaving; those that disarm ``after`` timers come last.
        spawns: Start its invoked actors, after ``entry``.
        stops: Stop its invoked actors, after ``exit``.
        on: Transitions by exact event type, those of ``onDone``, ``after`` and ``invoke`` included.
        wildcards: Transitions by wildcard descriptor, the longest descriptor first.
        always: Eventless transitions.
        initial: Where a compound state starts; ``None`` for others.
        initial_actions: What runs when it starts there.
        history: Kind of a history node; ``None`` for others.
        default_targets: Where a history node leads without a record; ``None``: wherever its parent starts.
        output: What a final state, or the root, yields; ``None`` when nothing.
        tags: In the order written.
        meta: As written; ``None`` when absent.
        description: As written; ``""`` when absent.
    """

    __slots__ = (
        "always",
        "children",
        "default_targets",
        "depth",
        "description",
        "entry",
        "exit",
        "histories",
        "history",
        "id",
        "index",
        "initial",
        "initial_actions",
        "key",
        "last",
        "meta",
        "on",
        "output",
        "parent",
        "regions",
        "spawns",
        "stops",
        "tags",
        "type",
        "wildcards",
    )

    def __init__(
        self, index: int, node_id: str, key: str, node_type: NodeType, parent: StateNode | None
    ) -> None:
        self.index = index
        self.last = index
        self.id = node_id
        self.key = key
        self.type: NodeType = node_type
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.children: Mapping[str, StateNode] = {}
        self.regions: tuple[StateNode, ...] = ()
        self.histories: tuple[StateNode, ...] = ()
        self.entry: tuple[Action, ...] = ()
        self.exit: tuple[Action, ...] = ()
        self.spawns: tuple[Action, ...] = ()
        self.stops: tuple[Action, ...] = ()
        self.on: Mapping[str, tuple[Transition, ...]] = {}
        self.wildcards: tuple[tuple[str, tuple[Transition, ...]], ...] = ()
        self.always: tuple[Transition, ...] = ()
        self.initial: StateNode | None = None
        self.initial_actions: tuple[Action, ...] = ()
        self.history: HistoryKind | None = None
        self.default_targets: tuple[StateNode, ...] | None = None
        self.output: Evaluate | None = None
        self.tags: tuple[str, ...] = ()
        self.meta: Any = None
        self.description = ""

    def __repr__(self) -> str:
        return f"<StateNode {self.id}>"

    @property
    def is_atomic(self) -> bool:
        """Whether it has no active children of its own: atomic or final."""
        return self.type in ("atomic", "final")

    @property
    def root(self) -> StateNode:
        """The outermost state."""
        node = self
        while node.parent is not None:
            node = node.parent
        return node

    def candidates(self, event_type: str, matching: Collection[str]) -> Iterator[Transition]:
        """Its transitions for an event: of the exact type, then of the wildcards in ``matching``."""
        yield from self.on.get(event_type, ())
        for descriptor, transitions in self.wildcards:
            if descriptor in matching and descriptor != event_type:
                yield from transitions


@dataclass(frozen=True, slots=True, eq=False)
class Transition:
    """One candidate answer of a state to an event.

    Attributes:
        source: The state that declares it.
        event_type: The descriptor it is declared under; ``""`` for an eventless one.
        targets: ``None`` when it has no target; an empty tuple is a target that names nothing.
        guard: ``None``: always enabled.
        actions: Run between exit and entry.
        reenter: Whether the source itself is left and entered again.
        description: As written; ``""`` when absent.
        meta: As written; ``None`` when absent.
    """

    source: StateNode
    event_type: str
    targets: tuple[StateNode, ...] | None
    guard: Guard | None
    actions: tuple[Action, ...]
    reenter: bool = False
    description: str = ""
    meta: Any = None

    @property
    def is_acceptable(self) -> bool:
        """Whether selecting it accepts an event: it has a target or an action."""
        return self.targets is not None or bool(self.actions)


@dataclass(frozen=True, slots=True, eq=False)
class ContextEntry:
    """One key of the context that is computed at the start, from ``input`` and the static context."""

    key: str
    evaluate: Evaluate


def is_descendant(node: StateNode, ancestor: StateNode) -> bool:
    """Whether ``node`` lies strictly below ``ancestor``."""
    return ancestor.index < node.index <= ancestor.last


def get_proper_ancestors(node: StateNode, upto: StateNode | None = None) -> list[StateNode]:
    """The ancestors of ``node`` below ``upto`` (``None``: up to the root, inclusive), innermost first.

    Source: SCXML 1.0 Appendix D, ``getProperAncestors``.
    """
    ancestors: list[StateNode] = []
    if node is upto:
        return ancestors
    ancestor = node.parent
    while ancestor is not None and ancestor is not upto:
        ancestors.append(ancestor)
        ancestor = ancestor.parent
    return ancestors


def matching_descriptors(event_type: str, descriptors: Sequence[str]) -> list[str]:
    """Those wildcard descriptors that match, in the order given.

    ``*`` matches every type but ``xstate.init``; ``a.*`` matches ``a``, ``a.b`` and ``a.b.c``, not ``ab``.
    """
    if event_type == INIT_EVENT:
        return []
    tokens = event_type.split(".")
    matching = []
    for descriptor in descriptors:
        if descriptor == WILDCARD:
            matching.append(descriptor)
            continue
        prefix = descriptor.split(".")[:-1]
        if tokens[: len(prefix)] == prefix:
            matching.append(descriptor)
    return matching


def is_wildcard(descriptor: str) -> bool:
    """Whether a descriptor can match types other than itself: ``*``, or dots and a final ``.*``."""
    return descriptor == WILDCARD or (descriptor.endswith(".*") and "*" not in descriptor.split(".")[:-1])


class Machine:
    """A definition, ready to step. Immutable but for its memo tables, which change no answer.

    Attributes:
        id: The machine's id; ``(machine)`` when the definition has none.
        root: The outermost state.
        nodes: Every state in document order; ``nodes[i].index == i``.
        by_id: The same by id.
        context: The static context.
        context_entries: What is computed at the start and laid over the static context.
        event_types: Sorted types that appear as ``on`` keys anywhere, without wildcards.
        descriptors: Every descriptor that is matched exactly, internal ones included.
        wildcards: Every wildcard descriptor, the longest first.
        make_budget: Makes the budget of one macrostep; ``None`` when no expression can cost more than a
            constant.
        configurations: Memo tables.
    """

    __slots__ = (
        "by_id",
        "configurations",
        "context",
        "context_entries",
        "descriptors",
        "event_types",
        "id",
        "make_budget",
        "nodes",
        "root",
        "wildcards",
    )

    def __init__(
        self,
        nodes: Sequence[StateNode],
        *,
        context: dict[str, Any] | None = None,
        context_entries: Sequence[ContextEntry] = (),
        event_types: Iterable[str] = (),
        make_budget: Callable[[], object] | None = None,
        memo_limit: int | None = None,
    ) -> None:
        """Freeze a definition.

        Args:
            nodes: Every state in document order, the root first, complete with transitions and actions.
            context: The static context; never written to.
            context_entries: Computed at the start, each from the static context.
            event_types: The ``on`` keys; wildcards among them are left out.
            make_budget: See the attribute.
            memo_limit: Bound of the memo tables in compiled plans and microsteps (count, >= 1), below 1 KiB
                each; ``None``: 16,384, for large machines eight for every state.
        """
        self.nodes = tuple(nodes)
        self.root = self.nodes[0]
        self.id = self.root.key
        self.by_id: Mapping[str, StateNode] = {node.id: node for node in self.nodes}
        self.context: dict[str, Any] = {} if context is None else context
        self.context_entries = tuple(context_entries)
        self.event_types = tuple(sorted({name for name in event_types if not is_wildcard(name)}))
        self.descriptors = frozenset(name for node in self.nodes for name in node.on)
        wildcards = {name for node in self.nodes for name, _ in node.wildcards}
        self.wildcards = tuple(sorted(wildcards, key=lambda name: (-len(name), name)))
        self.make_budget = make_budget
        if memo_limit is None:
            memo_limit = max(MIN_MEMO_LIMIT, MEMO_ENTRIES_PER_STATE * len(self.nodes))
        self.configurations = ConfigurationTable(memo_limit)

    def __repr__(self) -> str:
        return f"<Machine {self.id}: {len(self.nodes)} states>"
