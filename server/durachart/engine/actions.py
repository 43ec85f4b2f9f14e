"""Actions: what a microstep does, as closures.

An action is deterministic and runs inside the step: it changes the draft of the next snapshot. What it asks
the world to do, it adds to the draft as an effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from durachart.engine.model import Evaluate, Event
from durachart.engine.snapshot import MISSING

if TYPE_CHECKING:
    from durachart.engine.draft import Draft

EffectKind = Literal["action", "emit", "spawn", "stop"]
ActionKind = Literal["assign", "effect", "raise", "cancel", "emit", "spawn", "stop", "done", "complete"]
Delay = int | float | Evaluate | None
Entries = Sequence[tuple[str, Evaluate]]


class Effect(NamedTuple):
    """Work that a step asks for.

    Attributes:
        type: The action's type; ``xstate.emit``, ``xstate.spawnChild`` and ``xstate.stopChild`` are built in.
        params: ``None`` when the action has none. Shared: not to be written to.
        owner: Id of the state whose entry action it is; ``None`` for every other.
        kind: ``action`` unless built in.
    """

    type: str
    params: Mapping[str, Any] | None = None
    owner: str | None = None
    kind: EffectKind = "action"


@dataclass(frozen=True, slots=True, eq=False)
class Action:
    """An action; uses of the same name without parameters share one.

    Attributes:
        type: As the definition calls it.
        kind: What it does.
        run: Does it.
        params: Static parameters of this use, or ``None``.
    """

    type: str
    kind: ActionKind
    run: Callable[[Draft], None]
    params: Mapping[str, Any] | None = None


_new_effect = tuple.__new__
"""Half the cost of ``Effect(…)``, which a step pays for each effect with computed parameters."""


def assign(action_type: str, entries: Entries, params: Mapping[str, Any] | None) -> Action:
    """Set keys of the context; every entry sees the context as it was before."""

    def set_one(draft: Draft) -> None:
        context = draft.context
        value = evaluate(context, draft.event, params, draft.now_ms, draft.budget)
        draft.context = {**context, key: value}
        draft.changed = True

    def set_many(draft: Draft) -> None:
        context, event, now_ms, budget = draft.context, draft.event, draft.now_ms, draft.budget
        changed = context.copy()
        for name, compute in entries:
            changed[name] = compute(context, event, params, now_ms, budget)
        draft.context = changed
        draft.changed = True

    if len(entries) == 1:
        ((key, evaluate),) = entries
        return Action(action_type, "assign", set_one, params)
    return Action(action_type, "assign", set_many, params)


def update(action_type: str, evaluate: Evaluate, params: Mapping[str, Any] | None) -> Action:
    """Lay what a callable returns (a mapping, or ``None`` for nothing) over the context."""

    def lay_over(draft: Draft) -> None:
        changes = evaluate(draft.context, draft.event, params, draft.now_ms, draft.budget)
        if changes is None:
            changes = {}
        elif not isinstance(changes, Mapping):
            raise TypeError(
                f"action {action_type!r} gave {type(changes).__name__}, not a mapping of context keys"
            )
        draft.context = {**draft.context, **changes}
        draft.changed = True

    return Action(action_type, "assign", lay_over, params)


def effect(action_type: str, params: Mapping[str, Any] | None, entries: Entries, owner: str | None) -> Action:
    """Ask for work. Computed entries are laid over the static parameters."""
    fixed = Effect(action_type, params, owner)

    def ask(draft: Draft) -> None:
        draft.effects.append(fixed)

    def ask_with(draft: Draft) -> None:
        context, event, now_ms, budget = draft.context, draft.event, draft.now_ms, draft.budget
        computed = {} if params is None else dict(params)
        for key, evaluate in entries:
            computed[key] = evaluate(context, event, params, now_ms, budget)
        draft.effects.append(_new_effect(Effect, (action_type, computed, owner, "action")))

    return Action(action_type, "effect", ask_with if entries else ask, params)


def emit(event: Event, owner: str | None) -> Action:
    """Show an event to watchers."""
    return _constant_effect(Effect("xstate.emit", {"event": event}, owner, "emit"), "emit")


def _constant_effect(fixed: Effect, kind: ActionKind) -> Action:
    def ask(draft: Draft) -> None:
        draft.effects.append(fixed)

    return Action(fixed.type, kind, ask, fixed.params)


def raise_event(event: Event, action_type: str = "xstate.raise") -> Action:
    """Queue an event for this macrostep."""

    def queue(draft: Draft) -> None:
        draft.queue.append(event)

    return Action(action_type, "raise", queue, {"event": event})


def raise_later(
    event: Event,
    delay: float | Evaluate,
    timer_id: str | None,
    owner: str | None,
    action_type: str = "xstate.raise",
) -> Action:
    """Arm a timer that delivers an event; as in XState, a computed delay that is no number means at once."""

    def arm(draft: Draft) -> None:
        delay_ms = (
            delay(draft.context, draft.event, None, draft.now_ms, draft.budget) if callable(delay) else delay
        )
        if isinstance(delay_ms, (int, float)) and not isinstance(delay_ms, bool):
            draft.schedule(event, delay_ms, timer_id, owner)
        else:
            draft.queue.append(event)

    return Action(action_type, "raise", arm, {"event": event})


def cancel(timer_id: str) -> Action:
    """Disarm the timer with this id."""

    def disarm(draft: Draft) -> None:
        draft.cancel(timer_id)

    return Action("xstate.cancel", "cancel", disarm, {"sendId": timer_id})


def spawn_child(actor_id: str, source: str, actor_input: object, owner: str) -> Action:
    """Ask for an invoked actor. ``actor_input`` is ``MISSING`` when it gets none."""
    params: dict[str, object] = {"id": actor_id, "src": source}
    if actor_input is not MISSING:
        params["input"] = actor_input
    return _child_effect(Effect("xstate.spawnChild", params, owner, "spawn"), "spawn")


def stop_child(actor_id: str) -> Action:
    """Ask for the end of an invoked actor."""
    return _child_effect(Effect("xstate.stopChild", {"id": actor_id}, None, "stop"), "stop")


def _child_effect(fixed: Effect, kind: ActionKind) -> Action:
    def ask(draft: Draft) -> None:
        draft.effects.append(fixed)
        draft.changed = True

    return Action(fixed.type, kind, ask, fixed.params)


def raise_done(node_id: str, output: Evaluate | None) -> Action:
    """Queue ``xstate.done.state.<id>``, with ``output`` when the final state has one."""
    done = {"type": f"xstate.done.state.{node_id}"}

    def queue(draft: Draft) -> None:
        if output is None:
            draft.queue.append(done)
        else:
            value = output(draft.context, draft.event, None, draft.now_ms, draft.budget)
            draft.queue.append({**done, "output": value})

    return Action(done["type"], "done", queue)


def complete(node_id: str, node_output: Evaluate | None, output: Evaluate | None) -> Action:
    """End the machine because ``node_id`` is complete; its done event is what the output is computed from."""
    done: Event = {"type": f"xstate.done.state.{node_id}"}

    def finish(draft: Draft) -> None:
        draft.status = "done"
        draft.output = MISSING
        if output is not None:
            event = done
            if node_output is not None:
                value = node_output(draft.context, draft.event, None, draft.now_ms, draft.budget)
                event = {**done, "output": value}
            draft.output = output(draft.context, event, None, draft.now_ms, draft.budget)

    return Action(done["type"], "complete", finish)
