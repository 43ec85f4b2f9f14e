"""What a snapshot would do: which events it can take, and why it refuses one. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from durachart.engine.configuration import Configuration
from durachart.engine.errors import EvaluationFailed
from durachart.engine.guards import Guard, bind, require_bool
from durachart.engine.model import Evaluate, Event, Machine, Transition
from durachart.engine.select import (
    NOBODY,
    Branches,
    Candidate,
    Plan,
    describe,
    find_eventless,
    find_plan,
    select_from,
)
from durachart.engine.snapshot import Snapshot

_RESERVED = "xstate."


def can(machine: Machine, snapshot: Snapshot, event_type: str, *, now_ms: int) -> bool:
    """Whether an event of this type, without payload, selects a transition that has a target or an action.

    As XState's ``snapshot.can``, but ``False`` once the snapshot is not active and when a guard fails.
    """
    if snapshot.status != "active":
        return False
    plan = find_plan(machine, snapshot.configuration, event_type)
    budget = None if machine.make_budget is None else machine.make_budget()
    try:
        selected = select_from(plan, snapshot.context, {"type": event_type}, now_ms, budget)
    except EvaluationFailed:
        return False
    return any(candidate.transition.is_acceptable for candidate in selected)


class Verdict(NamedTuple):
    """What one guard said when a candidate was considered.

    Attributes:
        state: Id of the state that declares the transition.
        event_type: The descriptor it is declared under; ``""`` for an eventless one.
        targets: Ids of its targets; empty without one.
        guard: The guard's name; ``""`` without one, which always passes.
        params: The guard's static parameters.
        passed: ``None`` when it failed.
        error: Why it failed; ``""`` otherwise.
        members: The verdicts on a composite's members, as far as they were asked.
    """

    state: str
    event_type: str
    targets: tuple[str, ...]
    guard: str
    params: object
    passed: bool | None
    error: str
    members: tuple[tuple[str, bool | None], ...]


def explain(machine: Machine, snapshot: Snapshot, event: Event, *, now_ms: int) -> list[Verdict]:
    """What the guard of every candidate says that would be considered for ``event``, in the order of asking.

    Empty when no active state has a transition for the event, or the snapshot is not active. A candidate
    that passes ends its chain, as in a step; a guard that fails is reported, and the next one is asked
    nevertheless.

    Raises:
        InvalidEvent: The event's type is unusable.
    """
    if snapshot.status != "active":
        return []
    plan = find_plan(machine, snapshot.configuration, event.get("type", ""))
    verdicts: list[Verdict] = []
    _explain_plan(plan, _Question(machine, snapshot, event, now_ms), verdicts)
    return verdicts


class _Question:
    """What guards are asked about."""

    __slots__ = ("budget", "event", "machine", "now_ms", "snapshot")

    def __init__(self, machine: Machine, snapshot: Snapshot, event: Event, now_ms: int) -> None:
        self.machine = machine
        self.snapshot = snapshot
        self.now_ms = now_ms
        self.budget: object = None
        self.ask_about(event)

    def ask_about(self, event: Event) -> None:
        """Turn to another event, with a budget as fresh as that of the macrostep it would be."""
        self.event = event
        self.budget = None if self.machine.make_budget is None else self.machine.make_budget()

    @property
    def configuration(self) -> Configuration:
        return self.snapshot.configuration

    def ask(self, guard: Guard) -> bool:
        """The guard's answer; raises whatever it raises."""
        return self.answer(bind(guard, self.configuration), guard)

    def answer(self, test: Evaluate, guard: Guard) -> bool:
        """The answer of a guard that is bound already."""
        verdict = test(self.snapshot.context, self.event, guard.params, self.now_ms, self.budget)
        return require_bool(verdict, guard.name)


def _explain_plan(plan: Plan, question: _Question, verdicts: list[Verdict]) -> bool:
    """Add the verdicts of a plan; whether it selects anything."""
    chain: Candidate | None
    if isinstance(plan, Branches):
        selected = [_explain_plan(branch, question, verdicts) for branch in plan.branches]
        if any(selected):
            return True
        chain = plan.chain
    else:
        chain = plan
    for candidate in chain or ():
        verdict = _explain_transition(candidate.transition, question)
        verdicts.append(verdict)
        if verdict.passed:
            return True
    return False


