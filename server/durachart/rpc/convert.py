"""Between the domain's views and the contract's messages, field for field. The only place where the two meet.

JSON stays text. Instants become `Timestamp`; a microsecond is the finest that both sides know. A view that
the caller leaves unspecified is the reader's default, which the handler gives.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from durachart.definitions.findings import Finding
from durachart.rpc.context import CallContext
from durachart.rpc.gen import machine_service_pb2 as machines
from durachart.rpc.gen import state_machine_service_pb2 as instances
from durachart.rpc.gen import token_service_pb2 as tokens
from durachart.rpc.gen import types_pb2 as types
from durachart.runtime.commands import Caller, SendEvent
from durachart.runtime.generation.frames import (
    GenerationOutcome,
    TokenAttemptStarted,
    TokenEnd,
    TokenFrame,
)
from durachart.runtime.views import (
    Accepted,
    InstanceState,
    InstanceStatus,
    JournalEffect,
    JournalEntry,
    MachineRecord,
    Preview,
    View,
    WatchClosing,
    WatchDeleted,
    WatchFilter,
    WatchFrame,
    WatchGap,
    WatchProgress,
    WatchSnapshot,
    WatchTokens,
    WatchTransition,
)
from durachart.store.keys import InstanceKey

MAX_FINDINGS = 1000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_STATUS = {"active": types.INSTANCE_STATUS_ACTIVE, "done": types.INSTANCE_STATUS_DONE}
_STATUS_WANTED: dict[int, InstanceStatus | None] = {
    types.INSTANCE_STATUS_UNSPECIFIED: None,
    types.INSTANCE_STATUS_ACTIVE: "active",
    types.INSTANCE_STATUS_DONE: "done",
}
_CAUSE = {
    "create": types.JOURNAL_CAUSE_CREATE,
    "event": types.JOURNAL_CAUSE_EVENT,
    "timer": types.JOURNAL_CAUSE_TIMER,
    "effect": types.JOURNAL_CAUSE_EFFECT,
    "delete": types.JOURNAL_CAUSE_DELETE,
}
_OUTCOME = {"accepted": types.JOURNAL_OUTCOME_ACCEPTED, "refused": types.JOURNAL_OUTCOME_REFUSED}
_SEVERITY = {"error": types.Finding.SEVERITY_ERROR, "warning": types.Finding.SEVERITY_WARNING}
_GENERATION_OUTCOME = {
    GenerationOutcome.COMPLETED: tokens.TokenEnd.OUTCOME_COMPLETED,
    GenerationOutcome.STOPPED: tokens.TokenEnd.OUTCOME_STOPPED,
    GenerationOutcome.FAILED: tokens.TokenEnd.OUTCOME_FAILED,
    GenerationOutcome.CANCELLED: tokens.TokenEnd.OUTCOME_CANCELLED,
}
_VIEW: dict[int, View] = {types.INSTANCE_VIEW_BASIC: View.BASIC, types.INSTANCE_VIEW_FULL: View.FULL}


def caller_of(ctx: CallContext) -> Caller:
    """Who asks the runtime, and for how long."""
    return Caller(ctx.identity, ctx.traceparent, ctx.deadline)


def key_of(ref: types.InstanceRef) -> InstanceKey:
    """The key a validated reference names."""
    return InstanceKey(ref.namespace, ref.machine_id, ref.instance_id)


def view_of(view: int, default: View) -> View:
    """The view asked for; ``default`` when it is unspecified."""
    return _VIEW.get(view, default)


def status_of(status: int) -> InstanceStatus | None:
    """The status a filter asks for; None: any."""
    return _STATUS_WANTED[status]


def watch_filter(wanted: instances.WatchFilter) -> WatchFilter:
    """The filter of a validated watch."""
    return WatchFilter(
        wanted.namespace,
        wanted.machine_id,
        tuple(wanted.state_ids),
        tuple(wanted.tags),
        dict(wanted.labels),
        status_of(wanted.status),
    )


def send_event(request: instances.SendEventRequest) -> SendEvent:
    """The command of a validated request."""
    ref = request.instance
    event = request.event
    return SendEvent(
        InstanceKey(ref.namespace, ref.machine_id, ref.instance_id),
        event.type,
        event.data_json,
        request.expected_version if request.HasField("expected_version") else None,
        request.request_id,
        request.create_if_missing,
        request.input_json,
        _VIEW.get(request.view, View.FULL),
    )


def interval_of(duration: Duration) -> timedelta:
    """The time span a message gives; what a timedelta cannot hold is read as the longest it can."""
    try:
        return duration.ToTimedelta()
    except (OverflowError, ValueError):
        return timedelta.max


def instance_ref(key: InstanceKey) -> types.InstanceRef:
    """The reference that names ``key``."""
    return types.InstanceRef(namespace=key.namespace, machine_id=key.machine_id, instance_id=key.instance_id)


def timestamp(at: datetime) -> Timestamp:
    """An aware instant as a message."""
    made = Timestamp()
    _set_instant(made, at)
    return made


def _set_instant(field: Timestamp, at: datetime) -> None:
    """What `Timestamp.FromDatetime` does to an aware instant, in a fifth of the time."""
    since = at - _EPOCH
    field.seconds = since.days * 86_400 + since.seconds
    field.nanos = since.microseconds * 1_000


def instance_state(state: InstanceState) -> types.InstanceState:
    """One stored snapshot."""
    made = types.InstanceState()
    _fill_state(made, state)
    return made


def _fill_state(made: types.InstanceState, state: InstanceState) -> None:
    """Set the fields of an empty message in place.

    A message that is given to another's constructor is copied, and every field that is given costs
    something, empty or not: with every answer this is several times as fast.
    """
    namespace, machine_id, instance_id = state.key
    instance = made.instance
    if namespace:
        instance.namespace = namespace
    instance.machine_id = machine_id
    instance.instance_id = instance_id
    made.uid = state.uid
    made.version = state.version
    made.machine_version = state.machine_version
    made.value_json = state.value_json
    made.status = _STATUS[state.status]
    _set_instant(made.create_time, state.created_at)
    _set_instant(made.update_time, state.updated_at)
    if state.context_json:
        made.context_json = state.context_json
    if state.allowed_events:
        made.allowed_events.extend(state.allowed_events)
    if state.tags:
        made.tags.extend(state.tags)
    if state.meta_json:
        made.meta_json = state.meta_json
    if state.labels:
        made.labels.update(state.labels)
    if state.output_json:
        made.output_json = state.output_json
    for effect in state.running_effects:
        made.running_effects.add(
            effect_id=effect.effect_id,
            type=effect.type,
            handler=effect.handler,
            attempt=effect.attempt,
            executing=effect.executing,
            create_time=timestamp(effect.created_at),
        )
    if state.evaluated_at is not None:
        _set_instant(made.evaluate_time, state.evaluated_at)


def accepted(answer: Accepted) -> instances.SendEventResponse:
    """The answer to an accepted event."""
    made = instances.SendEventResponse()
    fill_accepted(made, answer)
    return made


def fill_accepted(made: instances.SendEventResponse, answer: Accepted) -> None:
    """Put the answer to an accepted event into an empty message; see `_fill_state`."""
    _fill_state(made.state, answer.state)
    if answer.changed:
        made.changed = True
    if answer.replayed:
        made.replayed = True
    for effect in answer.effects:
        made.effects.append(journal_effect(effect))


def preview(shown: Preview) -> instances.PreviewEventResponse:
    """What an event would do."""
    made = instances.PreviewEventResponse(
        accepted=shown.accepted,
        state=instance_state(shown.state),
        changed=shown.changed,
        effects=[journal_effect(effect) for effect in shown.effects],
        reason=shown.reason,
        message=shown.message,
    )
    for each in shown.transitions:
        made.transitions.add(
            source_state_id=each.source,
            event_descriptor=each.event_type,
            target_state_ids=each.targets,
            guard=each.guard,
            passed=each.passed,
        )
    return made


def journal_effect(effect: JournalEffect) -> types.JournalEffect:
    """One effect or emitted event as it was asked for."""
    return types.JournalEffect(
        effect_id=effect.effect_id,
        type=effect.type,
        params_json=effect.params_json,
        emitted=effect.emitted,
    )


def journal_entry(entry: JournalEntry) -> types.JournalEntry:
    """The record of one attempt."""
    return types.JournalEntry(
        instance=instance_ref(entry.key),
        uid=entry.uid,
        seq=entry.seq,
        revision=entry.revision,
        cause=_CAUSE[entry.cause],
        event_type=entry.event_type,
        data_json=entry.data_json,
        actor=entry.actor,
        create_time=timestamp(entry.created_at),
        outcome=_OUTCOME[entry.outcome],
        reason=entry.reason,
        message=entry.message,
        from_version=entry.from_version,
        to_version=entry.to_version,
        from_value_json=entry.from_value_json,
        to_value_json=entry.to_value_json,
        effects=[journal_effect(effect) for effect in entry.effects],
        machine_version=entry.machine_version,
        expected_version=entry.expected_version,
        request_id=entry.request_id,
        traceparent=entry.traceparent,
        hash=entry.hash,
    )


def machine(record: MachineRecord) -> machines.Machine:
    """One version of a definition."""
    return machines.Machine(
        machine_id=record.machine_id,
        version=record.version,
        content_hash=record.content_hash,
        definition_json=record.definition_json,
        create_time=timestamp(record.created_at),
        description=record.description,
        event_types=record.event_types,
    )


def findings(found: Iterable[Finding]) -> list[types.Finding]:
    """Problems of a definition in their order, the first `MAX_FINDINGS` of them."""
    return [_finding(each) for _, each in zip(range(MAX_FINDINGS), found, strict=False)]


def _finding(finding: Finding) -> types.Finding:
    return types.Finding(
        code=finding.code,
        path=finding.path,
        message=finding.message,
        hint=finding.hint,
        severity=_SEVERITY[finding.severity],
        line=finding.line,
        column=finding.column,
    )


def watch_frame(frame: WatchFrame) -> instances.WatchFrame:
    """One step of a watch."""
    made = instances.WatchFrame(resume_token=frame.resume_token)
    if isinstance(frame, WatchTransition):
        made.transition.state.CopyFrom(instance_state(frame.state))
        made.transition.entry.CopyFrom(journal_entry(frame.entry))
        made.transition.changed = frame.changed
        made.transition.matches = frame.matches
    elif isinstance(frame, WatchSnapshot):
        made.snapshot.CopyFrom(instance_state(frame.state))
    elif isinstance(frame, WatchDeleted):
        made.deleted.instance.CopyFrom(instance_ref(frame.key))
        made.deleted.uid = frame.uid
        made.deleted.entry.CopyFrom(journal_entry(frame.entry))
    elif isinstance(frame, WatchGap):
        _fill_state(made.gap.state, frame.state)
        made.gap.previous_version = frame.previous_version
        made.gap.matches = frame.matches
    elif isinstance(frame, WatchTokens):
        made.tokens.instance.CopyFrom(instance_ref(frame.key))
        for one in frame.frames:
            _fill_token_frame(made.tokens.frames.add(), one)
    elif isinstance(frame, WatchProgress):
        made.progress.server_time.FromDatetime(frame.server_time)
    elif isinstance(frame, WatchClosing):
        made.closing.message = frame.message
        if frame.reconnect_delay is not None:
            made.closing.reconnect_delay.FromTimedelta(frame.reconnect_delay)
    else:
        made.synced.SetInParent()
    return made


def token_response(frames: Iterable[TokenFrame]) -> tokens.WatchTokensResponse:
    """Steps of a generation, in the message that carries them."""
    response = tokens.WatchTokensResponse()
    for frame in frames:
        _fill_token_frame(response.frames.add(), frame)
    return response


def _fill_token_frame(made: tokens.TokenFrame, frame: TokenFrame) -> None:
    """Write one step of a generation where it stays."""
    made.effect_id = frame.effect_id
    made.attempt = frame.attempt
    if frame.offset:
        made.offset = frame.offset
    made.next_offset = frame.next_offset
    body = frame.body
    if isinstance(body, str):
        # A provider may cut an emoji in two; half of one cannot travel, and its other half comes with the
        # next frame.
        made.text = body.encode("utf-8", "replace").decode() if not body.isascii() else body
    elif isinstance(body, TokenAttemptStarted):
        made.started.SetInParent()
        made.started.model = body.model
    else:
        made.end.CopyFrom(_token_end(body))


def _token_end(end: TokenEnd) -> tokens.TokenEnd:
    made = tokens.TokenEnd(
        outcome=_GENERATION_OUTCOME[end.outcome],
        finish_reason=end.finish_reason,
        model=end.model,
        error_message=end.error_message,
        error_reason=end.error_reason,
    )
    if end.usage is not None:
        made.usage.input_tokens = end.usage.input_tokens
        made.usage.output_tokens = end.usage.output_tokens
    return made
