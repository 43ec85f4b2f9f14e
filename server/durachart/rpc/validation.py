"""The limits that the contract's field comments state, checked before a handler runs.

What depends on settings or on stored data (sizes of payloads, schemas, whether something exists) is the
runtime's to judge, because it has to be journaled. Here is what makes a request meaningless whatever is
stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message

from durachart.rpc.errors import Violation, invalid_request
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

_NAMESPACE = re.compile(r"[A-Za-z0-9._-]*\Z")
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
    _namespace(ref.namespace, f"{field}.namespace", problems)
    _name(ref.machine_id, MAX_MACHINE_ID_CHARS, f"{field}.machine_id", problems)
    _name(ref.instance_id, MAX_INSTANCE_ID_CHARS, f"{field}.instance_id", problems)


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
    if len(request.labels) > MAX_LABELS:
        problems.append(
            Violation("labels", f"must have at most {MAX_LABELS} entries, has {len(request.labels)}")
        )
    for key, value in sorted(request.labels.items()):
        if not 1 <= len(key) <= MAX_LABEL_CHARS or len(value) > MAX_LABEL_CHARS:
            text = f"keys need 1 to {MAX_LABEL_CHARS} characters, values at most as many: {key[:40]!r}"
            problems.append(Violation("labels", text))
            break
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


_VIEWS = types.InstanceView.DESCRIPTOR.values_by_number
_STATUSES = types.InstanceStatus.DESCRIPTOR.values_by_number

_RULES: dict[type[Message], Callable[[Any, Problems], None]] = {
    instances.CreateInstanceRequest: _create_instance,
    instances.SendEventRequest: _send_event,
    instances.SendEventsRequest: _send_events,
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
}
