"""Bytes from somebody who means harm, or has a bug: never a crash, never a stack trace, the next caller is
served.

Seeded: the same bytes each time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import grpc
import httpx
import pytest

from durachart.fronts.address import Address
from durachart.rpc.gen import state_machine_service_pb2 as instances
from durachart.rpc.gen import types_pb2 as types
from tests.rpc.http2 import PREFACE, SETTINGS, frame, grpc_request
from tests.rpc.scripted import Running

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUNDS = 150
GET_STATE = "/durachart.v1.StateMachineService/GetState"
CONTENT_TYPES = [
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/json",
    "application/proto",
    "application/connect+json",
    "application/connect+proto",
]
REQUEST = instances.GetStateRequest(
    instance=types.InstanceRef(machine_id="order", instance_id="echo")
).SerializeToString()
ENVELOPE = b"\0" + len(REQUEST).to_bytes(4, "big") + REQUEST


@pytest.fixture(autouse=True)
def _nothing_unforeseen(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Bad bytes are foreseen: none of them may become an INTERNAL error."""
    yield
    assert [record for record in caplog.records if record.name.startswith("durachart.rpc")] == []


def mutated(data: bytes, chance: random.Random) -> bytes:
    """``data`` with bytes changed, removed, repeated or added."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(changed) + 1)
        what = chance.randrange(4)
        if what == 0 and at < len(changed):
            changed[at] = chance.randrange(256)
        elif what == 1:
            del changed[at : at + chance.randint(1, 8)]
        elif what == 2:
            changed[at:at] = changed[at : at + chance.randint(1, 64)]
        else:
            changed[at:at] = chance.randbytes(chance.randint(1, 16))
    return bytes(changed)


async def thrown(address: Address, data: bytes) -> bytes:
    """What the server says to raw bytes, until it or we stop talking."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(0.25):
            return await reader.read()
    except (TimeoutError, ConnectionError):
        return b""
    finally:
        writer.close()


def reveals_nothing(answer: bytes) -> bool:
    return b"Traceback" not in answer and b'File "' not in answer and b".py" not in answer


async def still_serves(server: Running) -> None:
    async with grpc.aio.insecure_channel(str(server.grpc)) as channel:
        call = channel.unary_unary(GET_STATE, response_deserializer=instances.GetStateResponse.FromString)
        response = await call(REQUEST, wait_for_ready=True, timeout=30)
        assert response.state.instance.instance_id == "echo"
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        assert (await http.get("/healthz")).status_code == 200


async def test_random_bytes_on_both_ports(server: Running) -> None:
    chance = random.Random(1)
    noise = [chance.randbytes(chance.randint(0, 400)) for _ in range(20)]
    noise += [PREFACE + chance.randbytes(200), PREFACE + frame(SETTINGS, 0, 0) + chance.randbytes(300)]
    for address in (server.grpc, server.http):
        answers = await asyncio.gather(*(thrown(address, data) for data in noise))
        assert all(map(reveals_nothing, answers))
    await still_serves(server)


async def test_mutated_http_requests(server: Running) -> None:
    chance = random.Random(2)
    for _ in range(ROUNDS // 10):
        batch = []
        for _ in range(10):
            content_type = chance.choice(CONTENT_TYPES)
            body = (
                ENVELOPE if "+" in content_type else b'{"instance":{"machineId":"order","instanceId":"echo"}}'
            )
            head = f"POST {GET_STATE} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\n"
            request = f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body
            batch.append(thrown(server.http, mutated(request, chance)))
        assert all(map(reveals_nothing, await asyncio.gather(*batch)))
    await still_serves(server)


async def test_mutated_bodies_get_an_answer_in_their_protocol(server: Running) -> None:
    chance = random.Random(3)
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as http:
        for _ in range(ROUNDS):
            content_type = chance.choice(CONTENT_TYPES)
            body = mutated(ENVELOPE, chance)
            path = chance.choice([GET_STATE, "/durachart.v1.StateMachineService/WatchState"])
            response = await http.post(path, content=body, headers={"content-type": content_type})
            assert response.status_code in {200, 400, 415, 429, 501}
            assert reveals_nothing(response.content)


async def test_mutated_requests_over_grpc(server: Running) -> None:
    chance = random.Random(4)
    async with grpc.aio.insecure_channel(str(server.grpc)) as channel:
        call = channel.unary_unary(GET_STATE)
        for _ in range(ROUNDS):
            code, said = await said_to(call(mutated(REQUEST, chance)))
            assert code in {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}
            assert reveals_nothing(said.encode())


async def said_to(call: grpc.aio.UnaryUnaryCall[bytes, bytes]) -> tuple[grpc.StatusCode, str]:
    """Status and message of a call, however it ends."""
    return await call.code(), await call.details() or ""


async def test_mutated_http2(server: Running) -> None:
    chance = random.Random(5)
    request = grpc_request(GET_STATE.encode(), ENVELOPE, (b"x-text", b"\xff\x80"), (b"x-bin", b"***"))
    for _ in range(ROUNDS // 10):
        batch = [thrown(server.grpc, PREFACE + mutated(request[len(PREFACE) :], chance)) for _ in range(10)]
        assert all(map(reveals_nothing, await asyncio.gather(*batch, return_exceptions=False)))
    await still_serves(server)
