"""Messages of the contract to Python values, field for field."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from google.protobuf.timestamp_pb2 import Timestamp

from durachart_client import models
from durachart_client.gen import (
    machine_service_pb2,
    state_machine_service_pb2,
    token_service_pb2,
    types_pb2,
)

VIEWS: Mapping[str | None, types_pb2.InstanceView] = {
    None: types_pb2.INSTANCE_VIEW_UNSPECIFIED,
    "basic": types_pb2.INSTANCE_VIEW_BASIC,
    "full": types_pb2.INSTANCE_VIEW_FULL,
}

STATUSES: Mapping[str | None, types_pb2.InstanceStatus] = {
    None: types_pb2.INSTANCE_STATUS_UNSPECIFIED,
    "active": types_pb2.INSTANCE_STATUS_ACTIVE,
    "done": types_pb2.INSTANCE_STATUS_DONE,
}

_CAUSES: Mapping[int, Literal["create", "event", "timer", "effect", "delete", "unknown"]] = {
    types_pb2.JOURNAL_CAUSE_CREATE: "create",
    types_pb2.JOURNAL_CAUSE_EVENT: "event",
    types_pb2.JOURNAL_CAUSE_TIMER: "timer",
    types_pb2.JOURNAL_CAUSE_EFFECT: "effect",
    types_pb2.JOURNAL_CAUSE_DELETE: "delete",
}

_OUTCOMES: Mapping[int, Literal["completed", "stopped", "failed", "cancelled", "unknown"]] = {
    token_service_pb2.TokenEnd.OUTCOME_COMPLETED: "completed",
    token_service_pb2.TokenEnd.OUTCOME_STOPPED: "stopped",
    token_service_pb2.TokenEnd.OUTCOME_FAILED: "failed",
    token_service_pb2.TokenEnd.OUTCOME_CANCELLED: "cancelled",
}


def json_text(value: models.Json) -> str:
    """JSON text of ``value``.

    Raises:
        ValueError: It holds NaN, an infinity or a cycle, none of which JSON has.
        TypeError: It holds something JSON has no form for, such as a datetime.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def parsed(text: str) -> models.Json:
    """The value of JSON ``text``; None for ``""``, which is how the contract says that there is none."""
    return json.loads(text) if text else None


def instance_message(ref: models.InstanceRef) -> types_pb2.InstanceRef:
    """The message that names ``ref``."""
    return types_pb2.InstanceRef(
        namespace=ref.namespace, machine_id=ref.machine_id, instance_id=ref.instance_id
    )


def instance_ref(message: types_pb2.InstanceRef) -> models.InstanceRef:
    """What ``message`` names."""
    return models.InstanceRef(message.machine_id, message.instance_id, message.namespace)


def send_event_request(
    event: models.EventToSend, namespace: str
) -> state_machine_service_pb2.SendEventRequest:
    """The request for one event, with a request id made for it unless it has one.

    Args:
        event: What to send.
        namespace: Unless the event names one.
    """
    chosen = namespace if event.namespace is None else event.namespace
    request = state_machine_service_pb2.SendEventRequest(
        instance=types_pb2.InstanceRef(
            namespace=chosen, machine_id=event.machine_id, instance_id=event.instance_id
        ),
        expected_version=event.expected_version,
        request_id=uuid.uuid4().hex if event.request_id is None else event.request_id,
        create_if_missing=event.create_if_missing,
        input_json="" if event.input is None else json_text(event.input),
        view=VIEWS[event.view],
    )
    request.event.type = event.event_type
    request.event.data_json = json_text(dict(event.data)) if event.data else ""
    return request


def instance_state(message: types_pb2.InstanceState) -> models.InstanceState:
    """One state, with parsed JSON."""
    return models.InstanceState(
        instance=instance_ref(message.instance),
        uid=message.uid,
        version=message.version,
        machine_version=message.machine_version,
        value=parsed(message.value_json),
        context=parsed(message.context_json),
        allowed_events=tuple(message.allowed_events),
        tags=tuple(message.tags),
        meta=parsed(message.meta_json) or {},
        labels=dict(message.labels),
        status="done" if message.status == types_pb2.INSTANCE_STATUS_DONE else "active",
        output=parsed(message.output_json),
        running_effects=tuple(running_effect(one) for one in message.running_effects),
        created_at=_instant(message.create_time),
        updated_at=_instant(message.update_time),
        evaluated_at=_instant(message.evaluate_time) if message.HasField("evaluate_time") else None,
    )


def running_effect(message: types_pb2.RunningEffect) -> models.RunningEffect:
    """One effect that has not ended."""
    return models.RunningEffect(
        effect_id=message.effect_id,
        type=message.type,
        handler=message.handler,
        attempt=message.attempt,
        executing=message.executing,
        created_at=_instant(message.create_time),
    )


