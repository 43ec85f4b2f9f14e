"""A generation's text arrives whole, over any number of connections."""

import asyncio

import grpc
import pytest

from durachart_client import AttemptStarted, Client, GenerationEnd, NoGeneration, StreamGap, Text, TokenUsage
from durachart_client.gen import token_service_pb2 as pb
from tests.unit.client.scripted import Proxy, Server, refuse


def started(attempt: int = 1, model: str = "m") -> pb.TokenFrame:
    return pb.TokenFrame(effect_id="e1", attempt=attempt, started=pb.TokenAttemptStarted(model=model))


def text(offset: int, words: str, attempt: int = 1) -> pb.TokenFrame:
    return pb.TokenFrame(
        effect_id="e1", attempt=attempt, offset=offset, next_offset=offset + len(words), text=words
    )


def end(outcome: str = "OUTCOME_COMPLETED", attempt: int = 1, **fields) -> pb.TokenFrame:
    body = pb.TokenEnd(outcome=pb.TokenEnd.Outcome.Value(outcome), **fields)
    return pb.TokenFrame(effect_id="e1", attempt=attempt, end=body)


def message(*frames: pb.TokenFrame) -> pb.WatchTokensResponse:
    return pb.WatchTokensResponse(frames=frames)


async def test_text_comes_in_order_and_ends_with_how_it_ended(client: Client, server: Server) -> None:
    async def script(request, context):
        yield message(started(), text(0, "Hello, "), text(7, "wörld 🌍"))
        yield message(
            end(finish_reason="stop", model="m2", usage=pb.TokenUsage(input_tokens=3, output_tokens=4))
        )
        await asyncio.Event().wait()

    server.script["WatchTokens"] = script
    stream = client.watch_tokens("canvas", "c-1")
    events = [event async for event in stream]
    assert events == [
        AttemptStarted("e1", 1, "m"),
        Text("e1", 1, 0, "Hello, "),
        Text("e1", 1, 7, "wörld 🌍"),
        GenerationEnd("e1", 1, "completed", "stop", "m2", TokenUsage(3, 4)),
    ]
    assert (stream.effect_id, stream.attempt, stream.offset) == ("e1", 1, 14)
    await server.wait_streams(0)


async def test_a_cut_stream_goes_on_at_the_offset_of_its_generation(
    client: Client, server: Server, proxy: Proxy
) -> None:
    async def script(request, context):
        if request.attempt == 0:
            yield message(started(), text(0, "abc"))
            await asyncio.Event().wait()
        # A server may begin with the attempt again, and may overlap.
        yield message(started(), text(0, "ab"), text(2, "cde"))
        yield message(end())

    server.script["WatchTokens"] = script
    stream = client.watch_tokens("canvas", "c-1")
    assert [await anext(stream), await anext(stream)] == [
        AttemptStarted("e1", 1, "m"),
        Text("e1", 1, 0, "abc"),
    ]
    proxy.cut()
    assert [event async for event in stream] == [Text("e1", 1, 3, "de"), GenerationEnd("e1", 1, "completed")]
    resumed = server.requests["WatchTokens"][1]
    assert (resumed.effect_id, resumed.attempt, resumed.offset) == ("e1", 1, 3)


async def test_a_new_attempt_begins_again_at_zero(client: Client, server: Server) -> None:
    async def script(request, context):
        yield message(started(1), text(0, "half"), started(2), text(0, "whole", attempt=2), end(attempt=2))

    server.script["WatchTokens"] = script
    events = [event async for event in client.watch_tokens("canvas", "c-1")]
    assert events[2:4] == [AttemptStarted("e1", 2, "m"), Text("e1", 2, 0, "whole")]


async def test_skipped_text_is_an_error(client: Client, server: Server) -> None:
    async def script(request, context):
        yield message(started(), text(0, "ab"), text(5, "f"))

    server.script["WatchTokens"] = script
    with pytest.raises(StreamGap) as caught:
        [event async for event in client.watch_tokens("canvas", "c-1")]
    assert (caught.value.expected, caught.value.received) == (2, 5)


async def test_an_end_without_its_frame_is_a_cut(client: Client, server: Server) -> None:
    async def script(request, context):
        if request.attempt == 0:
            yield message(started(), text(0, "ab"))
        else:
            yield message(end("OUTCOME_STOPPED"))

    server.script["WatchTokens"] = script
    events = [event async for event in client.watch_tokens("canvas", "c-1")]
    assert events[-1] == GenerationEnd("e1", 1, "stopped")
    assert events[-1].usage is None, "unknown, not zero"


async def test_a_failure_has_reason_and_sentence(client: Client, server: Server) -> None:
    async def script(request, context):
        yield message(
            end("OUTCOME_FAILED", error_reason="PROVIDER_RATE_LIMITED", error_message="too many requests")
        )

    server.script["WatchTokens"] = script
    (only,) = [event async for event in client.watch_tokens("canvas", "c-1")]
    assert (only.outcome, only.error_reason) == ("failed", "PROVIDER_RATE_LIMITED")


async def test_an_instance_without_generation(client: Client, server: Server) -> None:
    async def script(request, context):
        await refuse(context, grpc.StatusCode.NOT_FOUND, "NO_GENERATION")
        yield

    server.script["WatchTokens"] = script
    with pytest.raises(NoGeneration):
        await anext(client.watch_tokens("canvas", "c-1"))


async def test_leaving_ends_the_call(client: Client, server: Server) -> None:
    async def script(request, context):
        yield message(started())
        await asyncio.Event().wait()

    server.script["WatchTokens"] = script
    async for _ in client.watch_tokens("canvas", "c-1"):
        break
    await server.wait_streams(0)