def _explain_transition(transition: Transition, question: _Question) -> Verdict:
    guard = transition.guard
    passed: bool | None = True
    error = ""
    members: list[tuple[str, bool | None]] = []
    if guard is not None:
        passed, error = _ask(guard, question)
        members = [(member.name, _ask(member, question)[0]) for member in guard.members]
    return Verdict(
        transition.source.id,
        transition.event_type,
        tuple(target.id for target in transition.targets or ()),
        "" if guard is None else guard.name,
        None if guard is None else guard.params,
        passed,
        error,
        tuple(members),
    )


def _ask(guard: Guard, question: _Question) -> tuple[bool | None, str]:
    try:
        return question.ask(guard), ""
    except Exception as error:  # noqa: BLE001 - a guard may raise anything; it becomes part of the explanation
        return None, describe(error)


# --- what some payload might do
# ----------------------------------------------------------------------------------------

_ACCEPTED, _INERT, _NOTHING = 1, 2, 4
"""Possible outcomes of selecting: accepted, selected without target and action, nothing selected. Sets of
them are sums; no outcome at all means that a guard fails whatever the payload."""


class Allowed(NamedTuple):
    """What is known of the events a configuration may take, whatever the context.

    Attributes:
        event_types: Types known from elsewhere that were considered as well.
        settled: Types that some payload is accepted with, sorted.
        open: Types of which guards on the context decide, with their plans.
        idle: Types that do nothing by themselves, but let the eventless transitions be asked, which answer
            the same for all of them.
        eventless: The eventless candidates.
    """

    event_types: tuple[str, ...]
    settled: tuple[str, ...]
    open: tuple[tuple[str, Plan], ...]
    idle: tuple[str, ...]
    eventless: tuple[Candidate, ...]


def allowed_events(
    machine: Machine, snapshot: Snapshot, event_types: Iterable[str] = (), *, now_ms: int
) -> list[str]:
    """The external event types that some payload might be accepted with now.

    Args:
        machine: The definition.
        snapshot: Stable state.
        event_types: Types known from elsewhere (a schema), which wildcards may match. The same tuple every
            time, or an equal one, is answered fastest.
        now_ms: The instant guards see.

    Returns:
        Sorted. Guards on context are evaluated; one that reads the payload counts as possibly true and
        possibly false. Empty once the snapshot is not active.
    """
    if snapshot.status != "active":
        return []
    types = event_types if isinstance(event_types, tuple) else tuple(event_types)
    allowed = snapshot.configuration.allowed
    if allowed is None or allowed.event_types != types:
        allowed = _find_allowed(machine, snapshot, types)
    found = list(allowed.settled)
    if not allowed.open and not allowed.idle:
        return found
    question = _Question(machine, snapshot, {}, now_ms)
    if allowed.idle and _eventless_may_fire(allowed.eventless, question):
        found += allowed.idle
    for name, plan in allowed.open:
        question.ask_about({"type": name})
        if _may_be_accepted(plan, allowed.eventless, question):
            found.append(name)
    return sorted(found)


def _find_allowed(machine: Machine, snapshot: Snapshot, event_types: tuple[str, ...]) -> Allowed:
    """Decide what can be decided without a context, and remember it.

    Constant work for each type; what is remembered counts in the machine's table, so that many types in many
    configurations do not fill the memory.
    """
    configuration = snapshot.configuration
    question = _Question(machine, snapshot, {}, 0)
    eventless = find_eventless(machine, configuration)
    asked_then = [expression for chain in eventless for expression in _asked(chain)]
    reads_type = any(expression.reads_type for expression in asked_then)
    settled: list[str] = []
    left: list[tuple[str, Plan]] = []
    idle: list[str] = []
    for name in sorted({*machine.event_types, *event_types}):
        if name.startswith(_RESERVED):
            continue
        plan = find_plan(machine, configuration, name)
        if plan is NOBODY and not eventless:
            continue
        if any(True for _ in _asked(plan)):
            left.append((name, plan))
            continue
        outcomes = _plan_outcomes(plan, question)
        if outcomes & _ACCEPTED or not outcomes or not asked_then:
            if _may_be_accepted(plan, eventless, question):
                settled.append(name)
        elif reads_type:
            left.append((name, plan))
        else:
            idle.append(name)
    machine.configurations.admit(configuration, 1 + len(settled) + len(left) + len(idle))
    allowed = Allowed(event_types, tuple(settled), tuple(left), tuple(idle), eventless)
    configuration.allowed = allowed
    return allowed


