"""Which transitions an event enables.

For one configuration and one event type the candidates are known beforehand, in the order in which they are
to be asked: a *chain*, from the innermost state outwards, of which the first candidate whose guard passes
wins. Only where a parallel state has several regions with candidates do the chains branch: every region
answers for itself, and the states around them are asked only when none did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from durachart.engine.configuration import Configuration
from durachart.engine.errors import EvaluationFailed, InvalidEvent
from durachart.engine.guards import bind, require_bool
from durachart.engine.model import (
    WILDCARD,
    Evaluate,
    Machine,
    StateNode,
    Transition,
    get_proper_ancestors,
    matching_descriptors,
)

if TYPE_CHECKING:
    from durachart.engine.microstep import Step


class Candidate:
    """A transition that may be selected, its guard bound to the configuration: a link of a chain.

    Links rather than a tuple: fewer objects, which is what an event costs in a machine too large for the
    caches.

    Attributes:
        transition: The transition.
        test: Its guard; ``None``: it is enabled.
        params: The guard's static parameters.
        step: The microstep of taking this transition alone, once compiled and if no history node has a say.
        otherwise: The candidate that is asked when the guard does not pass.
    """

    __slots__ = ("otherwise", "params", "step", "test", "transition")

    def __init__(self, transition: Transition, configuration: Configuration) -> None:
        guard = transition.guard
        self.transition = transition
        self.test: Evaluate | None = None if guard is None else bind(guard, configuration)
        self.params = None if guard is None else guard.params
        self.step: Step | None = None
        self.otherwise: Candidate | None = None

    def __iter__(self) -> Iterator[Candidate]:
        """The chain that begins here."""
        candidate: Candidate | None = self
        while candidate is not None:
            yield candidate
            candidate = candidate.otherwise

    def passes(
        self, context: Mapping[str, Any], event: Mapping[str, Any], now_ms: int, budget: object
    ) -> bool:
        """Whether the guard lets it pass.

        Raises:
            EvaluationFailed: The guard raised, or gave no boolean.
        """
        if self.test is None:
            return True
        try:
            verdict = self.test(context, event, self.params, now_ms, budget)
            return require_bool(verdict, self.guard_name)
        except Exception as error:
            raise EvaluationFailed(self.place, describe(error)) from error

    @property
    def guard_name(self) -> str:
        """The guard's name; ``""`` without one."""
        guard = self.transition.guard
        return "" if guard is None else guard.name

    @property
    def place(self) -> str:
        """Where the guard is used, for messages."""
        transition = self.transition
        trigger = f"on {transition.event_type!r}" if transition.event_type else "of an `always` transition"
        return f"guard {self.guard_name!r} {trigger} in state {transition.source.id!r}"


def describe(error: BaseException) -> str:
    """What an implementation's exception says, for people."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class Branches:
    """Plans of several regions.

    Attributes:
        branches: In document order; all are asked. Empty, or at least two.
        chain: Asked when no branch selected anything; ``None``: nobody.
    """

    __slots__ = ("branches", "chain")

    def __init__(self, branches: tuple[Plan, ...], chain: Candidate | None) -> None:
        self.branches = branches
        self.chain = chain


Plan = Candidate | Branches
"""The candidates for one event type in one configuration."""

NOBODY = Branches((), None)


def find_plan(machine: Machine, configuration: Configuration, event_type: str) -> Plan:
    """The plan for an event type, from memory or made now.

    Types that no state names share the plan of the longest wildcard descriptor that matches them, so that
    senders who invent types cannot fill the tables.

    Raises:
        InvalidEvent: The type is empty or ``*``.
    """
    if event_type in ("", WILDCARD):
        raise InvalidEvent(f"an event's type must be neither empty nor '*': {event_type!r}")
    matching = matching_descriptors(event_type, machine.wildcards)
    key: object = event_type if event_type in machine.descriptors else tuple(matching[:1])
    plan = configuration.plans.get(key)
    if plan is None:
        machine.configurations.admit(configuration)
        plan = configuration.plans[key] = _make_plan(configuration, event_type, frozenset(matching))
    return plan


def _make_plan(configuration: Configuration, event_type: str, matching: frozenset[str]) -> Plan:
    below: dict[StateNode | None, list[Plan]] = {}
    for node in reversed(configuration.shown):
        # From the inside out: the children are done, the last region first.
        branches = below.pop(node, [])
        own = _chain(node.candidates(event_type, matching), configuration)
        plan: Plan | None
        if len(branches) > 1:
            plan = Branches(tuple(reversed(branches)), own)
        elif branches:
            plan = _follow(branches[0], own)
        else:
            plan = own
        if plan is not None:
            below.setdefault(node.parent, []).append(plan)
    return below.get(None, [NOBODY])[0]


def _chain(transitions: Iterable[Transition], configuration: Configuration) -> Candidate | None:
    """The candidates in order; none after one without guard, which would never be asked."""
    first: Candidate | None = None
    last: Candidate | None = None
    for transition in transitions:
        candidate = Candidate(transition, configuration)
        if last is None:
            first = candidate
        else:
            last.otherwise = candidate
        last = candidate
        if transition.guard is None:
            break
    return first


def _follow(plan: Plan, outer: Candidate | None) -> Plan:
    """The plan, with ``outer`` asked after it."""
    if isinstance(plan, Branches):
        if plan.chain is None:
            plan.chain = outer
            return plan
        inner = plan.chain
    else:
        inner = plan
    *_, last = inner
    if last.test is not None:
        last.otherwise = outer
    return plan


def find_eventless(machine: Machine, configuration: Configuration) -> tuple[Candidate, ...]:
    """The chains of eventless candidates, one per active atomic state that has any, each chain once."""
    chains = configuration.eventless
    if chains is None:
        machine.configurations.admit(configuration)
        chains = configuration.eventless = _make_eventless(configuration)
    return chains


def _make_eventless(configuration: Configuration) -> tuple[Candidate, ...]:
    chains: dict[tuple[Transition, ...], Candidate] = {}
    for node in configuration.nodes:
        if node.is_atomic:
            around = (node, *get_proper_ancestors(node))
            chain = _chain((transition for state in around for transition in state.always), configuration)
            if chain is not None:
                chains.setdefault(tuple(candidate.transition for candidate in chain), chain)
    return tuple(chains.values())


def select_from(
    plan: Plan, context: Mapping[str, Any], event: Mapping[str, Any], now_ms: int, budget: object
) -> list[Candidate]:
    """The selected candidates, in document order of the regions; empty when the event enables nothing."""
    candidate: Candidate | None
    if isinstance(plan, Branches):
        selected: list[Candidate] = []
        for branch in plan.branches:
            selected += select_from(branch, context, event, now_ms, budget)
        if selected:
            return selected
        candidate = plan.chain
    else:
        candidate = plan
    while candidate is not None:
        if candidate.passes(context, event, now_ms, budget):
            return [candidate]
        candidate = candidate.otherwise
    return []


def select_eventless(
    chains: Iterable[Candidate],
    context: Mapping[str, Any],
    event: Mapping[str, Any],
    now_ms: int,
    budget: object,
) -> list[Candidate]:
    """The selected eventless candidates: of each chain the first that passes, each transition once."""
    selected: dict[Transition, Candidate] = {}
    for chain in chains:
        for candidate in select_from(chain, context, event, now_ms, budget):
            selected.setdefault(candidate.transition, candidate)
    return list(selected.values())
