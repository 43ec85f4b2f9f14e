"""Decides what a command does to an instance.

Pure: what it knows is in its arguments, what it decides is in the verdict. Every attempt becomes a journal
row, and sometimes two: a creation on the way to an event has its own, and so has the consumption of a timer
or an effect whose event failed. The instance of a verdict is the one after the command, to be stored or
judged next.

The checks of an event, in order: payload, version, status, machine. What is wrong with a request whatever the
state is comes first, so that the same request does not get another reason each time.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final, NamedTuple

import orjson

from durachart.engine.errors import EngineError
from durachart.engine.macrostep import Macrostep, fire_timer, initial_macrostep, macrostep
from durachart.engine.queries import explain
from durachart.engine.snapshot import Timer
from durachart.runtime.asked import ended
from durachart.runtime.commands import (
    NO_LABELS,
    SYSTEM_ACTOR,
    CreateInstance,
    DeleteInstance,
    FinishEffect,
    FireTimer,
    ReviveEffect,
    SendEvent,
    StopEffect,
)
from durachart.runtime.deletion import delete
from durachart.runtime.effect_revival import revive
from durachart.runtime.errors import (
    EvaluationFailed,
    EventNotAllowed,
    EventRefused,
    GuardRejected,
    InstanceExists,
    InstanceFinished,
    InstanceNotFound,
    LeaseLost,
    PayloadInvalid,
    VersionConflict,
)
from durachart.runtime.instance import Instance, Pinned, Seat, Unstorable, dumps
from durachart.runtime.payload import Malformed, parse_json, parse_object
from durachart.runtime.present import allowed
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.stepping import Attempt, Birth, Stepping, Verdict
from durachart.store.interface import Head
from durachart.store.keys import InstanceKey
from durachart.store.rows import EffectEnd, EffectRow

FINAL_STATES: Final = {"completed": "completed", "failed": "discarded", "rejected": "discarded"}


class Moment(NamedTuple):
    """When a command is judged, and for whom.

    Attributes:
        wall_ms: The wall clock. The recorded instant is never before the instance's last one.
        actor: Who asks.
        traceparent: Empty: not traced.
    """

    wall_ms: int
    actor: str
    traceparent: str = ""


class Judge:
    """See the module."""

    def __init__(self, settings: RuntimeSettings, new_uid: Callable[[], str]) -> None:
        """Judge within ``settings``; ``new_uid`` makes identities of instances, 32 characters."""
        self._settings = settings
        self._new_uid = new_uid
        self._stepping = Stepping(settings)

    # --- creation and events ------------------------------------------------------------------------------

    def create(self, seat: Seat, command: CreateInstance, pinned: Pinned | None, moment: Moment) -> Verdict:
        """Start an instance.

        Args:
            seat: Its place.
            command: What is asked.
            pinned: What it would be; only needed if there is none.
            moment: When, for whom.
        """
        attempt, value = self._input_attempt(
            seat.head, command.key, command.input_json, command.request_id, moment
        )
        if seat.instance is not None:
            return self._stepping.refuse(seat, attempt, InstanceExists(command.key))
        assert pinned is not None
        return self._create(seat, attempt, value, pinned, command.labels)

    def event(self, seat: Seat, command: SendEvent, pinned: Pinned | None, moment: Moment) -> Verdict:
        """Run one macrostep, on an instance made for it if the command says so.

        Args:
            seat: The instance, or its place.
            command: What is asked.
            pinned: What a new instance would be; only needed if there is none and the command may create.
            moment: When, for whom.
        """
        if seat.instance is not None:
            return self._event(seat.instance, seat.head, command, moment)
        if not command.create_if_missing or pinned is None:
            return Verdict(seat, error=InstanceNotFound(command.key))
        attempt, value = self._input_attempt(
            seat.head, command.key, command.input_json, command.request_id, moment
        )
        created = self._create(seat, attempt, value, pinned, NO_LABELS)
        if created.seat.instance is None:
            return created
        verdict = self._event(created.seat.instance, created.seat.head, command, moment)
        return verdict._replace(
            recorded=(*created.recorded, *verdict.recorded), outbox=(*created.outbox, *verdict.outbox)
        )

    def _input_attempt(
        self, head: Head, key: InstanceKey, input_json: str, request_id: str, moment: Moment
    ) -> tuple[Attempt, Any]:
        """The attempt to create, and the input's value, or what is wrong with it (Malformed)."""
        attempt = Attempt(
            key,
            "create",
            max(moment.wall_ms, head.now_ms),
            moment.actor,
            data=input_json,
            request_id=request_id,
            traceparent=moment.traceparent,
        )
        try:
            self._require_size(input_json)
            return attempt, parse_json(input_json) if input_json else None
        except Malformed as problem:
            return _without_data(attempt), problem

    def _create(self, seat: Seat, attempt: Attempt, value: Any, pinned: Pinned, labels: Any) -> Verdict:
        definition = pinned.definition
        key = attempt.key
        if isinstance(value, Malformed):
            problems = [(value.path, value.message)]
        else:
            value = definition.start_input(value)
            problems = [(v.path, v.message) for v in definition.schemas.validate_input(value)]
        if problems:
            return self._stepping.refuse(seat, attempt, PayloadInvalid(key, "input_json", problems))
        birth = Birth(
            self._new_uid(), pinned.version, labels, orjson.dumps(dict(labels)).decode() if labels else ""
        )
        try:
            step = initial_macrostep(
                definition.machine,
                input=value,
                now_ms=attempt.now_ms,
                max_microsteps=self._settings.max_microsteps,
            )
            return self._stepping.start(seat.head, attempt, definition, birth, step)
        except (EngineError, Unstorable) as error:
            return self._stepping.refuse(
                seat,
                attempt,
                EvaluationFailed(
                    key,
                    f"instance {key} could not be started: {error}",
                    event_type="",
                    value_json="",
                    version=0,
                ),
            )

    def _event(self, instance: Instance, head: Head, command: SendEvent, moment: Moment) -> Verdict:
        key, event_type, text, expected, request_id, *_ = command
        attempt = Attempt(
            key,
            "event",
            max(moment.wall_ms, head.now_ms),
            moment.actor,
            event_type,
            text,
            "",
            None,
            expected,
            request_id,
            moment.traceparent,
        )
        definition = instance.definition
        seat = Seat(instance, head)
        try:
            data = self._event_data(text)
        except Malformed as problem:
            refusal = PayloadInvalid(key, "event.data_json", [(problem.path, problem.message)])
            kept = attempt if problem.is_json else _without_data(attempt)
            return self._stepping.refuse(seat, kept, refusal)
        violations = definition.schemas.validate_event(event_type, data)
        if violations:
            problems = [(violation.path, violation.message) for violation in violations]
            return self._stepping.refuse(seat, attempt, PayloadInvalid(key, "event.data_json", problems))
        if expected is not None and expected != instance.version:
            conflict = VersionConflict(key, expected, instance.version, instance.value_json)
            return self._stepping.refuse(seat, attempt, conflict)
        if instance.snapshot.status != "active":
            return self._stepping.refuse(seat, attempt, _finished(instance, event_type))
        event = {"type": event_type, **data}
        try:
            step = macrostep(
                definition.machine,
                instance.snapshot,
                event,
                now_ms=attempt.now_ms,
                max_microsteps=self._settings.max_microsteps,
            )
            if step.accepted and step.snapshot.status != "error":
                return self._stepping.advance(head, attempt, instance, step)
        except (EngineError, Unstorable) as error:
            return self._stepping.refuse(seat, attempt, _failed(instance, attempt, error))
        return self._stepping.refuse(seat, attempt, _not_selected(instance, event, attempt.now_ms))

    def _event_data(self, text: str) -> dict[str, Any]:
        if not text:
            return {}
        self._require_size(text)
        data = parse_object(text)
        if "type" in data:
            raise Malformed("it is the event's own key; name the type in event.type", "/type", is_json=True)
        return data

    def _require_size(self, text: str) -> None:
        limit = self._settings.max_event_bytes
        if len(text) * 4 > limit and (size := len(text.encode("utf-8", "surrogatepass"))) > limit:
            raise Malformed(f"it is {size} bytes long; at most {limit} are taken")

    # --- deletion -----------------------------------------------------------------------------------------

    def delete(self, seat: Seat, command: DeleteInstance, moment: Moment) -> Verdict:
        """End an instance."""
        instance, head = seat
        if instance is None:
            return Verdict(seat, error=InstanceNotFound(command.key))
        expected = command.expected_version
        attempt = Attempt(
            command.key,
            "delete",
            max(moment.wall_ms, head.now_ms),
            moment.actor,
            expected_version=expected,
            request_id=command.request_id,
            traceparent=moment.traceparent,
        )
        if expected is not None and expected != instance.version:
            conflict = VersionConflict(command.key, expected, instance.version, instance.value_json)
            return self._stepping.refuse(seat, attempt, conflict)
        return delete(head, attempt, instance, purge=command.purge)

    # --- timers and effects -------------------------------------------------------------------------------

    def timer(self, seat: Seat, command: FireTimer, moment: Moment) -> Verdict:
        """Deliver a timer's event, if exactly that arming is pending and due.

        Timers of the instance that were due before it are delivered first: the order must not depend on who
        asks for which. One of them may cancel it.
        """
        asked = _pending(seat.instance, command)
        if asked is None or asked.due_at_ms > moment.wall_ms:
            return Verdict(seat, done=False)
        verdict = Verdict(seat)
        # What is armed meanwhile is due later: at this instant at the earliest, and with a higher sequence.
        while (pending := _pending(verdict.seat.instance, command)) is not None:
            assert verdict.seat.instance is not None
            timer = min(verdict.seat.instance.snapshot.timers, key=_due_order)
            verdict = _joined(verdict, self._fire(verdict.seat, verdict.seat.instance, timer, moment))
            if timer is pending:
                return verdict
        return verdict._replace(done=False)

    def _fire(self, seat: Seat, instance: Instance, timer: Timer, moment: Moment) -> Verdict:
        head = seat.head
        own = {key: value for key, value in timer.event.items() if key != "type"}
        attempt = Attempt(
            instance.key,
            "timer",
            max(moment.wall_ms, head.now_ms),
            SYSTEM_ACTOR,
            timer.event["type"],
            dumps(own) if own else "",
            details=dumps({"timer": timer.key, "sequence": timer.sequence}),
            traceparent=moment.traceparent,
        )
        try:
            step = fire_timer(
                instance.definition.machine,
                instance.snapshot,
                timer.key,
                now_ms=attempt.now_ms,
                max_microsteps=self._settings.max_microsteps,
            )
            return self._stepping.advance(head, attempt, instance, step)
        except (EngineError, Unstorable) as error:
            remaining = tuple(other for other in instance.snapshot.timers if other is not timer)
            return self._consume(
                seat,
                attempt,
                _failed(instance, attempt, error),
                Macrostep(instance.snapshot._replace(timers=remaining), (), False, False, ()),
                None,
            )

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
            refused = self._stepping.refuse(seat, attempt, _finished(instance, attempt.event_type))
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
            return self._consume(seat, attempt, _failed(instance, attempt, error), silent, end)

    def _consume(
        self,
        seat: Seat,
        attempt: Attempt,
        failure: EvaluationFailed,
        step: Macrostep,
        end: EffectEnd | None,
    ) -> Verdict:
        """Journal that a timer's or effect's event failed, and that it is gone nevertheless."""
        refused = self._stepping.refuse(seat, attempt, failure)
        instance, head = refused.seat
        assert instance is not None
        consumption = attempt._replace(data="", details=dumps({"consumed": True, **_details(attempt)}))
        verdict = self._stepping.advance(head, consumption, instance, step, end)
        return verdict._replace(recorded=(*refused.recorded, *verdict.recorded))


