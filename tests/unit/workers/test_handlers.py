"""The built-in handlers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracer, SpanKind, StatusCode

from durachart.runtime.generation.frames import Generation
from durachart.runtime.generation.tokens import TokenRelay
from durachart.store.keys import InstanceKey
from durachart.workers.built_in import HANDLER_NAMES, built_in_handlers
from durachart.workers.effect_worker import EffectWorker
from durachart.workers.errors import EffectFailure, EffectRejected, ProviderError
from durachart.workers.handlers import Attempt
from durachart.workers.http_handler import HttpHandler
from durachart.workers.http_targets import HttpTargets
from durachart.workers.llm_handler import GenerateHandler
from durachart.workers.log_handler import LogHandler
from durachart.workers.providers.protocol import Finished, GenerationRequest, TextDelta, Usage
from durachart.workers.providers.selection import Providers
from durachart.workers.providers.settings import ProviderSettings
from tests.unit.workers.outbox import KEY, Outbox, no_steps
from tests.virtual_time import in_virtual_time, settle, wall_clock

LOCAL = ProviderSettings(local_token_delay_ms=0)


class NoGenerations:
    async def find_generation(self, key: InstanceKey, effect_id: str) -> Generation | None:
        return None


class Scripted:
    """A provider that yields what it is told, and knows whether its stream was closed."""

    name = "openai"
    address = "llm.example:8443"

    def __init__(self, *items: TextDelta | Finished | Exception) -> None:
        self._items = items
        self.open = 0

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[TextDelta | Finished, None]:
        self.open += 1
        try:
            for item in self._items:
                await asyncio.sleep(0)
                if isinstance(item, Exception):
                    raise item
                yield item
            await asyncio.Event().wait()
        finally:
            self.open -= 1

    async def close(self) -> None: ...


class OneProvider(Providers):
    """Every model is the same provider's."""

    def __init__(self, provider: Scripted) -> None:
        super().__init__(LOCAL)
        self._provider_of_all = provider

    async def choose(self, model: str) -> tuple[Any, str]:
        return self._provider_of_all, model or "default-model"


def attempt(**params: Any) -> Attempt:
    return Attempt(KEY, "e-1", "generate", 1, params, no_steps())


def handler(*items: TextDelta | Finished | Exception, **relay: Any) -> tuple[GenerateHandler, Scripted]:
    provider = Scripted(*items)
    relayed = TokenRelay(NoGenerations(), **relay)
    return GenerateHandler(OneProvider(provider), relayed, NoOpTracer()), provider


def test_every_handler_that_is_named_exists() -> None:
    http = HttpHandler(HttpTargets())
    handlers = built_in_handlers(
        Providers(LOCAL), TokenRelay(NoGenerations()), http, NoOpTracer(), generations=3
    )
    assert {each.name for each in handlers} == HANDLER_NAMES == {"llm.generate", "http.request", "log"}
    assert handlers[0].concurrency == 3


@in_virtual_time
async def test_a_generation_s_output_is_text_reason_model_and_usage() -> None:
    generate, provider = handler(
        TextDelta("Hello "), TextDelta("world"), Finished("stop", "m-2", Usage(3, 2))
    )
    with (work := attempt(prompt="hi", model="m")).until_committed:
        assert await generate.run(work) == {
            "text": "Hello world",
            "finish_reason": "stop",
            "model": "m-2",
            "usage": {"input_tokens": 3, "output_tokens": 2},
        }
    assert provider.open == 0


@in_virtual_time
async def test_an_unknown_usage_is_null_and_an_unnamed_model_the_one_asked_for() -> None:
    generate, _ = handler(Finished("stop", "", None))
    with (work := attempt(prompt="hi")).until_committed:
        assert await generate.run(work) == {
            "text": "",
            "finish_reason": "stop",
            "model": "default-model",
            "usage": None,
        }


@in_virtual_time
async def test_an_answer_over_the_bound_is_dropped_and_the_request_aborted() -> None:
    generate, provider = handler(TextDelta("1234"), TextDelta("56"), limit_bytes=5)
    with (work := attempt(prompt="hi")).until_committed, pytest.raises(EffectFailure) as failed:
        await generate.run(work)
    assert (failed.value.reason, failed.value.retryable) == ("RESULT_TOO_LARGE", False)
    assert provider.open == 0


