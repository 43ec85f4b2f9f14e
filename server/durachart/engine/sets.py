"""Which states a set of transitions leaves and enters.

The names are those of SCXML 1.0 Appendix D, the details XState's. All of this depends on the definition, the
configuration and what history nodes remember, never on the context, so each answer is computed once and kept
(``microstep``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from durachart.engine.configuration import Configuration
from durachart.engine.model import StateNode, Transition, get_proper_ancestors, is_descendant


class Recall:
    """Reads history values, and notes which history nodes the answer depended on.

    Attributes:
        consulted: Those history nodes, with a record or without.
    """

    __slots__ = ("_history_value", "_records", "consulted")

    def __init__(self, history_value: Mapping[str, tuple[StateNode, ...]]) -> None:
        self._history_value = history_value
        self._records: Mapping[str, tuple[StateNode, ...]] = {}
        self.consulted: set[StateNode] = set()

    def remember(self, records: Mapping[str, tuple[StateNode, ...]]) -> None:
        """From now on, answer with these first: what a microstep leaves is remembered before it enters."""
        self._records = records

    def __call__(self, history: StateNode) -> tuple[StateNode, ...] | None:
        """What the node remembers; ``None`` when its parent was never left."""
        if history.id in self._records:
            return self._records[history.id]
        self.consulted.add(history)
        return self._history_value.get(history.id)


class EntrySet:
    """States to enter, while they are being collected.

    Attributes:
        nodes: The states.
        default_entry: Those of them whose initial actions run.
        completed: Parallel states whose regions are known to be among them.
    """

    __slots__ = ("_above", "completed", "default_entry", "nodes")

    def __init__(self) -> None:
        self.nodes: set[StateNode] = set()
        self.default_entry: set[StateNode] = set()
        self.completed: set[StateNode] = set()
        self._above: set[StateNode] = set()

    def add(self, node: StateNode) -> None:
        """Enter a state."""
        self.nodes.add(node)
        ancestor = node.parent
        while ancestor is not None and ancestor not in self._above:
            self._above.add(ancestor)
            ancestor = ancestor.parent

    def has_descendant_of(self, node: StateNode) -> bool:
        """Whether a state strictly below ``node`` is to be entered."""
        return node in self._above


def default_targets(history: StateNode) -> tuple[tuple[StateNode, ...], bool]:
    """Where a history node without a record leads, and whether by its parent's own initial transition."""
    parent = history.parent
    assert parent is not None
    if history.default_targets is not None:
        return history.default_targets, False
    if parent.type == "parallel":
        return (parent,), False
    assert parent.initial is not None
    return (parent.initial,), True


def get_effective_target_states(targets: Iterable[StateNode], recall: Recall) -> list[StateNode]:
    """The targets, history nodes replaced by where they lead; each once, in order."""
    effective: dict[StateNode, None] = {}
    for target in targets:
        if target.type != "history":
            effective[target] = None
            continue
        recorded = recall(target)
        if recorded is None:
            recorded = tuple(get_effective_target_states(default_targets(target)[0], recall))
        effective.update(dict.fromkeys(recorded))
    return list(effective)


def find_least_common_ancestor(nodes: Sequence[StateNode]) -> StateNode | None:
    """The innermost state strictly above all of them; ``None`` when one is the root."""
    first, *others = nodes
    for ancestor in get_proper_ancestors(first):
        if all(is_descendant(node, ancestor) for node in others):
            return ancestor
    return None


def get_transition_domain(transition: Transition, recall: Recall) -> StateNode | None:
    """The state within which a transition happens; ``None``: everything, the root included.

    Without ``reenter`` the source itself is the domain of a transition into its descendants, whatever its
    type.

    Source: SCXML 1.0 Appendix D, ``getTransitionDomain``.
    """
    source = transition.source
    targets = get_effective_target_states(transition.targets or (), recall)
    if not transition.reenter and all(
        target is source or is_descendant(target, source) for target in targets
    ):
        return source
    ancestor = find_least_common_ancestor([*targets, source])
    if ancestor is None and not transition.reenter:
        return source.root
    return ancestor


def compute_exit_set(
    transitions: Iterable[Transition], configuration: Configuration, recall: Recall
) -> list[StateNode]:
    """The active states that the transitions leave, in reverse document order.

    Source: SCXML 1.0 Appendix D, ``computeExitSet``.
    """
    leaving: set[StateNode] = set()
    for transition in transitions:
        if not transition.targets:
            continue
        domain = get_transition_domain(transition, recall)
        if domain is None:
            leaving.update(configuration.nodes)
            continue
        leaving.update(configuration.below(domain))
    return sorted(leaving, key=_document_order, reverse=True)


