"""The network providers against aimock, an independent server, and one that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from durachart.workers.errors import ProviderError
from durachart.workers.providers.protocol import Finished, GenerationRequest, Message, Usage
from durachart.workers.providers.selection import Providers
from durachart.workers.providers.settings import ProviderSettings
from tests.providers.aimock import Aimock, running_aimock
from tests.providers.sse_server import Exchange, running_sse_server

KEY = "sk-test-0000000000"  # not a key of anything
ANSWER = "A statechart is a state machine with hierarchy. Zażółć 漢字 👩‍🚀."
MODELS = ["gpt-x", "anthropic/claude-x"]


@pytest.fixture
async def aimock() -> AsyncIterator[Aimock]:
    async with running_aimock() as running:
        yield running


def settings(openai_url: str, anthropic_url: str, **options: Any) -> ProviderSettings:
    return ProviderSettings(openai_base_url=openai_url, anthropic_base_url=anthropic_url, **options)


async def generate(
    configured: ProviderSettings, model: str, prompt: str = "", **options: Any
) -> tuple[list[str], Finished]:
    providers = Providers(configured)
    provider, name = await providers.choose(model)
    request = GenerationRequest(name, (Message("user", prompt or "hello"),), **options)
    pieces = []
    try:
        async with aclosing(provider.stream(request)) as stream:
            async for item in stream:
                if isinstance(item, Finished):
                    return pieces, item
                assert item.text
                pieces.append(item.text)
    finally:
        await providers.close()
    raise AssertionError("the stream ended without an end")


async def failure(configured: ProviderSettings, model: str, prompt: str = "") -> ProviderError:
    with pytest.raises(ProviderError) as failed:
        await generate(configured, model, prompt)
    assert KEY not in failed.value.message
    # An SDK's exception would hold the request, and so the key.
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__ or failed.value.__context__ is None
    return failed.value


@pytest.mark.parametrize(("model", "finish_reason"), [(MODELS[0], "stop"), (MODELS[1], "end_turn")])
async def test_an_answer_streams_and_ends_with_reason_model_and_usage(
    aimock: Aimock, model: str, finish_reason: str
) -> None:
    own = {"prompt_tokens": 12, "completion_tokens": 34, "input_tokens": 12, "output_tokens": 34}
    await aimock.answer("hello", ANSWER, chunkSize=4, usage=own)
    pieces, finished = await generate(
        settings(aimock.openai_url, aimock.url, openai_api_key=KEY, anthropic_api_key=KEY),
        model,
        system="Be brief.",
        max_output_tokens=99,
        temperature=0.25,
    )
    assert len(pieces) > 10
    assert "".join(pieces) == ANSWER
    assert finished == Finished(finish_reason, model.removeprefix("anthropic/"), Usage(12, 34))
    [request] = await aimock.requests()
    body = request["body"]
    assert body["model"] == model.removeprefix("anthropic/")
    assert [turn["content"] for turn in body["messages"]] == ["Be brief.", "hello"]
    assert (body["max_tokens"], body["temperature"]) == (99, 0.25)


@pytest.mark.parametrize(("model", "finish_reason"), [(MODELS[0], "length"), (MODELS[1], "max_tokens")])
async def test_an_answer_cut_short_by_its_own_bound_is_complete(
    aimock: Aimock, model: str, finish_reason: str
) -> None:
    await aimock.answer("hello", ANSWER, finishReason="length")
    pieces, finished = await generate(settings(aimock.openai_url, aimock.url), model)
    assert "".join(pieces) == ANSWER
    assert finished.finish_reason == finish_reason


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("status", "reason", "retryable"),
    [
        (400, "PROVIDER_REJECTED", False),
        (403, "PROVIDER_UNAUTHENTICATED", False),
        (404, "PROVIDER_REJECTED", False),
        (429, "PROVIDER_RATE_LIMITED", True),
        (500, "PROVIDER_UNAVAILABLE", True),
        (503, "PROVIDER_UNAVAILABLE", True),
    ],
)
async def test_a_refusal_has_a_reason_and_is_not_repeated_by_the_sdk(
    aimock: Aimock, model: str, status: int, reason: str, retryable: bool
) -> None:
    await aimock.fail("hello", status, "no such luck", retryAfter=7)
    failed = await failure(settings(aimock.openai_url, aimock.url), model)
    assert (failed.reason, failed.retryable) == (reason, retryable)
    assert failed.retry_after_s == (7 if status == 429 else None)
    assert len(await aimock.requests()) == 1


@pytest.mark.parametrize("model", MODELS)
async def test_a_bad_key_is_named_as_such(model: str) -> None:
    async with running_aimock("the-right-one") as aimock:
        configured = settings(aimock.openai_url, aimock.url, openai_api_key=KEY, anthropic_api_key=KEY)
        failed = await failure(configured, model)
        assert (failed.reason, failed.retryable) == ("PROVIDER_UNAUTHENTICATED", False)

        await aimock.answer("hello", "fine")
        right = settings(
            aimock.openai_url, aimock.url, openai_api_key="the-right-one", anthropic_api_key="the-right-one"
        )
        assert (await generate(right, model))[0] == ["fine"]


@pytest.mark.parametrize("model", MODELS)
async def test_a_connection_cut_mid_stream_is_a_cut(aimock: Aimock, model: str) -> None:
    await aimock.answer("hello", ANSWER, latency=5, chunkSize=5, truncateAfterChunks=6)
    failed = await failure(settings(aimock.openai_url, aimock.url), model)
    assert (failed.reason, failed.retryable) == ("PROVIDER_STREAM_CUT", True)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_letting_go_of_the_stream_aborts_the_request(aimock: Aimock, model: str, how: str) -> None:
    await aimock.answer("hello", "word " * 10_000, latency=20, chunkSize=5)
    providers = Providers(settings(aimock.openai_url, aimock.url))
    provider, name = await providers.choose(model)
    begun = asyncio.Event()

    async def read() -> None:
        async with aclosing(provider.stream(GenerationRequest(name, (Message("user", "hello"),)))) as stream:
            async for _ in stream:
                begun.set()
                if how == "close":
                    break

    reading = asyncio.create_task(read())
    await begun.wait()
    if how == "cancel":
        reading.cancel()
    await asyncio.wait({reading})
    assert not await aimock.wait_closed(), "the provider finished its answer; nobody told it to stop"
    await providers.close()


@pytest.mark.parametrize("model", MODELS)
async def test_nobody_listening_is_unavailable(model: str) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        failed = await failure(settings(f"{url}/v1", url), model)
    assert (failed.reason, failed.retryable) == ("PROVIDER_UNAVAILABLE", True)
    assert "running and reachable" in failed.message


# --- a server that misbehaves -----------------------------------------------------------------------------


def openai_chunk(text: str = "", finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish_reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-x", "choices": [choice]}


async def openai_text(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.event(openai_chunk("partial"))


async def anthropic_text(exchange: Exchange) -> None:
    await exchange.begin()
    message = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 0},
    }
    await exchange.event({"type": "message_start", "message": message}, "message_start")
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    await exchange.event(block, "content_block_start")
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "partial"}}
    await exchange.event(delta, "content_block_delta")


BEGIN = dict(zip(MODELS, [openai_text, anthropic_text], strict=True))


async def misbehave(model: str, how: str, **options: Any) -> tuple[ProviderError, int]:
    """How it fails when a provider begins well and then does ``how``, and how many requests that took."""

    async def script(exchange: Exchange) -> None:
        await BEGIN[model](exchange)
        match how:
            case "ends too early":
                pass
            case "ends its stream without a reason":
                await exchange.event("[DONE]")
            case "sends half a line":
                await exchange.send('event: message_delta\ndata: {"type": "mess')
            case "sends garbage":
                await exchange.event('{"type": ', "message_delta")
            case "resets the connection":
                exchange.reset()
            case "reports an overload":
                error = {"type": "overloaded_error", "message": "busy"}
                await exchange.event({"type": "error", "error": error}, "error")
            case "falls silent":
                await asyncio.Event().wait()

    async with running_sse_server(script) as server:
        failed = await failure(settings(f"{server.url}/v1", server.url, **options), model)
        if how == "falls silent":
            await server.wait_gone()
        return failed, len(server.exchanges)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "how",
    [
        "ends too early",
        "ends its stream without a reason",
        "sends half a line",
        "sends garbage",
        "resets the connection",
    ],
)
async def test_a_stream_without_its_finish_reason_is_never_a_completion(model: str, how: str) -> None:
    failed, requests = await misbehave(model, how)
    assert (failed.reason, failed.retryable, requests) == ("PROVIDER_STREAM_CUT", True, 1)


@pytest.mark.parametrize("model", MODELS)
async def test_an_error_inside_a_stream_keeps_its_meaning(model: str) -> None:
    failed, _ = await misbehave(model, "reports an overload")
    assert (failed.reason, failed.retryable) == ("PROVIDER_UNAVAILABLE", True)
    assert "busy" in failed.message


@pytest.mark.parametrize("model", MODELS)
async def test_a_provider_that_falls_silent_is_given_up_and_hung_up_on(model: str) -> None:
    failed, _ = await misbehave(model, "falls silent", idle_timeout_ms=200)
    assert (failed.reason, failed.retryable) == ("PROVIDER_TIMEOUT", True)


@pytest.mark.parametrize("model", MODELS)
async def test_a_provider_that_never_begins_is_given_up(model: str) -> None:
    async def script(exchange: Exchange) -> None:
        await asyncio.Event().wait()

    async with running_sse_server(script) as server:
        failed = await failure(settings(f"{server.url}/v1", server.url, idle_timeout_ms=200), model)
        await server.wait_gone()
    assert failed.reason == "PROVIDER_TIMEOUT"


@pytest.mark.parametrize("model", MODELS)
async def test_an_answer_that_is_no_stream_at_all_is_a_cut(model: str) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin(content_type="text/html")
        await exchange.send("<html>Welcome to the hotel's wireless network</html>")

    async with running_sse_server(script) as server:
        failed = await failure(settings(f"{server.url}/v1", server.url), model)
    assert failed.reason == "PROVIDER_STREAM_CUT"


async def test_a_compatible_server_that_counts_nothing_and_breaks_after_the_end_has_answered() -> None:
    async def script(exchange: Exchange) -> None:
        await openai_text(exchange)
        await exchange.event(openai_chunk("", "stop"))
        exchange.reset()

    async with running_sse_server(script) as server:
        pieces, finished = await generate(settings(f"{server.url}/v1", server.url), "gpt-x")
        [exchange] = server.exchanges
    assert pieces == ["partial"]
    assert finished == Finished("stop", "gpt-x", None)
    assert exchange.body["stream_options"] == {"include_usage": True}
    assert "temperature" not in exchange.body
    assert "max_tokens" not in exchange.body
