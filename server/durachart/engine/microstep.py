"""One microstep: compiled once per (configuration, transitions, history consulted), then only run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import length_hint
from typing import NamedTuple

from durachart.engine.actions import Action, complete, raise_done
from durachart.engine.configuration import Configuration
from durachart.engine.draft import Draft
from durachart.engine.errors import EvaluationFailed
from durachart.engine.model import Event, Machine, StateNode, Transition
from durachart.engine.select import Candidate, describe
from durachart.engine.sets import (
    Recall,
    compute_entry_set,
    compute_exit_set,
    remove_conflicting_transitions,
)

Records = tuple[tuple[StateNode, ...] | None, ...]


class Step:
    """A compiled microstep.

    Attributes:
        transitions: Those taken, in selection order.
        exited: The states left, in reverse document order.
        entered: The states entered, in document order.
        actions: All that runs, in order.
        configuration: The configuration afterwards.
        moves: Whether that is another set of states.
        records: What history nodes remember from now on.
        accepts: Whether selecting these transitions accepts an event.
        completes: Whether the machine is done afterwards.
    """

    __slots__ = (
        "accepts",
        "actions",
        "completes",
        "configuration",
        "entered",
        "exited",
        "moves",
        "records",
        "transitions",
    )

    def __init__(
        self,
        transitions: tuple[Transition, ...],
        exited: tuple[StateNode, ...],
        entered: tuple[StateNode, ...],
        actions: tuple[Action, ...],
        configuration: Configuration,
        *,
        moves: bool,
        records: Mapping[str, tuple[StateNode, ...]],
        completes: bool,
    ) -> None:
        self.transitions = transitions
        self.exited = exited
        self.entered = entered
        self.actions = actions
        self.configuration = configuration
        self.moves = moves
        self.records = records
        self.accepts = any(transition.is_acceptable for transition in transitions)
        self.completes = completes


class Microstep(NamedTuple):
    """A microstep that was taken.

    Attributes:
        event: The event being processed.
        step: What was done; ``None`` when nothing was selected.
    """

    event: Event
    step: Step | None

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """The transitions taken, in selection order."""
        return () if self.step is None else self.step.transitions

    @property
    def exited(self) -> tuple[str, ...]:
        """Ids of the states left, in the order of leaving."""
        return () if self.step is None else tuple(node.id for node in self.step.exited)

    @property
    def entered(self) -> tuple[str, ...]:
        """Ids of the states entered, in the order of entering."""
        return () if self.step is None else tuple(node.id for node in self.step.entered)


class Microsteps(NamedTuple):
    """The compiled microsteps of the same transitions from the same configuration.

    Attributes:
        consulted: The history nodes that any of them depended on.
        by_records: The step by what these remember, in that order.
    """

    consulted: tuple[StateNode, ...]
    by_records: dict[Records, Step]


def find_step(draft: Draft, selected: Sequence[Candidate]) -> Step:
    """The microstep that takes the selected transitions, from memory or compiled now."""
    if len(selected) == 1 and selected[0].step is not None:
        return selected[0].step
    configuration = draft.configuration
    transitions = tuple(candidate.transition for candidate in selected)
    known = configuration.microsteps.get(transitions)
    if known is not None:
        step = known.by_records.get(_records(known.consulted, draft.history_value))
        if step is not None:
            return step
    recall = Recall(draft.history_value)
    taken = remove_conflicting_transitions(transitions, configuration, recall)
    step = compile_step(draft.machine, configuration, taken, recall)
    draft.machine.configurations.admit(configuration)
    if not recall.consulted and len(selected) == 1:
        selected[0].step = step
        return step
    known = configuration.microsteps.get(transitions)
    if known is None or not recall.consulted.issubset(known.consulted):
        # A step is a function of the records it consulted; filed under fewer of them, two steps would be
        # confused.
        consulted = recall.consulted.union(known.consulted if known else ())
        known = configuration.microsteps[transitions] = Microsteps(tuple(consulted), {})
    known.by_records[_records(known.consulted, draft.history_value)] = step
    return step


def _records(consulted: Iterable[StateNode], history_value: Mapping[str, tuple[StateNode, ...]]) -> Records:
    return tuple(history_value.get(history.id) for history in consulted)


Sites = list[tuple[Action, str]]
"""Actions in the order of running, each with the place it stands at, for messages."""

_NO_RECORDS: Mapping[str, tuple[StateNode, ...]] = {}


def compile_step(
    machine: Machine, configuration: Configuration, transitions: tuple[Transition, ...], recall: Recall
) -> Step:
    """Compile what taking ``transitions``, which do not conflict, does in ``configuration``."""
    taken = _take(configuration, transitions, recall)
    nodes = tuple(sorted(taken.active, key=lambda node: node.index))
    moves = nodes != configuration.nodes
    return Step(
        transitions,
        tuple(taken.exited),
        tuple(taken.entered),
        tuple(action for action, _ in taken.sites),
        machine.configurations.intern(nodes) if moves else configuration,
        moves=moves,
        records=taken.records or _NO_RECORDS,
        completes=any(action.kind == "complete" for action, _ in taken.sites),
    )


class _Taken(NamedTuple):
    """What taking transitions amounts to.

    Attributes:
        exited: In reverse document order.
        entered: In document order.
        records: What history nodes remember from now on.
        sites: All that runs.
        active: The states active afterwards.
    """

    exited: list[StateNode]
    entered: list[StateNode]
    records: dict[str, tuple[StateNode, ...]]
    sites: Sites
    active: set[StateNode]


def _take(configuration: Configuration, transitions: Iterable[Transition], recall: Recall) -> _Taken:
    """Exit, content, enter.

    Source: SCXML 1.0 Appendix D, ``microstep``.
    """
    exited = compute_exit_set(transitions, configuration, recall)
    records = _record_history(exited, configuration)
    recall.remember(records)
    active = set(configuration.nodes).difference(exited)
    sites: Sites = []
    for node in exited:
        _add(sites, (*node.exit, *node.stops), "exit", node)
    for transition in transitions:
        trigger = f"on {transition.event_type!r}" if transition.event_type else "of an `always` transition"
        place = f"{trigger} in state {transition.source.id!r}"
        sites += [(action, f"action {action.type!r} {place}") for action in transition.actions]
    entered = _enter(transitions, recall, active, sites)
    if any(action.kind == "complete" for action, _ in sites):
        for node in sorted(active, key=lambda node: node.index, reverse=True):
            _add(sites, node.exit, "exit", node)
    return _Taken(exited, entered, records, sites, active)


def _add(sites: Sites, actions: Iterable[Action], phase: str, node: StateNode) -> None:
    sites += [(action, f"action {action.type!r} ({phase}) of state {node.id!r}") for action in actions]


def _record_history(
    exited: Iterable[StateNode], configuration: Configuration
) -> dict[str, tuple[StateNode, ...]]:
    """What history nodes of the states left remember: shallow the active children, deep the active leaves."""
    records = {}
    for node in exited:
        if node.histories:
            below = configuration.below(node)
            deep = tuple(active for active in below if active.is_atomic)
            shallow = tuple(active for active in below if active.parent is node)
            for history in node.histories:
                records[history.id] = deep if history.history == "deep" else shallow
    return records


def _enter(
    transitions: Iterable[Transition], recall: Recall, active: set[StateNode], sites: Sites
) -> list[StateNode]:
    """Add the entered states to ``active`` and what entering them does to ``sites``; the entered states."""
    entry = compute_entry_set(transitions, recall)
    entered = sorted(entry.nodes, key=lambda node: node.index)
    completed: set[StateNode] = set()
    for node in entered:
        active.add(node)
        _add(sites, (*node.entry, *node.spawns), "entry", node)
        if node in entry.default_entry:
            _add(sites, node.initial_actions, "initial", node)
        if node.type == "final":
            place = f"output of state {node.id!r}"
            sites += [(action, place) for action in _reach_final(node, active, completed)]
    return entered


def _reach_final(final: StateNode, active: set[StateNode], completed: set[StateNode]) -> list[Action]:
    """What follows from reaching a final state; the last one completes the machine if it does."""
    actions = []
    parent = final.parent
    if parent is not None and parent.type == "compound":
        actions.append(raise_done(parent.id, final.output))
    ancestor = parent if parent is None or parent.type == "parallel" else parent.parent
    last = final
    while (
        ancestor is not None
        and ancestor.type == "parallel"
        and ancestor not in completed
        and is_in_final_state(ancestor, active)
    ):
        completed.add(ancestor)
        actions.append(raise_done(ancestor.id, None))
        last = ancestor
        ancestor = ancestor.parent
    if ancestor is None:
        root = final.root
        actions.append(complete(last.id, None if last is root else last.output, root.output))
    return actions


def is_in_final_state(node: StateNode, active: set[StateNode]) -> bool:
    """Whether a state is complete: a final child is active, or all regions are complete.

    Source: SCXML 1.0 Appendix D, ``isInFinalState``; only a compound state's direct children count.
    """
    if node.type == "compound":
        return any(child.type == "final" and child in active for child in node.regions)
    if node.type == "parallel":
        # Regions are entered in document order, so the last one tells soonest that not all are complete.
        return all(is_in_final_state(region, active) for region in reversed(node.regions))
    return node.type == "final"


def run_step(draft: Draft, step: Step) -> None:
    """Run a compiled microstep on the draft.

    Raises:
        EvaluationFailed: An action failed; the draft is of no use any more.
    """
    draft.changed = False
    actions = iter(step.actions)
    try:
        for action in actions:
            action.run(draft)
    except Exception as error:
        failed = len(step.actions) - length_hint(actions) - 1
        raise EvaluationFailed(_place_of(draft, step, failed), describe(error)) from error
    draft.configuration = step.configuration
    if step.records:
        draft.history_value = {**draft.history_value, **step.records}
    if step.completes:
        draft.queue.clear()
        draft.timers = ()
    draft.microsteps.append(_new(Microstep, (draft.event, step)))


_new = tuple.__new__
"""Half the cost of calling a named tuple's class."""


def _place_of(draft: Draft, step: Step, index: int) -> str:
    """Where an action of a step stands: worked out when asked, since steps are many and failures few."""
    taken = _take(draft.configuration, step.transitions, Recall(draft.history_value))
    return taken.sites[index][1]