def _without_data(attempt: Attempt) -> Attempt:
    """The attempt with the hash of its data instead: it is too large, or no JSON."""
    digest = sha256(attempt.data.encode("utf-8", "surrogatepass")).hexdigest()
    return attempt._replace(data="", data_hash=digest)


def _details(attempt: Attempt) -> dict[str, Any]:
    details: dict[str, Any] = orjson.loads(attempt.details) if attempt.details else {}
    return details


def _pending(instance: Instance | None, command: FireTimer) -> Timer | None:
    if instance is None or instance.uid != command.uid:
        return None
    for timer in instance.snapshot.timers:
        if timer.key == command.timer_key and timer.sequence == command.sequence:
            return timer
    return None


def _due_order(timer: Timer) -> tuple[int, int]:
    return timer.due_at_ms, timer.sequence


def _joined(first: Verdict, then: Verdict) -> Verdict:
    """Two verdicts on one instance as one."""
    return then._replace(
        recorded=(*first.recorded, *then.recorded),
        outbox=(*first.outbox, *then.outbox),
        ends=(*first.ends, *then.ends),
    )


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


def _finished(instance: Instance, event_type: str) -> InstanceFinished:
    what = f"event {event_type!r}" if event_type else "the end of an effect"
    return InstanceFinished(
        instance.key,
        f"instance {instance.key} has finished in state {instance.value_json}; {what} has no effect any more",
        event_type=event_type,
        value_json=instance.value_json,
        version=instance.version,
    )