def _document_order(node: StateNode) -> int:
    return node.index


def remove_conflicting_transitions(
    transitions: Iterable[Transition], configuration: Configuration, recall: Recall
) -> tuple[Transition, ...]:
    """Those transitions that can be taken together, in selection order.

    Two conflict when they leave a state in common. The later one then wins only if its source is a
    descendant of the other's source.

    Source: SCXML 1.0 Appendix D, ``removeConflictingTransitions``.
    """
    kept: dict[Transition, list[StateNode]] = {}
    leavers: dict[StateNode, set[Transition]] = {}
    for transition in transitions:
        exits = compute_exit_set((transition,), configuration, recall)
        rivals = {rival for node in exits for rival in leavers.get(node, ())}
        if not all(is_descendant(transition.source, rival.source) for rival in rivals):
            continue
        for rival in rivals:
            for node in kept.pop(rival):
                leavers[node].discard(rival)
        kept[transition] = exits
        for node in exits:
            leavers.setdefault(node, set()).add(transition)
    return tuple(kept)


def compute_entry_set(transitions: Iterable[Transition], recall: Recall) -> EntrySet:
    """The states that the transitions enter.

    Source: SCXML 1.0 Appendix D, ``computeEntrySet``.
    """
    entry = EntrySet()
    for transition in transitions:
        source = transition.source
        targets = transition.targets or ()
        domain = get_transition_domain(transition, recall)
        for target in targets:
            # A target that is source and domain at once stays as it is; only its children start again.
            stays = target is source and source is domain
            if target.type != "history" and not stays:
                entry.add(target)
                entry.default_entry.add(target)
            add_descendant_states_to_enter(target, entry, recall)
        for target in get_effective_target_states(targets, recall):
            ancestors = get_proper_ancestors(target, domain)
            if domain is not None and domain.type == "parallel":
                ancestors.append(domain)
            within = None if source.parent is None and transition.reenter else domain
            add_ancestor_states_to_enter(ancestors, within, entry, recall)
    return entry


def add_descendant_states_to_enter(node: StateNode, entry: EntrySet, recall: Recall) -> None:
    """Enter what must be active below ``node``; for a history node, what it remembers or its default.

    Recursion goes as deep as states follow from one another by default, which ``definitions`` bounds; it also
    refuses history nodes whose default leads back to themselves.
    """
    if node.type == "history":
        _add_history_states_to_enter(node, entry, recall)
    elif node.type == "compound":
        initial = node.initial
        assert initial is not None
        if initial.type != "history":
            entry.add(initial)
            entry.default_entry.add(initial)
        add_descendant_states_to_enter(initial, entry, recall)
        add_ancestor_states_to_enter(get_proper_ancestors(initial, node), None, entry, recall)
    elif node.type == "parallel":
        for region in node.regions:
            if not entry.has_descendant_of(region):
                entry.add(region)
                entry.default_entry.add(region)
                add_descendant_states_to_enter(region, entry, recall)


def _add_history_states_to_enter(history: StateNode, entry: EntrySet, recall: Recall) -> None:
    parent = history.parent
    assert parent is not None
    recorded = recall(history)
    if recorded is None:
        recorded, is_initial = default_targets(history)
        if is_initial:
            entry.default_entry.add(parent)
    for node in recorded:
        if node.type != "history":
            entry.add(node)
        add_descendant_states_to_enter(node, entry, recall)
    for node in recorded:
        add_ancestor_states_to_enter(get_proper_ancestors(node, parent), None, entry, recall)


def add_ancestor_states_to_enter(
    ancestors: Iterable[StateNode], within: StateNode | None, entry: EntrySet, recall: Recall
) -> None:
    """Enter ancestors of an entered state, and the other regions of those that are parallel.

    Args:
        ancestors: Innermost first.
        within: Only ancestors strictly below this one are entered themselves; ``None``: all.
        entry: Receives them.
        recall: See ``Recall``.
    """
    for ancestor in ancestors:
        if within is None or is_descendant(ancestor, within):
            entry.add(ancestor)
        if ancestor.type == "parallel" and ancestor not in entry.completed:
            entry.completed.add(ancestor)
            for region in ancestor.regions:
                if not entry.has_descendant_of(region):
                    entry.add(region)
                    add_descendant_states_to_enter(region, entry, recall)