@in_virtual_time
async def test_half_characters_never_reach_viewers_or_the_store() -> None:
    generate, _ = handler(TextDelta("\ud83d"), TextDelta("\ude80 \ud83d"), Finished("stop", "m", None))
    with (work := attempt(prompt="hi")).until_committed:
        output = await generate.run(work)
    assert isinstance(output, dict)
    assert output["text"] == "🚀 \ufffd"


@in_virtual_time
async def test_parameters_that_cannot_be_are_rejected_before_anybody_is_asked() -> None:
    generate, provider = handler()
    with pytest.raises(EffectRejected):
        await generate.run(attempt(promt="hi"))
    assert provider.open == 0


@in_virtual_time
async def test_cancelling_the_handler_closes_the_provider_s_stream() -> None:
    generate, provider = handler(TextDelta("begun"))
    running = asyncio.create_task(generate.run(attempt(prompt="hi")))
    await settle()
    assert provider.open == 1
    running.cancel()
    await asyncio.wait({running})
    assert provider.open == 0


# --- traces -----------------------------------------------------------------------------------------------


async def traced(*items: TextDelta | Finished | Exception) -> dict[str, ReadableSpan]:
    """The spans, by kind of thing, of a whole attempt in the worker."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    outbox = Outbox()
    outbox.add(handler="llm.generate", params={"prompt": "hi", "model": "m", "temperature": 0.5})
    scripted = GenerateHandler(OneProvider(Scripted(*items)), TokenRelay(NoGenerations()), tracer)
    async with EffectWorker(outbox, [scripted], tracer, now=wall_clock).running():
        row = await outbox.wait_end()
    assert row.caller is not None
    spans = {span.name.split()[0]: span for span in exporter.get_finished_spans()}
    context = spans["effect"].context
    assert context is not None
    assert row.caller.traceparent.startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")
    return spans


@in_virtual_time
async def test_an_attempt_is_a_trace_of_its_own_linked_to_the_event_that_asked() -> None:
    spans = await traced(TextDelta("x"), Finished("stop", "m-2", Usage(3, 2)))
    effect = spans["effect"]
    assert effect.parent is None
    assert [f"{link.context.trace_id:032x}" for link in effect.links] == ["0af7651916cd43dd8448eb211c80319c"]
    assert effect.context is not None
    assert f"{effect.context.trace_id:032x}" != "0af7651916cd43dd8448eb211c80319c"
    assert effect.kind is SpanKind.CONSUMER
    assert effect.attributes is not None
    assert effect.attributes["durachart.effect.outcome"] == "completed"
    assert effect.attributes["durachart.instance.id"] == "c-1"


@in_virtual_time
async def test_a_model_call_is_a_child_span_by_the_conventions_for_generative_ai() -> None:
    spans = await traced(TextDelta("x"), Finished("stop", "m-2", Usage(3, 2)))
    chat = spans["chat"]
    assert chat.name == "chat m"
    assert chat.kind is SpanKind.CLIENT
    assert chat.parent == spans["effect"].context
    assert dict(chat.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.output.type": "text",
        "gen_ai.request.model": "m",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.model": "m-2",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 2,
        "server.address": "llm.example",
        "server.port": 8443,
    }


@in_virtual_time
async def test_a_failed_model_call_says_why_on_both_spans() -> None:
    spans = await traced(ProviderError("PROVIDER_REJECTED", "No such model.", retryable=False))
    for span in spans.values():
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == "No such model."
        assert span.attributes is not None
        assert span.attributes["error.type"] == "PROVIDER_REJECTED"
    assert spans["effect"].attributes is not None
    assert spans["effect"].attributes["durachart.effect.outcome"] == "failed"


# --- log --------------------------------------------------------------------------------------------------


async def test_log_writes_one_line_with_the_parameters(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert (
            await LogHandler().run(attempt(message="order\npaid", level="warning", total=3, by="é")) is None
        )
        await LogHandler().run(attempt())
    first, second = caplog.records
    assert first.levelno == logging.WARNING
    assert first.message == 'order paid instance=canvas/c-1 effect_id=e-1 params={"total": 3, "by": "é"}'
    assert second.levelno == logging.INFO
    assert second.message.startswith("generate instance=")


@pytest.mark.parametrize("level", ["loud", ["info"], 3])
async def test_a_level_that_does_not_exist_is_rejected(level: object) -> None:
    with pytest.raises(EffectRejected) as rejected:
        await LogHandler().run(attempt(level=level))
    assert "`level`" in rejected.value.message


async def test_a_log_line_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await LogHandler().run(attempt(text="x" * 100_000))
    assert len(caplog.records[0].message) < 5_000
