"""One event, run to completion."""

from __future__ import annotations

from typing import Any, NamedTuple

from durachart.engine.actions import Effect
from durachart.engine.configuration import default_closure
from durachart.engine.draft import Draft
from durachart.engine.errors import EvaluationFailed, InvalidEvent, MicrostepLimitExceeded, UnknownTimer
from durachart.engine.guards import require_bool
from durachart.engine.microstep import Microstep, Step, find_step, run_step
from durachart.engine.model import INIT_EVENT, Event, Machine, StateNode, Transition
from durachart.engine.select import (
    Candidate,
    describe,
    find_eventless,
    find_plan,
    select_eventless,
    select_from,
)
from durachart.engine.snapshot import MISSING, Snapshot

MAX_MICROSTEPS = 1000


class Macrostep(NamedTuple):
    """What one event did.

    Attributes:
        snapshot: The next stable snapshot; the very one given when nothing changed.
        effects: Work asked for, in execution order.
        accepted: Whether a selected transition has a target or an action, or an eventless transition fired.
        changed: Whether ``snapshot`` differs from the one given (for a timer: but for its being gone).
        microsteps: What happened, in order.
    """

    snapshot: Snapshot
    effects: tuple[Effect, ...]
    accepted: bool
    changed: bool
    microsteps: tuple[Microstep, ...]

    @property
    def exited(self) -> frozenset[str]:
        """Ids of the states that were left, even if entered again. Completing the machine leaves none."""
        return frozenset(name for microstep in self.microsteps for name in microstep.exited)

    @property
    def entered(self) -> frozenset[str]:
        """Ids of the states that were entered, even if left again."""
        return frozenset(name for microstep in self.microsteps for name in microstep.entered)


def initial_macrostep(
    machine: Machine,
    *,
    input: Any = None,  # noqa: A002 - XState's word
    now_ms: int,
    max_microsteps: int = MAX_MICROSTEPS,
    budget: object = None,
) -> Macrostep:
    """Start an instance: build the context, enter the initial states, run to completion.

    Args:
        machine: The definition.
        input: The value of ``event.input`` of ``xstate.init``; ``None``: the event has no such key.
        now_ms: See ``macrostep``.
        max_microsteps: See ``macrostep``.
        budget: See ``macrostep``.

    Raises:
        EvaluationFailed: See ``macrostep``.
        MicrostepLimitExceeded: See ``macrostep``.
    """
    if budget is None and machine.make_budget is not None:
        budget = machine.make_budget()
    event: Event = {"type": INIT_EVENT} if input is None else {"type": INIT_EVENT, "input": input}
    nothing = machine.configurations.intern(())
    before = Snapshot(nothing, machine.context, {}, "active", MISSING, (), None, 0)
    draft = Draft(machine, before, event, now_ms, budget)
    draft.context = _initial_context(draft)
    plan = nothing.plans.get(INIT_EVENT)
    if plan is None:
        plan = nothing.plans[INIT_EVENT] = Candidate(_initial_transition(machine.root), nothing)
    assert isinstance(plan, Candidate)
    run_step(draft, plan.step or find_step(draft, (plan,)))
    run_to_completion(draft, max_microsteps)
    return _finish(draft, before, accepted=True)


def _initial_context(draft: Draft) -> dict[str, Any]:
    machine = draft.machine
    if not machine.context_entries:
        return machine.context
    context = machine.context.copy()
    for entry in machine.context_entries:
        try:
            context[entry.key] = entry.evaluate(
                machine.context, draft.event, None, draft.now_ms, draft.budget
            )
        except Exception as error:
            raise EvaluationFailed(f"initial context key {entry.key!r}", describe(error)) from error
    return context


def _initial_transition(root: StateNode) -> Transition:
    """A transition to everything that is active by default, taken once at the start."""
    return Transition(root, INIT_EVENT, tuple(default_closure(root)), None, (), reenter=True)


def macrostep(
    machine: Machine,
    snapshot: Snapshot,
    event: Event,
    *,
    now_ms: int,
    max_microsteps: int = MAX_MICROSTEPS,
    budget: object = None,
) -> Macrostep:
    """Run ``event`` to completion and return the next stable snapshot.

    Pure: no clock, no I/O, nothing is written to. Effects come back in execution order for the caller to
    persist.

    Args:
        machine: The definition.
        snapshot: Stable state before the event. Unless active, nothing happens.
        event: External event with a ``type``; events it raises are processed before the macrostep ends.
        now_ms: The instant, in milliseconds since the epoch, from which every delay is measured.
        max_microsteps: Bound in microsteps (count, >= 1), not time.
        budget: Handed to every callable, one per macrostep; ``None``: the machine makes its own if it needs
            one.

    Returns:
        The next snapshot, effects and steps. Nothing selected: eventless transitions still run.

    Raises:
        EvaluationFailed: A guard, action, delay or output failed.
        InvalidEvent: The event has no usable type.
        MicrostepLimitExceeded: Eventless or raised events never settle.

    Source: SCXML 1.0 Appendix D, ``mainEventLoop``.
    """
    if snapshot.status != "active":
        return Macrostep(snapshot, (), False, False, ())
    if budget is None and machine.make_budget is not None:
        budget = machine.make_budget()
    draft = Draft(machine, snapshot, event, now_ms, budget)
    step = _select(draft)
    accepted = False
    if step is not None:
        accepted = step.accepts
        run_step(draft, step)
    elif event["type"].startswith("xstate.error.actor"):
        return _fail(draft, snapshot)
    else:
        draft.microsteps.append(Microstep(event, None))
    if draft.queue or draft.configuration.eventless != ():
        accepted |= run_to_completion(draft, max_microsteps)
    return _finish(draft, snapshot, accepted=accepted)


