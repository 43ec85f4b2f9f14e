"""Every reason of the service arrives as its own exception, with data; text is never read."""

import inspect
import socket
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from durachart_client import Client, InstanceRef, RetryPolicy, errors
from durachart_client.gen import errors_pb2, types_pb2
from tests.unit.client.scripted import Proxy, Server, refuse

REF = types_pb2.InstanceRef(namespace="eu", machine_id="order", instance_id="o-1")
# Reasons of calls this client does not make, or that nobody can act on but by reading them.
UNTYPED = {
    "COMPRESSION_UNSUPPORTED",
    "INTERNAL",
    "LEASE_LOST",
    "MESSAGE_MALFORMED",
    "METHOD_UNKNOWN",
    "SERVICE_UNKNOWN",
}
KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.ServerError) and kind.REASON
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.REASON)
async def test_each_reason_has_its_class(
    proxy: Proxy, server: Server, kind: type[errors.ServerError]
) -> None:
    server.script["GetState"] = lambda request, context: refuse(
        context, grpc.StatusCode[kind.CODE], kind.REASON, message="what happened", metadata={"where": "here"}
    )
    async with Client(f"127.0.0.1:{proxy.port}", retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(kind) as caught:
            await client.get("order", "o-1")
    assert type(caught.value) is kind
    assert (caught.value.reason, caught.value.code) == (kind.REASON, kind.CODE)
    assert str(caught.value) == "what happened"
    assert caught.value.metadata == {"where": "here"}


def test_every_documented_reason_has_a_class(repository: Path) -> None:
    pages = set((repository / "docs" / "errors").glob("*.md")) - {
        repository / "docs" / "errors" / "README.md"
    }
    # Why an effect ended comes as data, never as a call's error.
    documented = {
        page.stem for page in pages if "Why an effect ended" not in page.read_text(encoding="utf-8")
    }
    assert documented - UNTYPED <= {kind.REASON for kind in KINDS}


async def test_a_refusal_says_state_and_what_would_be_allowed(client: Client, server: Server) -> None:
    refusal = errors_pb2.EventRefusal(
        instance=REF,
        event_type="SUBMIT",
        value_json='{"a":"b"}',
        version=4,
        allowed_events=["ADD", "CANCEL"],
        guards=["hasItems"],
    )
    server.script["SendEvent"] = lambda request, context: refuse(
        context, grpc.StatusCode.FAILED_PRECONDITION, "GUARD_REJECTED", refusal
    )
    with pytest.raises(errors.GuardRejected) as caught:
        await client.send("order", "o-1", "SUBMIT", request_id="r1")
    error = caught.value
    assert error.instance == InstanceRef("order", "o-1", "eu")
    assert (error.event_type, error.value, error.version) == ("SUBMIT", {"a": "b"}, 4)
    assert error.allowed_events == ("ADD", "CANCEL")
    assert error.guards == ("hasItems",)
    assert error.request_id == "r1"
    assert not error.replayed


async def test_a_recorded_refusal_says_that_it_is_one(client: Client, server: Server) -> None:
    server.script["SendEvent"] = lambda request, context: refuse(
        context, grpc.StatusCode.FAILED_PRECONDITION, "EVENT_NOT_ALLOWED", metadata={"replayed": "true"}
    )
    with pytest.raises(errors.EventNotAllowed) as caught:
        await client.send("order", "o-1", "PAY")
    assert caught.value.replayed


async def test_a_conflict_says_expected_and_found(client: Client, server: Server) -> None:
    conflict = errors_pb2.VersionConflict(
        instance=REF, expected_version=0, actual_version=3, value_json='"paid"'
    )
    server.script["SendEvent"] = lambda request, context: refuse(
        context, grpc.StatusCode.ABORTED, "VERSION_CONFLICT", conflict
    )
    with pytest.raises(errors.VersionConflict) as caught:
        await client.send("order", "o-1", "PAY", expected_version=0)
    assert (caught.value.expected, caught.value.actual, caught.value.value) == (0, 3, "paid")


async def test_an_invalid_payload_lists_violations(client: Client, server: Server) -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="/price", description="is not a number")
    server.script["SendEvent"] = lambda request, context: refuse(
        context, grpc.StatusCode.INVALID_ARGUMENT, "PAYLOAD_INVALID", bad
    )
    with pytest.raises(errors.PayloadInvalid) as caught:
        await client.send("order", "o-1", "PAY")
    assert caught.value.violations == (errors.Violation("/price", "is not a number"),)


