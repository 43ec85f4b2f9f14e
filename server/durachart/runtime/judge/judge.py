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
from typing import Any, NamedTuple

import orjson

from durachart.engine.errors import EngineError
from durachart.engine.macrostep import initial_macrostep, macrostep
from durachart.runtime.commands import (
    NO_LABELS,
    CreateInstance,
    DeleteInstance,
    SendEvent,
)
from durachart.runtime.errors import (
    EvaluationFailed,
    InstanceExists,
    InstanceNotFound,
    PayloadInvalid,
    VersionConflict,
)
from durachart.runtime.instance import Instance, Pinned, Seat, Unstorable
from durachart.runtime.judge.deletion import delete
from durachart.runtime.judge.effect_judge import EffectJudge
from durachart.runtime.judge.moment import Moment
from durachart.runtime.judge.payload import Malformed, parse_json, parse_object
from durachart.runtime.judge.reasons import failed, finished, not_selected
from durachart.runtime.judge.stepping import Attempt, Birth, Stepping, Verdict
from durachart.runtime.judge.timer_judge import TimerJudge
from durachart.runtime.settings import RuntimeSettings
from durachart.store.interface import Head
from durachart.store.keys import InstanceKey


class _Wrong(NamedTuple):
    """What is wrong with an input that is no JSON, or too large."""

    path: str
    message: str


class Judge:
    """See the module.

    Attributes:
        timers: Judges timers.
        effects: Judges ends of effects.
    """

    def __init__(self, settings: RuntimeSettings, new_uid: Callable[[], str]) -> None:
        """Judge within ``settings``; ``new_uid`` makes identities of instances, 32 characters."""
        self._settings = settings
        self._new_uid = new_uid
        self._stepping = Stepping(settings)
        self.timers = TimerJudge(settings, self._stepping)
        self.effects = EffectJudge(settings, self._stepping)

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
            advice = "; create it, or send the event with create_if_missing"
            return Verdict(seat, error=InstanceNotFound(command.key, advice))
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
        """The attempt to create, and the input's value, or what is wrong with it (_Wrong)."""
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
            # Not the error itself: it knows the frames through which it came, and what is judged in them.
            return _without_data(attempt), _Wrong(problem.path, problem.message)

    def _create(self, seat: Seat, attempt: Attempt, value: Any, pinned: Pinned, labels: Any) -> Verdict:
        definition = pinned.definition
        key = attempt.key
        if isinstance(value, _Wrong):
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
            return self._stepping.refuse(seat, attempt, finished(instance, event_type))
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
            return self._stepping.refuse(seat, attempt, failed(instance, attempt, error))
        return self._stepping.refuse(seat, attempt, not_selected(instance, event, attempt.now_ms))

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


def _without_data(attempt: Attempt) -> Attempt:
    """The attempt with the hash of its data instead: it is too large, or no JSON."""
    digest = sha256(attempt.data.encode("utf-8", "surrogatepass")).hexdigest()
    return attempt._replace(data="", data_hash=digest)
