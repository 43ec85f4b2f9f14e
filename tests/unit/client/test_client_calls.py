"""Requests carry what was asked; answers come back as Python values."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from durachart_client import Client, InstanceRef
from durachart_client.gen import machine_service_pb2, state_machine_service_pb2, token_service_pb2, types_pb2
from tests.unit.client.scripted import SERVING, Server, state


async def test_create_sends_input_and_labels_and_returns_a_parsed_state(
    client: Client, server: Server
) -> None:
    server.script["CreateInstance"] = lambda request, context: (
        state_machine_service_pb2.CreateInstanceResponse(
            state=state(value={"paying": "card"}, context={"total": 9007199254740993}, allowed_events=["PAY"])
        )
    )
    created = await client.create("order", "o-1", {"total": 1.5}, labels={"tenant": "a"})
    request = server.requests["CreateInstance"][0]
    assert json.loads(request.input_json) == {"total": 1.5}
    assert dict(request.labels) == {"tenant": "a"}
    assert created.replayed is False
    assert created.state.instance == InstanceRef("order", "o-1")
    assert created.state.value == {"paying": "card"}
    assert created.state.context == {"total": 9007199254740993}, "integers above 2^53 keep every digit"
    assert created.state.can("PAY")
    assert created.state.created_at == datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


async def test_send_carries_data_version_and_request_id(client: Client, server: Server) -> None:
    server.script["SendEvent"] = lambda request, context: state_machine_service_pb2.SendEventResponse(
        state=state(1, value="paid"),
        changed=True,
        effects=[types_pb2.JournalEffect(effect_id="e", type="mail", params_json='{"to":"ann"}')],
    )
    accepted = await client.send(
        "order", "o-1", "PAY", {"by": "ann"}, expected_version=0, request_id="r1", view="basic"
    )
    request = server.requests["SendEvent"][0]
    assert (request.event.type, json.loads(request.event.data_json)) == ("PAY", {"by": "ann"})
    assert request.HasField("expected_version")
    assert request.expected_version == 0, "version 0 is a version"
    assert request.request_id == "r1"
    assert request.view == types_pb2.INSTANCE_VIEW_BASIC
    assert (accepted.state.value, accepted.state.version, accepted.changed) == ("paid", 1, True)
    assert accepted.effects[0].params == {"to": "ann"}


async def test_send_without_version_sends_none(client: Client, server: Server) -> None:
    server.script["SendEvent"] = lambda request, context: state_machine_service_pb2.SendEventResponse(
        state=state()
    )
    await client.send("order", "o-1", "PAY", create_if_missing=True, input={"a": 1})
    request = server.requests["SendEvent"][0]
    assert not request.HasField("expected_version")
    assert request.event.data_json == ""
    assert (request.create_if_missing, request.input_json) == (True, '{"a":1}')


async def test_every_write_gets_a_request_id_of_its_own(client: Client, server: Server) -> None:
    server.script["SendEvent"] = lambda request, context: state_machine_service_pb2.SendEventResponse(
        state=state()
    )
    await client.send("order", "o-1", "PAY")
    await client.send("order", "o-1", "PAY")
    first, second = (request.request_id for request in server.requests["SendEvent"])
    assert first
    assert second
    assert first != second


async def test_namespace_and_metadata_of_the_client_go_with_every_call(server: Server, proxy) -> None:
    server.script["GetState"] = lambda request, context: state_machine_service_pb2.GetStateResponse(
        state=state()
    )
    tokens = iter(["one", "two"])
    async with Client(
        f"127.0.0.1:{proxy.port}",
        namespace="eu",
        metadata=lambda: {"authorization": f"Bearer {next(tokens)}"},
    ) as client:
        await client.get("order", "o-1")
        await client.get("order", "o-1", namespace="us")
    assert [request.instance.namespace for request in server.requests["GetState"]] == ["eu", "us"]
    assert [metadata["authorization"] for metadata in server.metadata] == ["Bearer one", "Bearer two"]


async def test_basic_view_has_no_context(client: Client, server: Server) -> None:
    bare = state()
    bare.context_json = ""
    bare.ClearField("evaluate_time")
    server.script["GetState"] = lambda request, context: state_machine_service_pb2.GetStateResponse(
        state=bare
    )
    found = await client.get("order", "o-1", view="basic")
    assert found.context is None
    assert found.evaluated_at is None
    assert found.meta == {}


async def test_listings_follow_page_tokens_lazily(client: Client, server: Server) -> None:
    def page(request, context):
        number = int(request.page_token or 0)
        answer = state_machine_service_pb2.ListJournalResponse(
            entries=[types_pb2.JournalEntry(seq=number * 2 + one + 1, event_type="PAY") for one in range(2)]
        )
        if number < 2:
            answer.next_page_token = str(number + 1)
        return answer

    server.script["ListJournal"] = page
    assert [entry.seq async for entry in client.journal("order", "o-1")] == [1, 2, 3, 4, 5, 6]
    assert len(server.requests["ListJournal"]) == 3
    async for entry in client.journal("order", "o-1", page_size=2):
        if entry.seq == 2:
            break
    assert len(server.requests["ListJournal"]) == 4, "a page is fetched when it is asked for"
    pages = client.journal("order", "o-1", page_token="2", newest_first=True).pages()
    assert [(len(page.items), page.next_page_token) async for page in pages] == [(2, "")]
    assert server.requests["ListJournal"][-1].newest_first


async def test_journal_entries_are_parsed(client: Client, server: Server) -> None:
    entry = types_pb2.JournalEntry(
        instance=types_pb2.InstanceRef(machine_id="order", instance_id="o-1"),
        seq=2,
        cause=types_pb2.JOURNAL_CAUSE_TIMER,
        outcome=types_pb2.JOURNAL_OUTCOME_REFUSED,
        reason="GUARD_REJECTED",
        data_json='{"a":[1]}',
        from_value_json='"draft"',
        to_value_json='"draft"',
        expected_version=0,
    )
    server.script["ListJournal"] = lambda request, context: state_machine_service_pb2.ListJournalResponse(
        entries=[entry, types_pb2.JournalEntry(cause=99)]
    )
    read, newer = [entry async for entry in client.journal("order", "o-1")]
    assert (read.cause, read.outcome, read.reason) == ("timer", "refused", "GUARD_REJECTED")
    assert (read.data, read.from_value, read.expected_version) == ({"a": [1]}, "draft", 0)
    assert (newer.cause, newer.expected_version, newer.data) == ("unknown", None, None)


async def test_instances_are_filtered_by_the_server(client: Client, server: Server) -> None:
    server.script["ListInstances"] = lambda request, context: state_machine_service_pb2.ListInstancesResponse(
        instances=[state()]
    )
    found = [one async for one in client.instances("order", status="done", view="full", page_size=7)]
    assert len(found) == 1
    request = server.requests["ListInstances"][0]
    assert (request.machine_id, request.status, request.view, request.page_size) == (
        "order",
        types_pb2.INSTANCE_STATUS_DONE,
        types_pb2.INSTANCE_VIEW_FULL,
        7,
    )


async def test_publish_keeps_the_text_and_validate_returns_findings(client: Client, server: Server) -> None:
    finding = types_pb2.Finding(code="target_unknown", path="/machine", message="m", hint="h", severity=2)
    server.script["PublishMachine"] = lambda request, context: machine_service_pb2.PublishMachineResponse(
        machine=machine_service_pb2.Machine(machine_id="order", version=3), created=True, warnings=[finding]
    )
    server.script["ValidateMachine"] = lambda request, context: machine_service_pb2.ValidateMachineResponse(
        valid=False, findings=[finding]
    )
    text = '{"machine": {"id": "order"}}'
    published = await client.publish(text)
    assert server.requests["PublishMachine"][0].definition_json == text
    assert (published.machine.version, published.created) == (3, True)
    assert published.warnings[0].severity == "warning"
    checked = await client.validate({"machine": {"id": "order"}})
    assert (checked.valid, checked.findings[0].code) == (False, "target_unknown")


async def test_machine_and_machines(client: Client, server: Server) -> None:
    server.script["GetMachine"] = lambda request, context: machine_service_pb2.GetMachineResponse(
        machine=machine_service_pb2.Machine(
            machine_id="order", version=request.version, definition_json='{"a":1}'
        )
    )
    server.script["ListMachines"] = lambda request, context: machine_service_pb2.ListMachinesResponse(
        machines=[machine_service_pb2.Machine(machine_id="order", version=2, event_types=["PAY"])]
    )
    assert (await client.machine("order", 2)).definition == {"a": 1}
    assert [(one.machine_id, one.definition, one.event_types) async for one in client.machines()] == [
        ("order", None, ("PAY",))
    ]


async def test_stop_generation(client: Client, server: Server) -> None:
    server.script["StopGeneration"] = lambda request, context: token_service_pb2.StopGenerationResponse(
        state=state(), stopped=True, effect_id="e1"
    )
    stopped = await client.stop_generation("canvas", "c-1")
    assert (stopped.stopped, stopped.effect_id) == (True, "e1")
    assert server.requests["StopGeneration"][0].request_id


async def test_health_is_asked_of_the_standard_service(client: Client, server: Server) -> None:
    server.script["Check"] = lambda request, context: SERVING
    assert await client.health(timeout=timedelta(seconds=30)) is True


async def test_values_json_has_no_form_for_are_refused_before_they_are_sent(client: Client) -> None:
    with pytest.raises(ValueError, match="JSON"):
        await client.send("order", "o-1", "PAY", {"amount": float("nan")})


async def test_a_client_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await Client().get("order", "o-1")


async def test_closing_twice_and_opening_again_work(proxy, server: Server) -> None:
    server.script["GetState"] = lambda request, context: state_machine_service_pb2.GetStateResponse(
        state=state()
    )
    client = Client(f"127.0.0.1:{proxy.port}")
    async with client:
        await client.close()
    async with client:
        assert (await client.get("order", "o-1")).version == 0
