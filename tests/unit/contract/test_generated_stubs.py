"""The generated stubs of server and client: one contract, two packages, one process."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from durachart.rpc.gen import state_machine_service_pb2 as server_pb2
from durachart.rpc.gen import types_pb2 as server_types
from durachart_client.gen import state_machine_service_pb2 as client_pb2
from durachart_client.gen import state_machine_service_pb2_grpc as client_grpc
from durachart_client.gen import types_pb2 as client_types

GENERATED = ["server/durachart/rpc/gen", "clients/python/durachart_client/gen"]


def test_request_of_the_client_is_read_by_the_server_in_one_process() -> None:
    sent = client_pb2.SendEventRequest(
        instance=client_types.InstanceRef(machine_id="order", instance_id="o-1"),
        event=client_types.Event(type="SUBMIT", data_json='{"by": "Ada"}'),
        expected_version=9_007_199_254_740_993,
        request_id="r-1",
    )

    read = server_pb2.SendEventRequest.FromString(sent.SerializeToString())

    assert read.instance.machine_id == "order"
    assert read.event.data_json == '{"by": "Ada"}'
    assert read.expected_version == 9_007_199_254_740_993
    assert read.HasField("expected_version")


def test_answer_of_the_server_is_read_by_the_client_in_one_process() -> None:
    sent = server_pb2.SendEventResponse(
        state=server_types.InstanceState(version=3, allowed_events=["CANCEL"]), changed=True
    )

    read = client_pb2.SendEventResponse.FromString(sent.SerializeToString())

    assert read.state.version == 3
    assert list(read.state.allowed_events) == ["CANCEL"]
    assert read.changed
    assert not read.replayed


def test_optional_expected_version_zero_differs_from_none() -> None:
    assert not server_pb2.SendEventRequest().HasField("expected_version")
    assert server_pb2.SendEventRequest(expected_version=0).HasField("expected_version")


def test_client_has_grpc_stubs_and_server_needs_none(repository: Path) -> None:
    assert client_grpc.StateMachineServiceStub
    assert not list((repository / "server/durachart/rpc/gen").glob("*_pb2_grpc.py"))


@pytest.mark.parametrize(
    "order", [("durachart.rpc", "durachart_client"), ("durachart_client", "durachart.rpc")]
)
def test_stubs_load_in_either_order(order: tuple[str, str]) -> None:
    program = ";".join(f"import {package}.gen.token_service_pb2" for package in order)
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


@pytest.mark.parametrize("directory", GENERATED)
def test_no_generated_import_leaves_its_package(repository: Path, directory: str) -> None:
    absolute = re.compile(r"^\s*(?:from|import) durachart", re.MULTILINE)
    for path in (repository / directory).glob("*.py*"):
        if path.is_file():
            assert not absolute.search(path.read_text(encoding="utf-8")), path.name
