"""Methods whose requests stream, which the real contract does not have yet, on every front."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
from grpc_reflection.v1alpha import reflection_pb2

from durachart.rpc.assembly import Served, assemble
from durachart.rpc.context import CallContext
from durachart.rpc.service import Service
from tests.rpc.scripted import Running, running
from tests.unit.rpc.echo_contract import ECHO_SERVICE, Text

pytestmark = pytest.mark.asyncio(loop_scope="module")

JOIN_WORDS, ECHO_EACH = "/test.v1.EchoService/JoinWords", "/test.v1.EchoService/EchoEach"


class Echo:
    """Handlers of every kind.

    Attributes:
        heard: Requests taken by the handler that runs.
        unwound: Set when a handler was ended by its caller leaving.
    """

    def __init__(self) -> None:
        self.heard: asyncio.Queue[str] = asyncio.Queue()
        self.unwound = asyncio.Event()

    async def echo_one(self, request: Any, ctx: CallContext) -> Any:
        return request

    async def list_words(self, request: Any, ctx: CallContext) -> AsyncGenerator[Any, None]:
        for word in request.text.split():
            yield Text(text=word)

    async def join_words(self, requests: AsyncIterator[Any], ctx: CallContext) -> Any:
        words = []
        ctx.add_trailer("x-joined", "yes")
        try:
            async for request in requests:
                self.heard.put_nowait(request.text)
                words.append(request.text)
        except asyncio.CancelledError:
            self.unwound.set()
            raise
        return Text(text=" ".join(words))

    async def echo_each(self, requests: AsyncIterator[Any], ctx: CallContext) -> AsyncGenerator[Any, None]:
        async for request in requests:
            yield request


@pytest.fixture(scope="module")
def echo() -> Echo:
    return Echo()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def echoing(echo: Echo) -> AsyncIterator[Running]:
    def make(*_: object) -> Service:
        return assemble([Served(ECHO_SERVICE, echo)])

    async with running(make=make) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(echoing: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=echoing.url, trust_env=False, timeout=30) as client:
        yield client


def envelopes(*messages: bytes) -> bytes:
    return b"".join(b"\0" + len(message).to_bytes(4, "big") + message for message in messages)


def opened(body: bytes) -> list[tuple[int, bytes]]:
    found = []
    while body:
        end = 5 + int.from_bytes(body[1:5], "big")
        found.append((body[0], body[5:end]))
        body = body[end:]
    return found


async def test_streamed_requests_over_grpc(echoing: Running) -> None:
    options = {"request_serializer": Text.SerializeToString, "response_deserializer": Text.FromString}
    async with grpc.aio.insecure_channel(str(echoing.grpc)) as channel:
        words = [Text(text="a"), Text(text="b")]
        joining = channel.stream_unary(JOIN_WORDS, **options)(iter(words))
        assert (await joining).text == "a b"
        assert ("x-joined", "yes") in [tuple(entry) for entry in await joining.trailing_metadata()]
        each = channel.stream_stream(ECHO_EACH, **options)()
        for word in words:
            await each.write(word)
            assert (await each.read()).text == word.text
        await each.done_writing()
        assert await each.read() is grpc.aio.EOF


async def test_a_streamed_request_that_is_none_is_refused_over_grpc(echoing: Running) -> None:
    async with grpc.aio.insecure_channel(str(echoing.grpc)) as channel:
        joining = channel.stream_unary(JOIN_WORDS)(iter([b"\xff"]))
        assert await joining.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("path", [JOIN_WORDS, ECHO_EACH])
async def test_streamed_requests_over_grpc_web(http: httpx.AsyncClient, path: str) -> None:
    body = envelopes(*(Text(text=word).SerializeToString() for word in "ab"))
    response = await http.post(path, content=body, headers={"content-type": "application/grpc-web+proto"})
    *answers, (flags, trailers) = opened(response.content)
    texts = [Text.FromString(data).text for _, data in answers]
    assert texts == (["a b"] if path == JOIN_WORDS else ["a", "b"])
    assert flags == 0x80
    assert b"grpc-status:0\r\n" in trailers
    text_headers = {"content-type": "application/grpc-web-text+proto"}
    encoded = await http.post(path, content=base64.b64encode(body), headers=text_headers)
    assert encoded.status_code == 200
    assert encoded.text


@pytest.mark.parametrize("path", [JOIN_WORDS, ECHO_EACH])
async def test_streamed_requests_over_connect(http: httpx.AsyncClient, path: str) -> None:
    body = envelopes(b'{"text":"a"}', b'{"text":"b"}')
    response = await http.post(path, content=body, headers={"content-type": "application/connect+json"})
    *answers, (flags, end) = opened(response.content)
    texts = [json.loads(data)["text"] for _, data in answers]
    assert texts == (["a b"] if path == JOIN_WORDS else ["a", "b"])
    assert flags == 2
    assert "error" not in json.loads(end)


@pytest.mark.parametrize("body", [b"\0\0\0", envelopes(b"\xff"), b"\0\0\0\0\x09abc", b"\0\xff\xff\xff\xff"])
async def test_a_streamed_request_that_is_none_is_refused_over_grpc_web(
    http: httpx.AsyncClient, body: bytes
) -> None:
    response = await http.post(
        JOIN_WORDS, content=body, headers={"content-type": "application/grpc-web+proto"}
    )
    ((flags, trailers),) = opened(response.content)
    assert flags == 0x80
    assert trailers.startswith((b"grpc-status:3\r\n", b"grpc-status:8\r\n"))


async def test_who_leaves_while_sending_cancels_the_handler(echoing: Running, echo: Echo) -> None:
    while not echo.heard.empty():
        echo.heard.get_nowait()
    _, writer = await asyncio.open_connection(echoing.http.host, echoing.http.port)
    head = f"POST {JOIN_WORDS} HTTP/1.1\r\nhost: x\r\ncontent-type: application/connect+json\r\n"
    body = envelopes(b'{"text":"first"}')
    chunk = f"{len(body):x}\r\n".encode() + body + b"\r\n"
    writer.write(f"{head}transfer-encoding: chunked\r\n\r\n".encode() + chunk)
    assert await echo.heard.get() == "first"
    writer.close()
    await echo.unwound.wait()


async def test_reflection_answers_over_grpc_web(http: httpx.AsyncClient) -> None:
    question = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    headers = {"content-type": "application/grpc-web+proto"}
    response = await http.post(path, content=envelopes(question), headers=headers)
    (_, data), (end, _) = opened(response.content)
    services = reflection_pb2.ServerReflectionResponse.FromString(data).list_services_response.service
    assert "test.v1.EchoService" in {service.name for service in services}
    assert end == 0x80
