"""What an event would do, from now or from any version the journal still holds. Nothing is written.

The judge is asked as it is for an event that is sent, and its verdict dropped: what is shown is what would
happen, payload checks included. Guards see the wall clock of now, at past versions too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from durachart.engine.errors import EngineError
from durachart.engine.model import Transition as Candidate
from durachart.engine.queries import Verdict as GuardVerdict
from durachart.engine.queries import explain
from durachart.engine.select import Branches, Plan, find_plan
from durachart.runtime.commands import SendEvent
from durachart.runtime.errors import InstanceNotFound, Refusal, VersionNotFound
from durachart.runtime.history import History
from durachart.runtime.instance import Instance, Seat
from durachart.runtime.judge.judge import Judge
from durachart.runtime.judge.moment import Moment
from durachart.runtime.judge.payload import Malformed, parse_object
from durachart.runtime.present import instance_state
from durachart.runtime.views import Preview, PreviewTransition, RunningEffect, View
from durachart.store.interface import NO_JOURNAL, Store
from durachart.store.keys import InstanceKey


class Asked(NamedTuple):
    """What is to be previewed.

    Attributes:
        key: Which instance.
        event_type: As in `SendEvent`.
        data_json: As in `SendEvent`.
        version: At which version; None: the current one.
        view: How much of the state to answer with.
    """

    key: InstanceKey
    event_type: str
    data_json: str = ""
    version: int | None = None
    view: View = View.FULL


async def at_version(
    store: Store, history: History, current: Instance | None, key: InstanceKey, version: int | None
) -> Instance:
    """The instance as it was, with the effects that ran then as far as they are still known.

    Raises:
        InstanceNotFound: There is none.
        VersionNotFound: It was never at that version, or the journal does not hold it any more.
    """
    if current is None:
        raise InstanceNotFound(key)
    if version is None or version == current.version:
        return current
    made = None
    if 0 <= version < current.version:
        latest = current.seq - (current.version - version)  # every later version has a row of its own
        made = await history.version(current, version, latest)
    if made is None:
        raise VersionNotFound(key, version, current.version)
    effects = []
    for ran in made.running or ():
        row = await store.get_effect(key, ran.effect_id)
        if row is not None:
            state = "running" if ran.executing else "retryable" if ran.attempt else "available"
            effects.append(row._replace(state=state, attempt=ran.attempt, finalized_at_ms=None))
    return made.instance._replace(effects=tuple(effects))


def preview(judge: Judge, before: Instance, asked: Asked, moment: Moment) -> Preview:
    """What the event would do to ``before``."""
    command = SendEvent(asked.key, asked.event_type, asked.data_json, view=asked.view)
    # The recorded instant is never before that of the version.
    moment = moment._replace(wall_ms=max(moment.wall_ms, before.updated_at_ms))
    verdict = judge.event(Seat(before, NO_JOURNAL), command, None, moment)
    transitions = tuple(_transitions(before, asked, moment.wall_ms))
    error = verdict.error
    if error is not None:
        if not isinstance(error, Refusal):
            raise error
        state = instance_state(before, asked.view, moment.wall_ms)
        message = error.message
        return Preview(False, state, False, (), error.reason, message, transitions)
    recorded = verdict.recorded[-1]
    after = verdict.seat.instance
    assert after is not None
    state = instance_state(after, asked.view, moment.wall_ms)
    begun = {effect.effect_id for effect in verdict.outbox}
    running = tuple(_unnamed(effect, begun) for effect in state.running_effects)
    return Preview(
        True,
        state._replace(running_effects=running),
        recorded.row.changed,
        tuple(effect._replace(effect_id="") for effect in recorded.effects),
        "",
        "",
        transitions,
    )


def _unnamed(effect: RunningEffect, begun: set[str]) -> RunningEffect:
    """What the event would ask for has no id before it does."""
    return effect._replace(effect_id="") if effect.effect_id in begun else effect


def _transitions(instance: Instance, asked: Asked, now_ms: int) -> Iterator[PreviewTransition]:
    """Every candidate in the order of evaluation, with what its guard says."""
    if instance.snapshot.status != "active":
        return
    try:
        data = parse_object(asked.data_json) if asked.data_json else {}
        event = {**data, "type": asked.event_type}
        verdicts = explain(instance.definition.machine, instance.snapshot, event, now_ms=now_ms)
        plan = find_plan(instance.definition.machine, instance.snapshot.configuration, asked.event_type)
    except (Malformed, EngineError):
        return
    asked_guards = iter(verdicts)
    verdict = next(asked_guards, None)
    for candidate in _candidates(plan):
        passed = None
        # The guards that were asked come in the same order; those between were not asked.
        if verdict is not None and _is_of(verdict, candidate):
            passed = verdict.passed is True
            verdict = next(asked_guards, None)
        yield PreviewTransition(
            candidate.source.id,
            candidate.event_type,
            _targets(candidate),
            "" if candidate.guard is None else candidate.guard.name,
            passed,
        )


def _candidates(plan: Plan) -> Iterator[Candidate]:
    if isinstance(plan, Branches):
        for branch in plan.branches:
            yield from _candidates(branch)
        chain = plan.chain
    else:
        chain = plan
    for candidate in chain or ():
        yield candidate.transition


def _is_of(verdict: GuardVerdict, candidate: Candidate) -> bool:
    return (
        verdict.state == candidate.source.id
        and verdict.event_type == candidate.event_type
        and verdict.guard == ("" if candidate.guard is None else candidate.guard.name)
        and verdict.targets == tuple(target.id for target in candidate.targets or ())
    )


def _targets(candidate: Candidate) -> tuple[str, ...]:
    return tuple(target.id for target in sorted(candidate.targets or (), key=lambda node: node.index))