def _failed(instance: Instance, attempt: Attempt, error: Exception) -> EvaluationFailed:
    return EvaluationFailed(
        instance.key,
        f"event {attempt.event_type!r} failed: {error}",
        event_type=attempt.event_type,
        value_json=instance.value_json,
        version=instance.version,
        allowed_events=allowed(instance.definition, instance.snapshot, attempt.now_ms),
    )


def _not_selected(instance: Instance, event: dict[str, Any], now_ms: int) -> EventRefused:
    """Why the machine did not take an event: no transition for it, or guards that were false."""
    event_type = event["type"]
    verdicts = explain(instance.definition.machine, instance.snapshot, event, now_ms=now_ms)
    guards = tuple(dict.fromkeys(verdict.guard for verdict in verdicts if verdict.passed is False))
    could = allowed(instance.definition, instance.snapshot, now_ms)
    listed = f"allowed now: {', '.join(could)}" if could else "no event is allowed now"
    refused = GuardRejected if guards else EventNotAllowed
    why = f"rejected by {' and '.join(guards)}" if guards else "not allowed"
    return refused(
        instance.key,
        f"event {event_type!r} is {why} in state {instance.value_json}; {listed}",
        event_type=event_type,
        value_json=instance.value_json,
        version=instance.version,
        allowed_events=could,
        guards=guards,
    )