def _asked(plan: Plan | None) -> Iterator[Guard]:
    """The expressions whose answers are asked for, which may differ with the context.

    One that reads the payload is taken to be possibly true, and never asked.
    """
    if isinstance(plan, Branches):
        for branch in (*plan.branches, plan.chain):
            yield from _asked(branch)
        return
    pending = [candidate.transition.guard for candidate in plan or ()]
    seen: set[Guard] = set()
    while pending:
        guard = pending.pop()
        # Guards made of guards made of the same guards twice are many, written out.
        if guard is None or guard in seen:
            continue
        seen.add(guard)
        if guard.kind == "expression" and not guard.reads_event:
            yield guard
        pending.extend(guard.members)


def _may_be_accepted(plan: Plan, eventless: Iterable[Candidate], question: _Question) -> bool:
    outcomes = _plan_outcomes(plan, question)
    if outcomes & _ACCEPTED:
        return True
    if not outcomes:
        return False
    # The event alone does nothing, but an eventless transition may depend on it.
    return _eventless_may_fire(eventless, question)


def _eventless_may_fire(eventless: Iterable[Candidate], question: _Question) -> bool:
    chains = [_chain_outcomes(chain, question) for chain in eventless]
    return all(chains) and any(chain & (_ACCEPTED | _INERT) for chain in chains)


def _plan_outcomes(plan: Plan, question: _Question) -> int:
    if isinstance(plan, Candidate):
        return _chain_outcomes(plan, question)
    branches = [_plan_outcomes(branch, question) for branch in plan.branches]
    if not all(branches):
        return 0
    outcomes = 0
    if any(branch & _ACCEPTED for branch in branches):
        outcomes |= _ACCEPTED
    if all(branch & (_INERT | _NOTHING) for branch in branches) and any(
        branch & _INERT for branch in branches
    ):
        outcomes |= _INERT
    if all(branch & _NOTHING for branch in branches):
        outcomes |= _chain_outcomes(plan.chain, question)
    return outcomes


def _chain_outcomes(chain: Candidate | None, question: _Question) -> int:
    outcomes = 0
    for candidate in chain or ():
        try:
            verdict = _possible(candidate, question)
        except Exception:  # noqa: BLE001 - a guard may raise anything; what fails accepts nothing
            return outcomes
        if verdict is False:
            continue
        outcomes |= _ACCEPTED if candidate.transition.is_acceptable else _INERT
        if verdict is True:
            return outcomes
    return outcomes | _NOTHING


def _possible(candidate: Candidate, question: _Question) -> bool | None:
    """The verdict of a candidate's guard, as ``_possible_verdict``."""
    guard = candidate.transition.guard
    if guard is None:
        return True
    if candidate.test is not None and not guard.reads_event:
        return question.answer(candidate.test, guard)
    return _possible_verdict(guard, question)


def _possible_verdict(guard: Guard, question: _Question) -> bool | None:
    """The guard's verdict, ``None`` if the payload has a say in it; raises whatever the guard raises."""
    if not guard.reads_event:
        return question.ask(guard)
    if guard.kind == "not":
        verdict = _possible_verdict(guard.members[0], question)
        return None if verdict is None else not verdict
    if guard.kind in ("and", "or"):
        return _possible_composition(guard.members, question, decisive=guard.kind == "or")
    return None


def _possible_composition(members: Iterable[Guard], question: _Question, *, decisive: bool) -> bool | None:
    verdict: bool | None = not decisive
    for member in members:
        try:
            possible = _possible_verdict(member, question)
        except Exception:
            if verdict is None:  # an undecided member may keep this one from being asked
                return None
            raise
        if possible is decisive:
            return decisive
        if possible is None:
            verdict = None
    return verdict
