"""Decides what the end of an effect does to an instance, and which is given back. Pure, as `Judge` is."""

from __future__ import annotations

from typing import Any, Final

from durachart.engine.errors import EngineError
from durachart.engine.macrostep import Macrostep, macrostep
from durachart.runtime.commands import FinishEffect, ReviveEffect, StopEffect
from durachart.runtime.errors import InstanceNotFound, LeaseLost
from durachart.runtime.instance import Instance, Seat, Unstorable, dumps
from durachart.runtime.judge.asked import ended
from durachart.runtime.judge.consumption import consume
from durachart.runtime.judge.effect_revival import revive
from durachart.runtime.judge.moment import Moment
from durachart.runtime.judge.payload import parse_json
from durachart.runtime.judge.reasons import failed, finished
from durachart.runtime.judge.stepping import Attempt, Stepping, Verdict
from durachart.runtime.settings import RuntimeSettings
from durachart.store.rows import EffectEnd, EffectRow

FINAL_STATES: Final = {"completed": "completed", "failed": "discarded", "rejected": "discarded"}
"""Of an effect, by what its worker says."""


class EffectJudge:
    """See the module.

    Args:
        settings: Within which.
        stepping: Makes instances and rows.
    """

    def __init__(self, settings: RuntimeSettings, stepping: Stepping) -> None:
        self._settings = settings
        self._stepping = stepping

    def finish(self, seat: Seat, command: FinishEffect, stored: EffectRow | None, moment: Moment) -> Verdict:
        """End an effect as its worker says.

        Args:
            seat: The instance that asked for it.
            command: How it ended.
            stored: The effect's row as stored; None: as the instance has it.
            moment: When, for whom.
        """
        instance = seat.instance
        effect = stored or _running(instance, command.effect_id)
        if (
            instance is None
            or effect is None
            or effect.lease_token != command.lease_token
            or effect.uid != instance.uid  # of an incarnation that was deleted
        ):
            return Verdict(seat, error=LeaseLost(command.key, command.effect_id))
        end = ended(
            effect,
            FINAL_STATES[command.outcome],
            max(moment.wall_ms, seat.head.now_ms),
            output=command.output_json or None,
            error=None if command.error is None else dumps(command.error._asdict()),
            lease_token=command.lease_token,
            outcome=command.outcome,
        )
        data: dict[str, Any] = {"effect_id": effect.effect_id}
        if command.outcome != "completed":
            data["error"] = {} if command.error is None else command.error._asdict()
        elif command.output_json:
            data["output"] = parse_json(command.output_json)
        if effect.state == "cancelled":
            return self._too_late(seat, effect, data, end, moment)
        if effect.finalized_at_ms is not None:
            if effect.state == end.state:  # its worker asks again because the answer was lost
                return Verdict(seat, done=False)
            already = f"effect {effect.effect_id!r} ended under this lease before, and was {effect.state}"
            return Verdict(seat, error=LeaseLost(command.key, command.effect_id, already))
        spec = instance.definition.effects[effect.type]
        event_type = {"completed": spec.done, "failed": spec.failed, "rejected": spec.rejected}[
            command.outcome
        ]
        return self._end(seat, instance, event_type, data, end, moment)

    def _too_late(
        self, seat: Seat, effect: EffectRow, data: dict[str, Any], end: EffectEnd, moment: Moment
    ) -> Verdict:
        """Journal the end of an effect that had been cancelled; its row keeps what came of it."""
        attempt = Attempt(
            effect.key,
            "effect",
            end.finalized_at_ms,
            moment.actor,
            data=dumps(data),
            traceparent=moment.traceparent,
        )
        lost = LeaseLost(
            effect.key, effect.effect_id, f"effect {effect.effect_id!r} was cancelled; drop the result"
        )
        # Why it was cancelled stays: by that a stop is told from a state that was left.
        late = end._replace(error=effect.error or end.error)
        return self._stepping.refuse(seat, attempt, lost)._replace(late=late)

    def stop(self, seat: Seat, command: StopEffect, moment: Moment) -> Verdict:
        """End an effect on purpose."""
        instance = seat.instance
        if instance is None:
            return Verdict(seat, error=InstanceNotFound(command.key))
        candidates = [
            effect
            for effect in instance.effects
            if command.effect_id in ("", effect.effect_id) and command.handler in ("", effect.handler)
        ]
        if not candidates:
            return Verdict(seat, done=False)
        effect = candidates[-1]
        error = {"reason": "STOPPED", "message": f"stopped by {moment.actor}"}
        end = ended(effect, "cancelled", max(moment.wall_ms, seat.head.now_ms), error=dumps(error))
        spec = instance.definition.effects[effect.type]
        data = {"effect_id": effect.effect_id, "error": error}
        verdict = self._end(seat, instance, spec.stopped, data, end, moment, command.request_id)
        return verdict._replace(effect_id=effect.effect_id)

    def revive(self, seat: Seat, command: ReviveEffect, stored: EffectRow | None, moment: Moment) -> Verdict:
        """Give a dead letter back for further attempts.

        Args:
            seat: The instance that asked for it.
            command: What is asked.
            stored: The effect's row; None: there is none.
            moment: When, for whom.
        """
        attempt = Attempt(
            command.key,
            "effect",
            max(moment.wall_ms, seat.head.now_ms),
            moment.actor,
            details=dumps({"retried": command.effect_id}),
            request_id=command.request_id,
            traceparent=moment.traceparent,
        )
        return revive(self._stepping, seat, attempt, command.effect_id, stored)

    def _end(
        self,
        seat: Seat,
        instance: Instance,
        event_type: str | None,
        data: dict[str, Any],
        end: EffectEnd,
        moment: Moment,
        request_id: str = "",
    ) -> Verdict:
        """Let the machine hear of the end of an effect, and journal it in any case."""
        attempt = Attempt(
            instance.key,
            "effect",
            end.finalized_at_ms,
            moment.actor,
            event_type or "",
            dumps(data),
            request_id=request_id,
            traceparent=moment.traceparent,
        )
        if instance.snapshot.status != "active":
            refused = self._stepping.refuse(seat, attempt, finished(instance, attempt.event_type))
            return _with_end(refused, instance, end)
        silent = Macrostep(instance.snapshot, (), False, False, ())
        try:
            if event_type is None:
                return self._stepping.advance(seat.head, attempt, instance, silent, end)
            step = macrostep(
                instance.definition.machine,
                instance.snapshot,
                {"type": event_type, **data},
                now_ms=attempt.now_ms,
                max_microsteps=self._settings.max_microsteps,
            )
            return self._stepping.advance(seat.head, attempt, instance, step, end)
        except (EngineError, Unstorable) as error:
            return consume(self._stepping, seat, attempt, failed(instance, attempt, error), silent, end)


def _running(instance: Instance | None, effect_id: str) -> EffectRow | None:
    if instance is not None:
        for effect in instance.effects:
            if effect.effect_id == effect_id:
                return effect
    return None


def _with_end(verdict: Verdict, instance: Instance, end: EffectEnd) -> Verdict:
    """``verdict`` on an instance that stays as it is, but for an effect that runs no more."""
    effects = tuple(effect for effect in instance.effects if effect.effect_id != end.effect_id)
    seat = Seat(instance._replace(effects=effects), verdict.seat.head)
    return verdict._replace(seat=seat, error=None, ends=(end,))