async def test_an_invalid_definition_lists_findings(client: Client, server: Server) -> None:
    problems = errors_pb2.DefinitionProblems(
        findings=[types_pb2.Finding(code="invoke", path="/machine/invoke", message="m", hint="h", severity=1)]
    )
    server.script["PublishMachine"] = lambda request, context: refuse(
        context, grpc.StatusCode.INVALID_ARGUMENT, "DEFINITION_INVALID", problems
    )
    with pytest.raises(errors.DefinitionInvalid) as caught:
        await client.publish("{}")
    assert [(one.code, one.path, one.severity) for one in caught.value.findings] == [
        ("invoke", "/machine/invoke", "error")
    ]


async def test_not_found_names_the_resource(client: Client, server: Server) -> None:
    resource = error_details_pb2.ResourceInfo(resource_type="instance", resource_name="order/o-9")
    server.script["GetState"] = lambda request, context: refuse(
        context, grpc.StatusCode.NOT_FOUND, "INSTANCE_NOT_FOUND", resource
    )
    with pytest.raises(errors.NotFound) as caught:
        await client.get("order", "o-9")
    assert isinstance(caught.value, errors.InstanceNotFound)
    assert (caught.value.resource_type, caught.value.resource_name) == ("instance", "order/o-9")


async def test_a_reason_of_a_newer_server_is_the_base_class_with_its_reason(
    client: Client, server: Server
) -> None:
    server.script["GetState"] = lambda request, context: refuse(
        context, grpc.StatusCode.FAILED_PRECONDITION, "MOON_TOO_LOW", message="wait"
    )
    with pytest.raises(errors.ServerError) as caught:
        await client.get("order", "o-1")
    assert type(caught.value) is errors.ServerError
    assert (caught.value.reason, caught.value.code) == ("MOON_TOO_LOW", "FAILED_PRECONDITION")


async def test_reasons_of_another_domain_are_not_ours(client: Client, server: Server) -> None:
    server.script["GetState"] = lambda request, context: refuse(
        context, grpc.StatusCode.FAILED_PRECONDITION, "GUARD_REJECTED", domain="example.com"
    )
    with pytest.raises(errors.ServerError) as caught:
        await client.get("order", "o-1")
    assert type(caught.value) is errors.ServerError
    assert caught.value.reason == ""


async def test_errors_without_details_are_told_by_their_code(client: Client, server: Server) -> None:
    server.script["GetState"] = lambda request, context: refuse(context, grpc.StatusCode.PERMISSION_DENIED)
    with pytest.raises(errors.Forbidden):
        await client.get("order", "o-1")
    server.script["GetState"] = lambda request, context: refuse(
        context, grpc.StatusCode.INTERNAL, message="id 7"
    )
    with pytest.raises(errors.ServerError, match="id 7"):
        await client.get("order", "o-1")


async def test_details_a_proxy_has_mangled_leave_code_and_message(client: Client, server: Server) -> None:
    async def fail(request, context):
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff"),))
        await context.abort(grpc.StatusCode.NOT_FOUND, "not here")

    server.script["GetState"] = fail
    with pytest.raises(errors.ServerError, match="not here") as caught:
        await client.get("order", "o-1")
    assert caught.value.code == "NOT_FOUND"


def test_a_class_speaks_for_itself() -> None:
    assert str(errors.InstanceNotFound()) == "There is no such instance."
    assert "o-1" in str(errors.StreamGap(instance=InstanceRef("order", "o-1"), expected=2, received=4))


async def test_nobody_there_is_said_with_advice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
    async with Client(nobody, retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(errors.Unavailable, match=r"is it running, and is the address right\?"):
            await client.get("order", "o-1")
