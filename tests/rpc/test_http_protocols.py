"""The HTTP front byte by byte, where a client library would hide what is on the wire."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from durachart import __version__
from durachart.rpc.gen import state_machine_service_pb2 as instances
from durachart.rpc.gen import types_pb2 as types
from tests.rpc.scripted import ORIGIN, Running

pytestmark = pytest.mark.asyncio(loop_scope="module")

GET_STATE = "/durachart.v1.StateMachineService/GetState"
WATCH_STATE = "/durachart.v1.StateMachineService/WatchState"
GRPC_WEB = {"content-type": "application/grpc-web+proto"}
GRPC_WEB_TEXT = {"content-type": "application/grpc-web-text"}
CONNECT_STREAM = {"content-type": "application/connect+json"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as client:
        yield client


def get_state(name: str) -> instances.GetStateRequest:
    return instances.GetStateRequest(instance=types.InstanceRef(machine_id="order", instance_id=name))


def get_state_json(name: str) -> dict[str, Any]:
    return {"instance": {"machineId": "order", "instanceId": name}}


def envelope(message: Message | bytes, flags: int = 0) -> bytes:
    data = message if isinstance(message, bytes) else message.SerializeToString()
    return bytes((flags,)) + len(data).to_bytes(4, "big") + data


def envelopes(body: bytes) -> Iterator[tuple[int, bytes]]:
    while body:
        length = int.from_bytes(body[1:5], "big")
        yield body[0], body[5 : 5 + length]
        body = body[5 + length :]


def trailers(body: bytes) -> dict[str, str]:
    """The trailers that close a gRPC-Web body."""
    *_, (flags, last) = envelopes(body)
    assert flags == 0x80
    return dict(line.split(":", 1) for line in last.decode().splitlines())


def reason(response: httpx.Response) -> str:
    """The reason of an error, whichever protocol the response is in."""
    if response.headers["content-type"].startswith("application/grpc-web"):
        said = trailers(response.content)
        encoded = said["grpc-status-details-bin"]
        status = Status.FromString(base64.b64decode(encoded + "=" * (-len(encoded) % 4)))
        assert str(status.code) == said["grpc-status"]
        return status.details[0].value.split(b"\n")[1][1:].split(b"\x12")[0].decode()
    error = response.json()
    return str(error["details"][0]["debug"]["reason"])


# --- Connect, as curl sends it ------------------------------------------------------------------------------


async def test_curl_can_call_with_json(http: httpx.AsyncClient) -> None:
    response = await http.post(GET_STATE, json=get_state_json("echo"))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json()["state"]["version"] == str(2**53 + 1)


async def test_a_json_content_type_may_name_its_charset(http: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json; charset=utf-8"}
    response = await http.post(GET_STATE, content=json.dumps(get_state_json("echo")), headers=headers)
    assert response.status_code == 200


async def test_a_connect_error_is_an_http_error_that_a_person_can_read(http: httpx.AsyncClient) -> None:
    response = await http.post(GET_STATE, json=get_state_json("refuse GUARD_REJECTED"))
    assert response.status_code == 400
    error = response.json()
    assert error["code"] == "failed_precondition"
    debug = {detail["type"]: detail["debug"] for detail in error["details"]}
    assert debug["google.rpc.ErrorInfo"] == {"reason": "GUARD_REJECTED", "domain": "durachart.dev"}
    assert debug["durachart.v1.EventRefusal"]["allowedEvents"] == ["ADD_ITEM", "CANCEL"]
    assert response.headers["trailer-x-refused"] == "yes"


@pytest.mark.parametrize(
    ("name", "status"),
    [("INSTANCE_NOT_FOUND", 404), ("VERSION_CONFLICT", 409), ("OVERLOADED", 429), ("STORE_UNAVAILABLE", 503)],
)
async def test_connect_maps_codes_to_http(http: httpx.AsyncClient, name: str, status: int) -> None:
    response = await http.post(GET_STATE, json=get_state_json(f"refuse {name}"))
    assert (response.status_code, reason(response)) == (status, name)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "JSON object"),
        (b"null", "JSON object"),
        (b"{", "JSON"),
        (b"[]", "JSON"),
        (b'{"instanse": {}}', "instanse"),
        (b'{"instance": {"machineId": 7}}', "machineId"),
        (b'{"instance": "\xff"}', "JSON"),
        (b"[" * 100_000, "JSON"),
        (b'{"view": ' + b"1" * 5000 + b"}", "JSON"),
    ],
)
async def test_json_that_is_not_the_request_says_why(http: httpx.AsyncClient, body: bytes, said: str) -> None:
    response = await http.post(GET_STATE, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert reason(response) == "MESSAGE_MALFORMED"
    assert said in response.json()["message"]
    assert "\n" not in response.json()["message"]


async def test_a_connect_stream_ends_with_its_error_and_trailers(http: httpx.AsyncClient) -> None:
    def watch(name: str) -> bytes:
        return envelope(json.dumps({"instances": [{"machineId": "order", "instanceId": name}]}).encode())

    response = await http.post(WATCH_STATE, content=watch("fail 2"), headers=CONNECT_STREAM)
    frames = list(envelopes(response.content))
    assert [flags for flags, _ in frames] == [0, 0, 2]
    assert json.loads(frames[2][1])["error"]["code"] == "aborted"
    response = await http.post(WATCH_STATE, content=watch("count 1"), headers=CONNECT_STREAM)
    assert json.loads(list(envelopes(response.content))[-1][1]) == {"metadata": {"x-count": ["1"]}}


async def test_a_connect_protocol_of_another_version_is_refused(http: httpx.AsyncClient) -> None:
    headers = {"connect-protocol-version": "2"}
    response = await http.post(GET_STATE, json=get_state_json("echo"), headers=headers)
    assert (response.status_code, reason(response)) == (400, "REQUEST_INVALID")


# --- gRPC-Web -----------------------------------------------------------------------------------------------


async def test_grpc_web_answers_in_one_body(http: httpx.AsyncClient) -> None:
    response = await http.post(GET_STATE, content=envelope(get_state("echo")), headers=GRPC_WEB)
    assert response.status_code == 200
    (flags, data), (end, _) = envelopes(response.content)
    assert (flags, end) == (0, 0x80)
    assert instances.GetStateResponse.FromString(data).state.instance.instance_id == "echo"
    assert trailers(response.content) == {"grpc-status": "0"}


async def test_grpc_web_text_is_base64_both_ways(http: httpx.AsyncClient) -> None:
    body = envelope(get_state("echo"))
    # A sender may flush, and so pad, anywhere.
    encoded = base64.b64encode(body[:4]) + base64.b64encode(body[4:])
    response = await http.post(GET_STATE, content=encoded, headers=GRPC_WEB_TEXT)
    assert response.headers["content-type"] == "application/grpc-web-text+proto"
    pieces = response.text.replace("=", "= ").split()
    decoded = b"".join(base64.b64decode(piece) for piece in pieces if piece != "=")
    assert trailers(decoded) == {"grpc-status": "0"}


async def test_grpc_web_messages_for_people_are_percent_encoded(http: httpx.AsyncClient) -> None:
    request = get_state("refuse EVENT_NOT_ALLOWED")
    response = await http.post(GET_STATE, content=envelope(request), headers=GRPC_WEB)
    assert trailers(response.content)["grpc-message"] == "the event was refused"
    request.instance.instance_id = "\u00e9\x07"
    response = await http.post(GET_STATE, content=envelope(request), headers=GRPC_WEB)
    assert reason(response) == "REQUEST_INVALID"
    assert trailers(response.content)["grpc-message"].isascii()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "MESSAGE_MALFORMED"),
        (b"\0\0", "MESSAGE_MALFORMED"),
        (b"\0\0\0\0\x05ab", "MESSAGE_MALFORMED"),
        (b"\0\0\0\0\x02\xff\xff", "MESSAGE_MALFORMED"),
        (b"\x80\0\0\0\0", "MESSAGE_MALFORMED"),
        (b"\0\0\0\0\0" * 2, "MESSAGE_MALFORMED"),
        (b"\x01\0\0\0\0", "COMPRESSION_UNSUPPORTED"),
        (b"\0\xff\xff\xff\xff", "MESSAGE_TOO_LARGE"),
    ],
)
async def test_a_grpc_web_body_that_is_not_a_request_says_why(
    http: httpx.AsyncClient, body: bytes, expected: str
) -> None:
    response = await http.post(GET_STATE, content=body, headers=GRPC_WEB)
    assert (response.status_code, reason(response)) == (200, expected)
    response = await http.post(WATCH_STATE, content=body, headers=GRPC_WEB)
    assert reason(response) == expected


@pytest.mark.parametrize("body", [b"****", b"AAA", b"A===", b"AA=A"])
async def test_text_that_is_not_base64_is_refused(http: httpx.AsyncClient, body: bytes) -> None:
    response = await http.post(GET_STATE, content=body, headers=GRPC_WEB_TEXT)
    (decoded,) = [base64.b64decode(response.text)]
    assert trailers(decoded)["grpc-status"] == "3"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"grpc-timeout": "1"}, "REQUEST_INVALID"),
        ({"grpc-timeout": "123456789S"}, "REQUEST_INVALID"),
        ({"grpc-encoding": "gzip"}, "COMPRESSION_UNSUPPORTED"),
        ({"content-encoding": "br"}, "COMPRESSION_UNSUPPORTED"),
        ({"x-trace-bin": "***"}, "REQUEST_INVALID"),
        ({"grpc-timeout": "0n"}, "DEADLINE_EXCEEDED"),
    ],
)
async def test_headers_that_cannot_be_meant_are_refused(
    http: httpx.AsyncClient, headers: dict[str, str], expected: str
) -> None:
    response = await http.post(GET_STATE, content=envelope(get_state("echo")), headers=GRPC_WEB | headers)
    assert reason(response) == expected


async def test_binary_metadata_arrives_as_bytes(http: httpx.AsyncClient, server: Running) -> None:
    headers = GRPC_WEB | {"x-bin": "AP8,AQ=="}
    await http.post(GET_STATE, content=envelope(get_state("binary")), headers=headers)
    assert server.scripted.contexts["binary"].metadata.get_all("x-bin") == [b"\x00\xff", b"\x01"]


async def test_a_method_that_is_not_there_is_unimplemented(http: httpx.AsyncClient) -> None:
    path = "/durachart.v1.StateMachineService/Nothing"
    response = await http.post(path, content=envelope(b""), headers=GRPC_WEB)
    assert (trailers(response.content)["grpc-status"], reason(response)) == ("12", "METHOD_UNKNOWN")
    response = await http.post(path, json={})
    assert (response.status_code, reason(response)) == (501, "METHOD_UNKNOWN")


# --- sizes --------------------------------------------------------------------------------------------------


async def test_an_announced_body_over_the_bound_is_refused_before_it_is_sent(server: Running) -> None:
    reader, writer = await asyncio.open_connection(server.http.host, server.http.port)
    head = f"POST {GET_STATE} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: 900000000\r\n\r\n".encode())
    status = await reader.readline()
    assert b"429" in status
    writer.close()
    await writer.wait_closed()


async def test_a_body_of_unknown_length_is_read_up_to_the_bound(http: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b" " * 65536

    response = await http.post(GET_STATE, content=endless(), headers={"content-type": "application/json"})
    assert (response.status_code, reason(response)) == (429, "MESSAGE_TOO_LARGE")


async def test_a_body_in_many_pieces_is_put_together(http: httpx.AsyncClient) -> None:
    body = envelope(get_state("pieces"))

    async def pieces() -> AsyncIterator[bytes]:
        for byte in body:
            yield bytes((byte,))

    response = await http.post(GET_STATE, content=pieces(), headers=GRPC_WEB)
    assert trailers(response.content) == {"grpc-status": "0"}


# --- pages of other origins ---------------------------------------------------------------------------------


async def test_an_allowed_page_may_call_and_read_everything(http: httpx.AsyncClient) -> None:
    wanted = "content-type,x-grpc-web,grpc-timeout,traceparent"
    asked = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": wanted,
    }
    response = await http.options(GET_STATE, headers=asked)
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert response.headers["access-control-allow-headers"] == wanted
    assert "POST" in response.headers["access-control-allow-methods"]

    response = await http.post(
        GET_STATE, json=get_state_json("metadata"), headers={"origin": ORIGIN, "x-question": "1"}
    )
    exposed = response.headers["access-control-expose-headers"].split(", ")
    assert {"grpc-status", "grpc-message", "grpc-status-details-bin", "x-answer", "trailer-x-last"} <= set(
        exposed
    )
    assert response.headers["vary"] == "origin"


async def test_a_stream_may_be_read_by_an_allowed_page(http: httpx.AsyncClient) -> None:
    request = instances.WatchStateRequest(
        instances=[types.InstanceRef(machine_id="order", instance_id="count 1")]
    )
    response = await http.post(WATCH_STATE, content=envelope(request), headers=GRPC_WEB | {"origin": ORIGIN})
    assert response.headers["access-control-allow-origin"] == ORIGIN


async def test_a_page_of_another_origin_changes_nothing(http: httpx.AsyncClient, server: Running) -> None:
    headers = {"origin": "https://evil.example"}
    response = await http.post(GET_STATE, json=get_state_json("evil"), headers=headers)
    assert response.status_code == 403
    assert "https://evil.example" in response.json()["error"]
    assert "access-control-allow-origin" not in response.headers
    assert "evil" not in server.scripted.contexts


async def test_the_servers_own_pages_may_call(http: httpx.AsyncClient, server: Running) -> None:
    response = await http.post(GET_STATE, json=get_state_json("own"), headers={"origin": server.url})
    assert response.status_code == 200


# --- what is served beside calls ----------------------------------------------------------------------------


async def test_the_front_page_tells_people_and_programs_what_this_is(
    http: httpx.AsyncClient, server: Running
) -> None:
    facts = (await http.get("/")).json()
    assert facts["version"] == __version__
    assert facts["grpc"] == str(server.grpc)
    assert facts["http"] == str(server.http)
    assert "durachart.v1.StateMachineService" in facts["services"]
    page = await http.get("/", headers={"accept": "text/html,*/*"})
    assert page.headers["content-type"].startswith("text/html")
    assert str(server.grpc) in page.text
    assert (await http.head("/")).status_code == 200


async def test_probes_see_that_calls_are_taken(http: httpx.AsyncClient) -> None:
    response = await http.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "SERVING"})


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", GET_STATE, 405),
        ("PUT", GET_STATE, 405),
        ("DELETE", "/", 405),
        ("OPTIONS", "/", 405),
        ("POST", "/", 404),
        ("POST", GET_STATE, 415),
    ],
)
async def test_what_is_no_call_gets_an_error_in_one_sentence(
    http: httpx.AsyncClient, verb: str, path: str, status: int
) -> None:
    response = await http.request(verb, path)
    assert response.status_code == status
    assert response.json()["error"]
    if status == 405:
        assert response.headers["allow"]
    if status == 415:
        assert "application/json" in response.headers["accept-post"]


async def test_a_stream_called_as_a_unary_method_says_which_types_it_takes(http: httpx.AsyncClient) -> None:
    response = await http.post(WATCH_STATE, json={})
    assert response.status_code == 415
    assert "application/connect+json" in response.json()["error"]


async def test_a_head_without_end_is_cut(server: Running) -> None:
    reader, writer = await asyncio.open_connection(server.http.host, server.http.port)
    writer.write(b"GET / HTTP/1.1\r\nx-padding: ")
    writer.write(b"x" * 70_000)
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 431 ")
    writer.close()
