"""The graph of a built machine: what can never be entered, completed or chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from durachart.definitions.report import Report
from durachart.definitions.targets import Targets
from durachart.definitions.uses import Candidate, State
from durachart.engine.model import StateNode, Transition


def check_topology(states: Sequence[State], report: Report) -> None:
    """Report what the graph of states shows.

    Args:
        states: Every state, the root first; their nodes are those of the built machine.
        report: Receives the problems.
    """
    reachable = reachable_states(states[0].node)
    # Building has reported what leads nowhere.
    targets = Targets({state.node.id: state.node for state in states}, Report())
    for state in states:
        _check_reachable(state, reachable, report)
        _check_final(state, report)
        _check_history(state, report)
        if state.config.get("onDone") and not can_complete(state.node):
            report.warning(
                "done_never",
                state.path + "/onDone",
                f"state {state.node.id!r} is never done: it has no final state to reach",
                "give it a child of type `final`, in every region of a parallel state",
            )
        for candidates in _lists(state):
            _check_order(candidates, report)
            for candidate in candidates:
                _check_targets(candidate, targets, report)


def reachable_states(root: StateNode) -> set[StateNode]:
    """Every state that some sequence of events might enter, guards and payloads left aside."""
    reached: set[StateNode] = set()
    pending = [root]

    def enter(node: StateNode) -> None:
        current: StateNode | None = node
        while current is not None and current not in reached:
            reached.add(current)
            pending.append(current)
            current = current.parent

    enter(root)
    while pending:
        node = pending.pop()
        for following in _entered_with(node):
            enter(following)
        for transition in _transitions(node):
            for target in transition.targets or ():
                enter(target)
    return reached


def _entered_with(node: StateNode) -> Iterable[StateNode]:
    """The states that are or may be entered because ``node`` is."""
    if node.type == "parallel":
        return node.regions
    if node.type == "history":
        if node.default_targets is not None:
            return node.default_targets
        assert node.parent is not None
        node = node.parent
        if node.type == "parallel":
            return node.regions
    # On the way to one of its children a compound state does not start at its initial state; counting that
    # state as entered nevertheless errs on the quiet side.
    return () if node.initial is None else (node.initial,)


def _transitions(node: StateNode) -> Iterator[Transition]:
    for transitions in node.on.values():
        yield from transitions
    yield from node.always


def can_complete(node: StateNode) -> bool:
    """Whether the state can be done: a final child, or regions that can all be."""
    if node.type == "parallel":
        return all(region.type == "final" or can_complete(region) for region in node.regions)
    return any(child.type == "final" for child in node.regions)


def _check_reachable(state: State, reachable: set[StateNode], report: Report) -> None:
    node = state.node
    # Below an unreachable state everything is: saying it once is enough.
    if node in reachable or node.parent not in reachable:
        return
    if node.type == "history":
        report.warning(
            "history_unused",
            state.path,
            f"no transition leads to the history node {node.id!r}",
            "leave it out",
        )
    else:
        report.warning(
            "state_unreachable",
            state.path,
            f"nothing leads to state {node.id!r}",
            "add a transition to it, or leave it out",
        )


def _check_final(state: State, report: Report) -> None:
    if state.node.type != "final":
        return
    for key in ("on", "always", "after", "onDone"):
        if state.config.get(key):
            report.warning(
                "final_with_transitions",
                f"{state.path}/{key}",
                f"state {state.node.id!r} is final, and its `{key}` looks as if it could be left",
                "leave it out, or make the state no final one",
            )


def _check_history(state: State, report: Report) -> None:
    node = state.node
    if node.type == "history" and node.parent is not None and node.parent.parent is None:
        report.warning(
            "history_of_root",
            state.path,
            "the machine itself is never left, so this history node has nothing to remember",
            "put it into the state whose children it is to restore",
        )


def _lists(state: State) -> Iterator[list[Candidate]]:
    """The candidates of a state, list by list."""
    current: list[Candidate] = []
    for candidate in state.candidates:
        current.append(candidate)
        if candidate.is_last:
            yield current
            current = []


def _check_order(candidates: Sequence[Candidate], report: Report) -> None:
    always = next((candidate for candidate in candidates if candidate.guard is None), None)
    if always is None or always.is_last:
        return
    following = candidates[candidates.index(always) + 1]
    report.warning(
        "candidate_unreachable",
        following.path,
        "the candidate before it has no guard and is always taken",
        "give that one a guard, or put it last",
    )


def _check_targets(candidate: Candidate, targets: Targets, report: Report) -> None:
    """Report targets that lie in different children of one state that is not parallel.

    Every target says, for each state around it, which child it needs: no need to compare each with each.
    """
    if len(candidate.targets) < 2:
        return
    source = candidate.state.node
    needed: dict[StateNode, tuple[StateNode, StateNode]] = {}
    for name, path in candidate.targets:
        target = targets.of_transition(source, name, path)
        child = target
        while target is not None and child is not None and child.parent is not None:
            around = child.parent
            if around.type != "parallel":
                other, other_child = needed.setdefault(around, (target, child))
                if other_child is not child:
                    report.error(
                        "targets_conflict",
                        candidate.path + "/target",
                        f"the targets {other.id!r} and {target.id!r} cannot be active together",
                        "several targets lie in different regions of one parallel state",
                    )
                    return
            child = around
