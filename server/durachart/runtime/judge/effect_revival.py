"""Dead letters: an effect that was discarded is given back for further attempts.

The instance moves on by a version in which nothing of it changed but that the effect runs again, so that a
version still names one stored state, and the journal says who gave the effect back.
"""

from __future__ import annotations

from durachart.engine.macrostep import Macrostep
from durachart.runtime.errors import EffectNotFound, EffectNotRetryable, InstanceNotFound
from durachart.runtime.instance import Instance, Seat
from durachart.runtime.judge.stepping import Attempt, Stepping, Verdict
from durachart.store.rows import EffectRow


def revive(
    stepping: Stepping, seat: Seat, attempt: Attempt, effect_id: str, stored: EffectRow | None
) -> Verdict:
    """Give an effect back, or say why not.

    Args:
        stepping: Makes the next version.
        seat: The instance that asked for it.
        attempt: As the journal records it.
        effect_id: Which effect.
        stored: Its row; None: there is none.
    """
    instance, head = seat
    key = attempt.key
    if stored is None:
        return Verdict(
            seat, error=InstanceNotFound(key) if instance is None else EffectNotFound(key, effect_id)
        )
    if instance is None:
        gone = f"instance {key} was deleted; nobody would hear of the end of its effect {effect_id!r}"
        return Verdict(seat, error=EffectNotRetryable(key, effect_id, gone))
    why = _why_not(instance, stored)
    if why:
        return stepping.refuse(seat, attempt, EffectNotRetryable(key, effect_id, why))
    revived = stored._replace(
        state="available",
        # As many as the policy allows, however many there were.
        max_attempts=stored.attempt + instance.definition.effects[stored.type].retry.max_attempts,
        scheduled_at_ms=attempt.now_ms,
        lease_token="",
        finalized_at_ms=None,
        output=None,
    )
    effects = sorted((*instance.effects, revived), key=_order)
    silent = Macrostep(instance.snapshot, (), False, False, ())
    verdict = stepping.advance(head, attempt, instance._replace(effects=tuple(effects)), silent)
    return verdict._replace(revived=revived)


def _why_not(instance: Instance, effect: EffectRow) -> str:
    """Why an effect cannot be given back; empty: it can."""
    which = f"effect {effect.effect_id!r}"
    if effect.uid != instance.uid:
        return f"{which} was asked for by an instance {instance.key} that was deleted; this is another one"
    if instance.snapshot.status != "active":
        return (
            f"instance {instance.key} has finished in state {instance.value_json}; "
            f"it would not hear of the end of {which}"
        )
    if effect.state == "discarded":
        return ""
    if effect.state == "cancelled":
        return (
            f"{which} was cancelled: its state was left, or it was stopped; the machine may ask for it anew"
        )
    if effect.state == "completed":
        return f"{which} has completed; there is nothing to try again"
    return f"{which} has not ended; it is being tried already"


def _order(effect: EffectRow) -> tuple[int, int, int]:
    """In which order effects were asked for."""
    return effect.created_at_ms, effect.version, effect.ordinal
