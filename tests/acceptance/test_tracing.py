"""F6: every transition is a trace in an OpenTelemetry backend, taken from the wire of a real server."""

from __future__ import annotations

from contextlib import aclosing

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from durachart_client import Client
from tests.acceptance.otlp import running_receiver
from tests.processes import Server

SEND = "durachart.v1.StateMachineService/SendEvent"
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def _attributes(span: Span) -> dict[str, str | int]:
    return {
        pair.key: pair.value.string_value or pair.value.int_value
        for pair in span.attributes
        if pair.HasField("value")
    }


async def test_f6_an_event_is_traced_from_the_call_to_the_models_answer() -> None:
    """F6 C9: call, queue, transition and commit in the caller's trace; the effect linked, the model below."""
    async with running_receiver() as receiver:
        options = ["--otlp-endpoint", f"http://{receiver.address}", "--llm-token-delay-ms", "0"]
        async with Server.running(*options) as server:
            async with Client(server.grpc, metadata={"traceparent": CALLER}) as client:
                await client.create("canvas", "c-1")
                await client.send("canvas", "c-1", "SUBMIT", {"prompt": "Hello?"})
                async with aclosing(client.watch_tokens("canvas", "c-1")) as tokens:
                    async for _ in tokens:
                        pass
                [submitted] = [
                    entry async for entry in client.journal("canvas", "c-1") if entry.event_type == "SUBMIT"
                ]
            assert await server.stop() == 0, "what is left is sent when the server drains"
        spans = receiver.spans
    [call] = [span for span in spans if span.name == SEND]
    assert call.trace_id.hex() == CALLER.split("-")[1]
    assert call.parent_span_id.hex() == CALLER.split("-")[2]
    assert _attributes(call)["rpc.response.status_code"] == "OK"
    assert submitted.traceparent.split("-")[1:3] == [call.trace_id.hex(), call.span_id.hex()]
    children = {span.name: span for span in spans if span.parent_span_id == call.span_id}
    assert set(children) == {"durachart.queue", "durachart.transition", "durachart.commit"}
    waited, transition, commit = (children[f"durachart.{name}"] for name in ("queue", "transition", "commit"))
    assert waited.end_time_unix_nano <= transition.start_time_unix_nano
    assert transition.end_time_unix_nano <= commit.end_time_unix_nano <= call.end_time_unix_nano
    assert _attributes(commit)["db.system.name"] == "sqlite"
    linked = [span for span in spans if any(link.span_id == call.span_id for link in span.links)]
    assert len(linked) == 1
    [effect] = linked
    assert effect.parent_span_id == b""
    assert effect.trace_id != call.trace_id
    [model] = [span for span in spans if "gen_ai.operation.name" in _attributes(span)]
    assert (model.trace_id, model.parent_span_id) == (effect.trace_id, effect.span_id)
    assert _attributes(model)["gen_ai.usage.output_tokens"] > 0
    completions = [
        span
        for span in spans
        if span.name == "durachart.transition" and span.parent_span_id == effect.span_id
    ]
    assert len(completions) == 1, "the completion's transition belongs to the effect's trace"
