"""The limits that the contract's field comments state, checked before a handler runs.

What depends on settings or on stored data (sizes of payloads, schemas, whether something exists) is the
runtime's to judge, because it has to be journaled. Here is what makes a request meaningless whatever is
stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from durachart.rpc.errors import Violation, invalid_request
from durachart.rpc.gen import effect_service_pb2 as effects
from durachart.rpc.gen import machine_service_pb2 as machine
from durachart.rpc.gen import state_machine_service_pb2 as instances
from durachart.rpc.gen import token_service_pb2 as tokens
from durachart.rpc.gen import types_pb2 as types

MAX_NAMESPACE_CHARS = 128
MAX_MACHINE_ID_CHARS = 128
MAX_INSTANCE_ID_CHARS = 256
MAX_EVENT_TYPE_CHARS = 256
MAX_REQUEST_ID_CHARS = 128
MAX_CORRELATION_ID_CHARS = 128
MAX_EVENTS = 1000
MAX_LABELS = 32
MAX_LABEL_CHARS = 128
MAX_WATCHED_INSTANCES = 1000
MAX_WANTED = 100
MAX_STATE_ID_CHARS = 1024
MAX_TAG_CHARS = 1024
MAX_FILTER_CHARS = 4096
MAX_HANDLERS = 100
MAX_HANDLER_CHARS = 128
MAX_WORKER_ID_CHARS = 128
MAX_LEASED = 1000
MAX_EFFECT_ID_CHARS = 128
MAX_LEASE_TOKEN_CHARS = 128
MAX_STEP_NAME_CHARS = 128
MAX_MODEL_CHARS = 256
SERVER_PREFIX = "server/"

_NAMESPACE = re.compile(r"[A-Za-z0-9._-]*\Z")
_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,62}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

Problems = list[Violation]


def check(request: Message) -> None:
    """Refuse a request whose fields break the contract.

    Args:
        request: Any request; one without rules passes.

    Raises:
        RpcError: REQUEST_INVALID with every violation, in field order.
    """
    rule = _RULES.get(type(request))
    if rule is None:
        return
    problems: Problems = []
    rule(request, problems)
    if problems:
        raise invalid_request(problems)


def _instance(ref: types.InstanceRef, present: bool, field: str, problems: Problems) -> None:
    if not present:
        problems.append(Violation(field, "is required"))
        return
    # Nearly every name is in order, and this is asked for every event: looked at once before it is explained.
    if namespace := ref.namespace:
        _namespace(namespace, f"{field}.namespace", problems)
    if not _in_order(machine_id := ref.machine_id, MAX_MACHINE_ID_CHARS):
        _name(machine_id, MAX_MACHINE_ID_CHARS, f"{field}.machine_id", problems)
    if not _in_order(instance_id := ref.instance_id, MAX_INSTANCE_ID_CHARS):
        _name(instance_id, MAX_INSTANCE_ID_CHARS, f"{field}.instance_id", problems)


def _in_order(name: str, most: int) -> bool:
    return 0 < len(name) <= most and name.isprintable()


def _namespace(namespace: str, field: str, problems: Problems) -> None:
    if namespace and (len(namespace) > MAX_NAMESPACE_CHARS or not _NAMESPACE.match(namespace)):
        problems.append(
            Violation(field, f"must be at most {MAX_NAMESPACE_CHARS} characters of A-Z a-z 0-9 . _ -")
        )


def _name(name: str, most: int, field: str, problems: Problems) -> None:
    if not 1 <= len(name) <= most:
        problems.append(Violation(field, f"must have 1 to {most} characters, has {len(name)}"))
    elif not name.isprintable() and _CONTROL.search(name):
        problems.append(Violation(field, "must not contain control characters"))


def _request_id(request_id: str, problems: Problems) -> None:
    if len(request_id) > MAX_REQUEST_ID_CHARS:
        text = f"must have at most {MAX_REQUEST_ID_CHARS} characters, has {len(request_id)}"
        problems.append(Violation("request_id", text))


def _enum(value: int, names: Mapping[int, Any], field: str, problems: Problems) -> None:
    if value not in names:
        problems.append(Violation(field, f"{value} is not a value this server knows"))


def _view(view: int, problems: Problems) -> None:
    _enum(view, _VIEWS, "view", problems)


def _at_least_zero(value: int, field: str, problems: Problems) -> None:
    if value < 0:
        problems.append(Violation(field, f"must be 0 or more, is {value}"))


def _create_instance(request: instances.CreateInstanceRequest, problems: Problems) -> None:
    _instance(request.instance, request.HasField("instance"), "instance", problems)
    _request_id(request.request_id, problems)
    _labels(request.labels, "labels", problems)
    _view(request.view, problems)


def _event_type(kind: str, problems: Problems) -> None:
    _name(kind, MAX_EVENT_TYPE_CHARS, "event.type", problems)
    if kind.startswith("xstate."):
        problems.append(
            Violation("event.type", 'must not begin with "xstate.", which belongs to the interpreter')
        )


def _send_event(request: instances.SendEventRequest, problems: Problems) -> None:
    _instance(request.instance, request.HasField("instance"), "instance", problems)
    _event_type(request.event.type, problems)
    if request.HasField("expected_version"):
        _at_least_zero(request.expected_version, "expected_version", problems)
    _request_id(request.request_id, problems)
    _view(request.view, problems)


def _send_events(request: instances.SendEventsRequest, problems: Problems) -> None:
    # Each of them is looked at alone: one that is malformed does not keep the others back.
    if not 1 <= len(request.requests) <= MAX_EVENTS:
        text = f"must have 1 to {MAX_EVENTS} entries, has {len(request.requests)}"
        problems.append(Violation("requests", text))


def _stream_events(request: instances.StreamEventsRequest, problems: Problems) -> None:
    # As above: of several events each is looked at alone.
    if not (count := len(request.events)):
        return
    if count > MAX_EVENTS:
        problems.append(Violation("events", f"must have at most {MAX_EVENTS} entries, has {count}"))
    if request.correlation_id or request.HasField("send_event"):
        problems.append(Violation("events", "give either `events` or one event, not both"))


def _preview_event(request: instances.PreviewEventRequest, problems: Problems) -> None:
    _instance(request.instance, request.HasField("instance"), "instance", problems)
    _event_type(request.event.type, problems)
    if request.HasField("version"):
        _at_least_zero(request.version, "version", problems)
    _view(request.view, problems)


def _delete_instance(request: instances.DeleteInstanceRequest, problems: Problems) -> None:
    _instance(request.instance, request.HasField("instance"), "instance", problems)
    if request.HasField("expected_version"):
        _at_least_zero(request.expected_version, "expected_version", problems)
    _request_id(request.request_id, problems)


def _get_state(request: instances.GetStateRequest, problems: Problems) -> None:
    _instance(request.instance, request.HasField("instance"), "instance", problems)
    _view(request.view, problems)


def _wanted(
    state_ids: Sequence[str], tags: Sequence[str], labels: Mapping[str, str], path: str, problems: Problems
) -> None:
    """What narrows a watch or a list."""
    for names, field, most in ((state_ids, "state_ids", MAX_STATE_ID_CHARS), (tags, "tags", MAX_TAG_CHARS)):
        if len(names) > MAX_WANTED:
            problems.append(
                Violation(path + field, f"must have at most {MAX_WANTED} entries, has {len(names)}")
            )
        elif any(not 1 <= len(name) <= most for name in names):
            problems.append(Violation(path + field, f"each must have 1 to {most} characters"))
    _labels(labels, path + "labels", problems)


def _labels(labels: Mapping[str, str], field: str, problems: Problems) -> None:
    if len(labels) > MAX_LABELS:
        problems.append(Violation(field, f"must have at most {MAX_LABELS} entries, has {len(labels)}"))
    for key, value in sorted(labels.items()):
        if not 1 <= len(key) <= MAX_LABEL_CHARS or len(value) > MAX_LABEL_CHARS:
            text = f"keys need 1 to {MAX_LABEL_CHARS} characters, values at most as many: {key[:40]!r}"
            problems.append(Violation(field, text))
            break


def _watch_state(request: instances.WatchStateRequest, problems: Problems) -> None:
    filtered = request.HasField("filter")
    if filtered == bool(request.instances):
        problems.append(Violation("instances", "give either `instances` or `filter`, one of them"))
    if len(request.instances) > MAX_WATCHED_INSTANCES:
        text = (
            f"must have at most {MAX_WATCHED_INSTANCES} entries, has {len(request.instances)}; use `filter`"
        )
        problems.append(Violation("instances", text))
    for index, ref in enumerate(request.instances[:MAX_WATCHED_INSTANCES]):
        _instance(ref, True, f"instances[{index}]", problems)
        if problems:
            break
    if filtered:
        _namespace(request.filter.namespace, "filter.namespace", problems)
        _name(request.filter.machine_id, MAX_MACHINE_ID_CHARS, "filter.machine_id", problems)
        _wanted(request.filter.state_ids, request.filter.tags, request.filter.labels, "filter.", problems)
        _enum(request.filter.status, _STATUSES, "filter.status", problems)
        if request.end_on_final:
            problems.append(
                Violation("end_on_final", "works with `instances` only: a filter has no last instance")
            )
    if request.progress_interval.seconds < 0 or request.progress_interval.nanos < 0:
        problems.append(Violation("progress_interval", "must not be negative"))
    _view(request.view, problems)


def _list_instances(request: instances.ListInstancesRequest, problems: Problems) -> None:
    _namespace(request.namespace, "namespace", problems)
    if request.machine_id:
        _name(request.machine_id, MAX_MACHINE_ID_CHARS, "machine_id", problems)
    _enum(request.status, _STATUSES, "status", problems)
    _at_least_zero(request.page_size, "page_size", problems)
    _view(request.view, problems)
    _wanted(request.state_ids, request.tags, request.labels, "", problems)
    if len(request.filter) > MAX_FILTER_CHARS:
        problems.append(
            Violation("filter", f"must have at most {MAX_FILTER_CHARS} characters, has {len(request.filter)}")
        )


def _list_journal(request: instances.ListJournalRequest, problems: Problems) -> None:
    _instance(request.instance, request.HasField("instance"), "instance", problems)
    _at_least_zero(request.page_size, "page_size", problems)


def _get_machine(request: machine.GetMachineRequest, problems: Problems) -> None:
    _name(request.machine_id, MAX_MACHINE_ID_CHARS, "machine_id", problems)
    _at_least_zero(request.version, "version", problems)


def _list_machines(request: machine.ListMachinesRequest, problems: Problems) -> None:
    _at_least_zero(request.page_size, "page_size", problems)


def _watch_tokens(request: tokens.WatchTokensRequest, problems: Problems) -> None:
    _instance(request.instance, request.HasField("instance"), "instance", problems)
    _at_least_zero(request.attempt, "attempt", problems)
    _at_least_zero(request.offset, "offset", problems)
    if request.attempt == 0 and request.offset > 0:
        problems.append(Violation("offset", "must be 0 unless `attempt` says in which attempt it counts"))


def _stop_generation(request: tokens.StopGenerationRequest, problems: Problems) -> None:
    _instance(request.instance, request.HasField("instance"), "instance", problems)
    _request_id(request.request_id, problems)


def check_first_stream_request(request: effects.StreamEffectsRequest | None) -> effects.StreamEffectsRequest:
    """The request that opens a stream of effects; None: the stream ended without one.

    Raises:
        RpcError: REQUEST_INVALID: it does not say who takes what.
    """
    request = request or effects.StreamEffectsRequest()
    problems: Problems = []
    _worker(request.handlers, request.worker_id, problems)
    if problems:
        raise invalid_request(problems)
    return request


def check_first_append(request: tokens.AppendTokensRequest | None) -> tokens.AppendTokensRequest:
    """The request that begins to bring text; None: the stream ended without one.

    Raises:
        RpcError: REQUEST_INVALID: it does not say whose text it is.
    """
    request = request or tokens.AppendTokensRequest()
    problems: Problems = []
    _leased_effect(request, problems)
    if len(request.model) > MAX_MODEL_CHARS:
        problems.append(Violation("model", f"must have at most {MAX_MODEL_CHARS} characters"))
    if problems:
        raise invalid_request(problems)
    return request


def _worker(handlers: Sequence[str], worker_id: str, problems: Problems) -> None:
    if not 1 <= len(handlers) <= MAX_HANDLERS:
        problems.append(Violation("handlers", f"must have 1 to {MAX_HANDLERS} entries, has {len(handlers)}"))
    for index, handler in enumerate(handlers[:MAX_HANDLERS]):
        _name(handler, MAX_HANDLER_CHARS, f"handlers[{index}]", problems)
        if problems:
            break
    _name(worker_id, MAX_WORKER_ID_CHARS, "worker_id", problems)
    if worker_id.startswith(SERVER_PREFIX):
        problems.append(
            Violation(
                "worker_id", f"must not begin with {SERVER_PREFIX!r}, which the server's own workers do"
            )
        )


def _lease_effects(request: effects.LeaseEffectsRequest, problems: Problems) -> None:
    _worker(request.handlers, request.worker_id, problems)
    if not 0 <= request.max_effects <= MAX_LEASED:
        problems.append(Violation("max_effects", f"must be 0 to {MAX_LEASED}, is {request.max_effects}"))


def _stream_effects(request: effects.StreamEffectsRequest, problems: Problems) -> None:
    _at_least_zero(request.credits, "credits", problems)


def _effect(request: Any, problems: Problems) -> None:
    _instance(request.instance, request.HasField("instance"), "instance", problems)
    _name(request.effect_id, MAX_EFFECT_ID_CHARS, "effect_id", problems)


def _leased_effect(request: Any, problems: Problems) -> None:
    _effect(request, problems)
    _name(request.lease_token, MAX_LEASE_TOKEN_CHARS, "lease_token", problems)


def _effect_error(error: effects.EffectError, field: str, problems: Problems) -> None:
    if not _REASON.match(error.reason):
        text = (
            "must be a word for programs like CARD_DECLINED: a capital letter, then at most 62 of A-Z 0-9 _"
        )
        problems.append(Violation(f"{field}.reason", text))
    if "\0" in error.message:
        problems.append(Violation(f"{field}.message", "must not contain U+0000"))


def _failed_effect(
    request: effects.FailEffectRequest | effects.RejectEffectRequest, problems: Problems
) -> None:
    _leased_effect(request, problems)
    _effect_error(request.error, "error", problems)


def _record_effect_step(request: effects.RecordEffectStepRequest, problems: Problems) -> None:
    _leased_effect(request, problems)
    step = request.step
    _name(step.name, MAX_STEP_NAME_CHARS, "step.name", problems)
    failed = step.state == effects.EffectStep.STATE_FAILED
    if step.state == effects.EffectStep.STATE_UNSPECIFIED:
        problems.append(Violation("step.state", "is required"))
    _enum(step.state, _STEP_STATES, "step.state", problems)
    if step.output_json and step.state != effects.EffectStep.STATE_COMPLETED:
        problems.append(Violation("step.output_json", "belongs to a step that completed"))
    if failed:
        _effect_error(step.error, "step.error", problems)
    elif step.HasField("error"):
        problems.append(Violation("step.error", "belongs to a step that failed"))


def _list_effects(request: effects.ListEffectsRequest, problems: Problems) -> None:
    _namespace(request.namespace, "namespace", problems)
    if request.machine_id:
        _name(request.machine_id, MAX_MACHINE_ID_CHARS, "machine_id", problems)
    if request.instance_id:
        _name(request.instance_id, MAX_INSTANCE_ID_CHARS, "instance_id", problems)
        if not request.machine_id:
            problems.append(Violation("machine_id", "is required with `instance_id`"))
    if request.handler:
        _name(request.handler, MAX_HANDLER_CHARS, "handler", problems)
    _enum(request.state, _EFFECT_STATES, "state", problems)
    _at_least_zero(request.page_size, "page_size", problems)


def _retry_effect(request: effects.RetryEffectRequest, problems: Problems) -> None:
    _effect(request, problems)
    _request_id(request.request_id, problems)


_EFFECT_STATES = effects.EffectState.DESCRIPTOR.values_by_number
_STEP_STATES = effects.EffectStep.State.DESCRIPTOR.values_by_number
_VIEWS = types.InstanceView.DESCRIPTOR.values_by_number
_STATUSES = types.InstanceStatus.DESCRIPTOR.values_by_number

_RULES: dict[type[Message], Callable[[Any, Problems], None]] = {
    instances.CreateInstanceRequest: _create_instance,
    instances.SendEventRequest: _send_event,
    instances.SendEventsRequest: _send_events,
    instances.StreamEventsRequest: _stream_events,
    instances.PreviewEventRequest: _preview_event,
    instances.DeleteInstanceRequest: _delete_instance,
    instances.GetStateRequest: _get_state,
    instances.WatchStateRequest: _watch_state,
    instances.ListInstancesRequest: _list_instances,
    instances.ListJournalRequest: _list_journal,
    machine.GetMachineRequest: _get_machine,
    machine.ListMachinesRequest: _list_machines,
    tokens.WatchTokensRequest: _watch_tokens,
    tokens.StopGenerationRequest: _stop_generation,
    effects.LeaseEffectsRequest: _lease_effects,
    effects.StreamEffectsRequest: _stream_effects,
    effects.CompleteEffectRequest: _leased_effect,
    effects.FailEffectRequest: _failed_effect,
    effects.RejectEffectRequest: _failed_effect,
    effects.HeartbeatEffectRequest: _leased_effect,
    effects.RecordEffectStepRequest: _record_effect_step,
    effects.GetEffectRequest: _effect,
    effects.ListEffectsRequest: _list_effects,
    effects.RetryEffectRequest: _retry_effect,
}