def _select(draft: Draft) -> Step | None:
    """The microstep that the draft's event asks for; ``None`` when it enables nothing."""
    configuration = draft.configuration
    event = draft.event
    try:
        event_type = event["type"]
        plan = configuration.plans.get(event_type)
    except (KeyError, TypeError) as error:
        raise InvalidEvent(f"not an event, since it has no type: {str(event)[:200]}") from error
    if plan is None:
        plan = find_plan(draft.machine, configuration, event_type)
    if type(plan) is not Candidate:
        selected = select_from(plan, draft.context, event, draft.now_ms, draft.budget)
        return find_step(draft, selected) if selected else None
    candidate: Candidate | None = plan
    while candidate is not None:
        test = candidate.test
        if test is not None:
            # As Candidate.passes does, without the price of a call: this is the path of nearly every event.
            try:
                verdict = test(draft.context, event, candidate.params, draft.now_ms, draft.budget)
                passes = verdict is True or require_bool(verdict, candidate.guard_name)
            except Exception as error:
                raise EvaluationFailed(candidate.place, describe(error)) from error
            if not passes:
                candidate = candidate.otherwise
                continue
        return candidate.step or find_step(draft, (candidate,))
    return None


def run_to_completion(draft: Draft, max_microsteps: int) -> bool:
    """Take eventless transitions, then raised events, until neither is left.

    Returns:
        Whether an eventless transition was taken.

    Raises:
        EvaluationFailed: See ``macrostep``.
        MicrostepLimitExceeded: See ``macrostep``.
    """
    machine = draft.machine
    fired = False
    select_eventless_next = True
    while draft.status == "active":
        configuration = draft.configuration
        selected: list[Candidate] = []
        if select_eventless_next:
            chains = configuration.eventless
            if chains is None:
                chains = find_eventless(machine, configuration)
            if chains:
                selected = select_eventless(chains, draft.context, draft.event, draft.now_ms, draft.budget)
        if selected:
            step: Step | None = find_step(draft, selected)
            fired = True
        elif draft.queue:
            draft.event = draft.queue.pop(0)
            step = _select(draft)
        else:
            break
        if len(draft.microsteps) >= max_microsteps:
            raise _endless(draft, max_microsteps)
        if step is None:
            draft.microsteps.append(Microstep(draft.event, None))
            select_eventless_next = True
        else:
            run_step(draft, step)
            # An eventless microstep that changed nothing would be selected for ever.
            select_eventless_next = not selected or draft.changed or step.moves or bool(step.records)
    return fired


def _endless(draft: Draft, limit: int) -> MicrostepLimitExceeded:
    """The error of a draft that does not settle, with the states it is going around in."""
    last = [
        transition.source.id
        for microstep in reversed(draft.microsteps[-20:])
        for transition in microstep.transitions
    ]
    states = tuple(dict.fromkeys(last))[:5][::-1]
    return MicrostepLimitExceeded(limit, draft.machine.id, draft.microsteps[0].event["type"], states)


def _finish(draft: Draft, before: Snapshot, *, accepted: bool) -> Macrostep:
    """The macrostep that the draft has become."""
    if draft.status != "active":
        # XState stops what is still running once the machine is done, after everything else.
        for node in draft.configuration.nodes:
            for action in node.stops:
                action.run(draft)
    changed = (
        draft.context is not before.context
        or (draft.configuration is not before.configuration and draft.configuration != before.configuration)
        or (draft.timers is not before.timers and draft.timers != before.timers)
        or (draft.history_value is not before.history_value and draft.history_value != before.history_value)
        or draft.status != before.status
    )
    if not changed:
        return Macrostep(before, tuple(draft.effects), accepted, False, tuple(draft.microsteps))
    after = _new(
        Snapshot,
        (
            draft.configuration,
            draft.context,
            draft.history_value,
            draft.status,
            draft.output,
            draft.timers,
            draft.error,
            draft.next_sequence,
        ),
    )
    return _new(Macrostep, (after, tuple(draft.effects), accepted, True, tuple(draft.microsteps)))


_new = tuple.__new__
"""Half the cost of calling a named tuple's class."""


def _fail(draft: Draft, before: Snapshot) -> Macrostep:
    """An invoked actor failed and nothing handles it: so does the machine."""
    draft.status = "error"
    draft.error = str(draft.event.get("error", draft.event["type"]))
    draft.timers = ()
    draft.microsteps.append(Microstep(draft.event, None))
    return _finish(draft, before, accepted=True)


def fire_timer(
    machine: Machine,
    snapshot: Snapshot,
    key: str,
    *,
    now_ms: int,
    max_microsteps: int = MAX_MICROSTEPS,
    budget: object = None,
) -> Macrostep:
    """Take a timer from the snapshot and run its event to completion.

    It does not matter whether the timer is due: the caller has the clock.

    Args:
        machine: The definition.
        snapshot: Stable state that holds the timer.
        key: ``Timer.key``.
        now_ms: See ``macrostep``.
        max_microsteps: See ``macrostep``.
        budget: See ``macrostep``.

    Returns:
        As ``macrostep``; the timer is gone from the snapshot even when its event selects nothing.

    Raises:
        UnknownTimer: It fired already, or was cancelled.
        EvaluationFailed: See ``macrostep``.
        MicrostepLimitExceeded: See ``macrostep``.
    """
    for timer in snapshot.timers:
        if timer.key == key:
            remaining = tuple(other for other in snapshot.timers if other is not timer)
            return macrostep(
                machine,
                snapshot._replace(timers=remaining),
                timer.event,
                now_ms=now_ms,
                max_microsteps=max_microsteps,
                budget=budget,
            )
    raise UnknownTimer(key)
