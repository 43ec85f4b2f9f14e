"""The JavaScript stubs: they load in Node, and what one language writes the other reads."""

import subprocess
from pathlib import Path

from google.rpc import error_details_pb2

from durachart.rpc.gen import state_machine_service_pb2

WRITE = """
import { create, toBinary } from "@bufbuild/protobuf";
import { SendEventRequestSchema } from "./gen/durachart/v1/state_machine_service_pb.js";
const request = create(SendEventRequestSchema, {
  instance: { machineId: "order", instanceId: "o-1" },
  event: { type: "SUBMIT" },
  expectedVersion: "9007199254740993",
});
process.stdout.write(toBinary(SendEventRequestSchema, request));
"""

READ = """
import { fromBinary } from "@bufbuild/protobuf";
import { readFileSync } from "node:fs";
import { ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";
const info = fromBinary(ErrorInfoSchema, readFileSync(0));
process.stdout.write(`${info.domain} ${info.reason} ${info.metadata.expected}`);
"""


def node(repository: Path, script: str, data: bytes = b"") -> bytes:
    command = ["node", "--input-type=module", "--eval", script]
    return subprocess.run(
        command, cwd=repository / "tests/node", input=data, capture_output=True, check=True
    ).stdout


def test_request_written_in_javascript_keeps_every_digit_of_a_version(repository: Path) -> None:
    read = state_machine_service_pb2.SendEventRequest.FromString(node(repository, WRITE))

    assert read.instance.machine_id == "order"
    assert read.event.type == "SUBMIT"
    assert read.expected_version == 9_007_199_254_740_993


def test_error_details_written_in_python_are_read_in_javascript(repository: Path) -> None:
    info = error_details_pb2.ErrorInfo(
        domain="durachart", reason="VERSION_CONFLICT", metadata={"expected": "3"}
    )

    assert node(repository, READ, info.SerializeToString()) == b"durachart VERSION_CONFLICT 3"
