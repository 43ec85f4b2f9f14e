"""The limits that the contract states beside each field."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest

from durachart.rpc.gen import machine_service_pb2 as machines
from durachart.rpc.gen import state_machine_service_pb2 as instances
from durachart.rpc.gen import token_service_pb2 as tokens
from durachart.rpc.gen import types_pb2 as types
from durachart.rpc.status import RpcError
from durachart.rpc.validation import check


def ref(namespace: str = "", machine_id: str = "order", instance_id: str = "o-1") -> types.InstanceRef:
    return types.InstanceRef(namespace=namespace, machine_id=machine_id, instance_id=instance_id)


def event(instance: types.InstanceRef | None = None, **fields: object) -> instances.SendEventRequest:
    given = {"event": types.Event(type="SUBMIT"), **fields}
    return instances.SendEventRequest(instance=instance or ref(), **given)


def violated(request: Message) -> list[str]:
    with pytest.raises(RpcError) as refused:
        check(request)
    assert refused.value.reason == "REQUEST_INVALID"
    (bad,) = [detail for detail in refused.value.details if isinstance(detail, BadRequest)]
    return [violation.field for violation in bad.field_violations]


@pytest.mark.parametrize(
    "request_",
    [
        event(),
        event(ref("a" * 128, "m" * 128, "ü" * 256)),
        event(ref(namespace="A-z_0.9")),
        event(event=types.Event(type="e" * 256), request_id="r" * 128, expected_version=0),
        event(event=types.Event(type="xstate")),
        instances.CreateInstanceRequest(instance=ref(), labels={str(n): "v" * 128 for n in range(32)}),
        instances.GetStateRequest(instance=ref(), view=types.INSTANCE_VIEW_BASIC),
        instances.WatchStateRequest(instances=[ref()] * 1000, end_on_final=True),
        instances.WatchStateRequest(filter=instances.WatchFilter(machine_id="order")),
        instances.ListInstancesRequest(),
        instances.ListInstancesRequest(page_size=5000, status=types.INSTANCE_STATUS_DONE),
        instances.ListJournalRequest(instance=ref()),
        instances.SendEventsRequest(requests=[instances.SendEventRequest()] * 1000),
        instances.PreviewEventRequest(instance=ref(), event=types.Event(type="A"), version=0),
        instances.DeleteInstanceRequest(instance=ref(), expected_version=0, request_id="r" * 128),
        machines.GetMachineRequest(machine_id="order", version=1),
        machines.ListMachinesRequest(),
        machines.PublishMachineRequest(),
        tokens.WatchTokensRequest(instance=ref(), attempt=2, offset=7),
        tokens.StopGenerationRequest(instance=ref()),
    ],
)
def test_what_the_contract_allows_passes(request_: Message) -> None:
    check(request_)


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (instances.SendEventRequest(event=types.Event(type="A")), ["instance"]),
        (event(ref(namespace="a" * 129)), ["instance.namespace"]),
        (event(ref(namespace="a/b")), ["instance.namespace"]),
        (event(ref(namespace="a\n")), ["instance.namespace"]),
        (event(ref(machine_id="")), ["instance.machine_id"]),
        (event(ref(machine_id="m" * 129)), ["instance.machine_id"]),
        (event(ref(instance_id="")), ["instance.instance_id"]),
        (event(ref(instance_id="i" * 257)), ["instance.instance_id"]),
        (event(ref(instance_id="a\x00")), ["instance.instance_id"]),
        (event(ref(instance_id="a\x85")), ["instance.instance_id"]),
        (event(event=types.Event()), ["event.type"]),
        (event(event=types.Event(type="e" * 257)), ["event.type"]),
        (event(event=types.Event(type="xstate.init")), ["event.type"]),
        (event(expected_version=-1), ["expected_version"]),
        (event(request_id="r" * 129), ["request_id"]),
        (event(view=7), ["view"]),
        (instances.CreateInstanceRequest(instance=ref(), labels={str(n): "" for n in range(33)}), ["labels"]),
        (instances.CreateInstanceRequest(instance=ref(), labels={"": "v"}), ["labels"]),
        (instances.CreateInstanceRequest(instance=ref(), labels={"k": "v" * 129}), ["labels"]),
        (instances.WatchStateRequest(), ["instances"]),
        (
            instances.WatchStateRequest(instances=[ref()], filter=instances.WatchFilter(machine_id="m")),
            ["instances"],
        ),
        (instances.WatchStateRequest(instances=[ref()] * 1001), ["instances"]),
        (instances.WatchStateRequest(instances=[ref(), ref(machine_id="")]), ["instances[1].machine_id"]),
        (instances.WatchStateRequest(filter=instances.WatchFilter()), ["filter.machine_id"]),
        (
            instances.WatchStateRequest(filter=instances.WatchFilter(machine_id="m"), end_on_final=True),
            ["end_on_final"],
        ),
        (
            instances.WatchStateRequest(instances=[ref()], progress_interval=Duration(seconds=-1)),
            ["progress_interval"],
        ),
        (instances.ListInstancesRequest(page_size=-1), ["page_size"]),
        (instances.ListInstancesRequest(namespace="a b", status=9), ["namespace", "status"]),
        (instances.SendEventsRequest(), ["requests"]),
        (instances.SendEventsRequest(requests=[event()] * 1001), ["requests"]),
        (instances.StreamEventsRequest(events=[instances.StreamEvent()] * 1001), ["events"]),
        (
            instances.StreamEventsRequest(events=[instances.StreamEvent()], correlation_id="a"),
            ["events"],
        ),
        (
            instances.StreamEventsRequest(events=[instances.StreamEvent()], send_event=event()),
            ["events"],
        ),
        (
            instances.PreviewEventRequest(instance=ref(), version=-1, view=9),
            ["event.type", "version", "view"],
        ),
        (instances.PreviewEventRequest(event=types.Event(type="A")), ["instance"]),
        (instances.DeleteInstanceRequest(expected_version=-1), ["instance", "expected_version"]),
        (instances.DeleteInstanceRequest(instance=ref(), request_id="r" * 129), ["request_id"]),
        (instances.ListJournalRequest(), ["instance"]),
        (instances.ListJournalRequest(instance=ref(), page_size=-5), ["page_size"]),
        (machines.GetMachineRequest(), ["machine_id"]),
        (machines.GetMachineRequest(machine_id="m", version=-1), ["version"]),
        (machines.ListMachinesRequest(page_size=-1), ["page_size"]),
        (tokens.WatchTokensRequest(instance=ref(), offset=5), ["offset"]),
        (tokens.WatchTokensRequest(instance=ref(), attempt=-1, offset=-1), ["attempt", "offset"]),
        (tokens.StopGenerationRequest(), ["instance"]),
        (tokens.StopGenerationRequest(instance=ref(), request_id="r" * 129), ["request_id"]),
    ],
)
def test_what_the_contract_forbids_is_named(request_: Message, fields: list[str]) -> None:
    assert violated(request_) == fields