def journal_entry(message: types_pb2.JournalEntry) -> models.JournalEntry:
    """One attempt."""
    return models.JournalEntry(
        instance=instance_ref(message.instance),
        uid=message.uid,
        seq=message.seq,
        revision=message.revision,
        cause=_CAUSES.get(message.cause, "unknown"),
        event_type=message.event_type,
        data=parsed(message.data_json),
        actor=message.actor,
        created_at=_instant(message.create_time),
        outcome="accepted" if message.outcome == types_pb2.JOURNAL_OUTCOME_ACCEPTED else "refused",
        reason=message.reason,
        message=message.message,
        from_version=message.from_version,
        to_version=message.to_version,
        from_value=parsed(message.from_value_json),
        to_value=parsed(message.to_value_json),
        effects=tuple(journal_effect(one) for one in message.effects),
        machine_version=message.machine_version,
        expected_version=message.expected_version if message.HasField("expected_version") else None,
        request_id=message.request_id,
        traceparent=message.traceparent,
        hash=message.hash,
    )


def journal_effect(message: types_pb2.JournalEffect) -> models.JournalEffect:
    """One effect or emitted event of an attempt."""
    return models.JournalEffect(
        effect_id=message.effect_id,
        type=message.type,
        params=parsed(message.params_json),
        emitted=message.emitted,
    )


def finding(message: types_pb2.Finding) -> models.Finding:
    """One problem of a definition."""
    warning = message.severity == types_pb2.Finding.SEVERITY_WARNING
    return models.Finding(
        code=message.code,
        path=message.path,
        message=message.message,
        hint=message.hint,
        severity="warning" if warning else "error",
        line=message.line,
        column=message.column,
    )


def machine(message: machine_service_pb2.Machine) -> models.Machine:
    """One version of a machine."""
    return models.Machine(
        machine_id=message.machine_id,
        version=message.version,
        content_hash=message.content_hash,
        definition=parsed(message.definition_json),
        created_at=_instant(message.create_time),
        description=message.description,
        event_types=tuple(message.event_types),
    )


def accepted(message: state_machine_service_pb2.SendEventResponse) -> models.Accepted:
    """The answer to an accepted event."""
    return models.Accepted(
        state=instance_state(message.state),
        changed=message.changed,
        replayed=message.replayed,
        effects=tuple(journal_effect(one) for one in message.effects),
    )


def preview(message: state_machine_service_pb2.PreviewEventResponse) -> models.Preview:
    """What an event would do."""
    return models.Preview(
        accepted=message.accepted,
        state=instance_state(message.state),
        changed=message.changed,
        effects=tuple(journal_effect(one) for one in message.effects),
        reason=message.reason,
        message=message.message,
        transitions=tuple(
            models.PreviewTransition(
                one.source_state_id,
                one.event_descriptor,
                tuple(one.target_state_ids),
                one.guard,
                one.passed if one.HasField("passed") else None,
            )
            for one in message.transitions
        ),
    )


def deleted(frame: state_machine_service_pb2.WatchFrame) -> models.InstanceDeleted:
    """The deletion a watch frame carries."""
    body = frame.deleted
    return models.InstanceDeleted(
        frame.resume_token, instance_ref(body.instance), body.uid, journal_entry(body.entry)
    )


def transition(frame: state_machine_service_pb2.WatchFrame) -> models.Transition:
    """The transition a watch frame carries."""
    body = frame.transition
    return models.Transition(
        frame.resume_token, instance_state(body.state), journal_entry(body.entry), body.changed, body.matches
    )


def gap(frame: state_machine_service_pb2.WatchFrame) -> models.Gap:
    """The gap a watch frame carries."""
    body = frame.gap
    previous = None if body.previous_version < 0 else body.previous_version
    return models.Gap(frame.resume_token, instance_state(body.state), previous, body.matches)


def generation_end(frame: token_service_pb2.TokenFrame) -> models.GenerationEnd:
    """The end a token frame carries."""
    end = frame.end
    usage = (
        models.TokenUsage(end.usage.input_tokens, end.usage.output_tokens) if end.HasField("usage") else None
    )
    return models.GenerationEnd(
        effect_id=frame.effect_id,
        attempt=frame.attempt,
        outcome=_OUTCOMES.get(end.outcome, "unknown"),
        finish_reason=end.finish_reason,
        model=end.model,
        usage=usage,
        error_message=end.error_message,
        error_reason=end.error_reason,
    )


def _instant(message: Timestamp) -> datetime:
    return message.ToDatetime(tzinfo=UTC)
