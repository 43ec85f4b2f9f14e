"""What a macrostep asked for: rows for the outbox, entries for the journal, and what it cancels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from durachart.engine.actions import Effect
from durachart.engine.macrostep import Macrostep
from durachart.runtime.instance import Instance, dumps
from durachart.runtime.views import JournalEffect
from durachart.store.keys import shard
from durachart.store.rows import EffectEnd, EffectRow


class Asked(NamedTuple):
    """The effects of one macrostep.

    Attributes:
        shown: All of them, in execution order, for the answer.
        text: The same for the journal; None when there are none.
        outbox: Those that workers run; one whose state was left again in the same step is cancelled from the
            start.
    """

    shown: tuple[JournalEffect, ...]
    text: str | None
    outbox: tuple[EffectRow, ...]


NOTHING_ASKED = Asked((), None, ())


def asked_by(step: Macrostep, instance: Instance, now_ms: int, traceparent: str) -> Asked:
    """The effects of ``step``.

    Args:
        step: What happened.
        instance: As it is after the step, but for its effects.
        now_ms: The step's instant.
        traceparent: Of the event.

    Raises:
        Unstorable: A parameter has no JSON form.
    """
    if not step.effects:
        return NOTHING_ASKED
    shown: list[JournalEffect] = []
    entries: list[dict[str, Any]] = []
    outbox: list[EffectRow] = []
    left = _left_again(step, instance)
    for ordinal, effect in enumerate(step.effects):
        spec = instance.definition.effects.get(effect.type) if effect.kind == "action" else None
        emitted = effect.kind == "emit"
        effect_type, params = _emission(effect) if emitted else (effect.type, effect.params)
        params_json = "" if params is None else dumps(params)
        effect_id = "" if spec is None else f"{instance.uid}-{instance.version}-{ordinal}"
        shown.append(JournalEffect(effect_id, effect_type, params_json, emitted))
        entry: dict[str, Any] = {"id": effect_id, "type": effect_type, "emitted": emitted}
        if params_json:
            entry["params"] = orjson.Fragment(params_json)
        entries.append(entry)
        if spec is None:
            continue
        cancelled = spec.cancel_on_exit and ordinal in left
        outbox.append(
            EffectRow(
                shard=shard(instance.key),
                namespace=instance.key.namespace,
                machine_id=instance.key.machine_id,
                instance_id=instance.key.instance_id,
                effect_id=effect_id,
                uid=instance.uid,
                version=instance.version,
                ordinal=ordinal,
                type=effect_type,
                handler=spec.handler,
                params=params_json,
                owner=effect.owner,
                cancel_on_exit=spec.cancel_on_exit,
                machine_version=instance.machine_version,
                traceparent=traceparent,
                created_at_ms=now_ms,
                max_attempts=spec.retry.max_attempts,
                state="cancelled" if cancelled else "available",
                attempt=0,
                scheduled_at_ms=now_ms,
                lease_holder="",
                lease_token="",
                lease_epoch=0,
                finalized_at_ms=now_ms if cancelled else None,
                output=None,
                error=None,
                priority=spec.priority,
                attempted_at_ms=None,
            )
        )
    return Asked(tuple(shown), orjson.dumps(entries).decode(), tuple(outbox))


def _emission(effect: Effect) -> tuple[str, Any]:
    event = (effect.params or {})["event"]
    return event["type"], event


def _left_again(step: Macrostep, instance: Instance) -> frozenset[int]:
    """Ordinals of effects whose owner was left after it asked for them.

    A state's entry asks for the same number of effects each time, so of those of a state that was entered n
    times and is active only the last n-th belongs to its present stay. What the states of a machine's final
    configuration asked for in the step that completed it is their last word, and stays.
    """
    owners = Counter(effect.owner for effect in step.effects if effect.owner is not None)
    if not owners or len(step.microsteps) == 1:
        return frozenset()
    entered = Counter(name for microstep in step.microsteps for name in microstep.entered)
    active = {node.id for node in instance.snapshot.configuration.nodes}
    kept = {
        owner: count // max(entered[owner], 1) if owner in active else 0 for owner, count in owners.items()
    }
    left = set()
    seen: Counter[str] = Counter()
    for ordinal, effect in enumerate(step.effects):
        if effect.owner is not None:
            seen[effect.owner] += 1
            if seen[effect.owner] <= owners[effect.owner] - kept[effect.owner]:
                left.add(ordinal)
    return frozenset(left)


def cancelled_by(
    step: Macrostep, effects: Sequence[EffectRow], status: str, now_ms: int
) -> tuple[EffectEnd, ...]:
    """The running effects that ``step`` cancels: the machine left the state that owns them.

    Args:
        step: What happened.
        effects: Those running before the step.
        status: Status after the step; a machine that is done has left all its states.
        now_ms: The step's instant.
    """
    at_risk = [effect for effect in effects if effect.cancel_on_exit and effect.owner is not None]
    if not at_risk:
        return ()
    exited = step.exited
    return tuple(
        ended(effect, "cancelled", now_ms)
        for effect in at_risk
        if status != "active" or effect.owner in exited
    )


def ended(
    effect: EffectRow,
    state: str,
    now_ms: int,
    *,
    output: str | None = None,
    error: str | None = None,
    lease_token: str | None = None,
    outcome: str = "cancelled",
) -> EffectEnd:
    """The end of ``effect``, and of the attempt at it if one is being made; see `EffectEnd`."""
    return EffectEnd(*effect[:5], state, now_ms, output, error, lease_token, outcome)
