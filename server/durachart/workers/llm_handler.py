"""``llm.generate``: one request to a language model, its text relayed while it comes.

The output is ``{"text", "finish_reason", "model", "usage"}``; ``usage`` is ``{"input_tokens",
"output_tokens"}``, or null when the provider did not count. Nothing of an attempt that did not complete is
ever an output.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace

from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer

from durachart.runtime.generation.source import GENERATE
from durachart.runtime.generation.text import GenerationTooLarge
from durachart.runtime.generation.tokens import AttemptWriter, TokenRelay
from durachart.workers.errors import EffectFailure
from durachart.workers.generation_params import read_request
from durachart.workers.handlers import Attempt
from durachart.workers.providers.failures import TIMEOUT
from durachart.workers.providers.protocol import Finished, GenerationRequest, Provider
from durachart.workers.providers.selection import Providers
from durachart.workers.surrogates import SurrogateMender

RESULT_TOO_LARGE = "RESULT_TOO_LARGE"


class GenerateHandler:
    """Runs ``llm.generate``."""

    name = GENERATE
    timeout_reason = TIMEOUT

    def __init__(
        self, providers: Providers, tokens: TokenRelay, tracer: Tracer, concurrency: int = 64
    ) -> None:
        """Make the handler.

        Args:
            providers: The language models.
            tokens: Where the text goes while it comes.
            tracer: Makes a span per request to a model.
            concurrency: Most generations at a time.
        """
        self._providers = providers
        self._tokens = tokens
        self._tracer = tracer
        self.concurrency = concurrency

    async def run(self, attempt: Attempt) -> object:
        """Generate; see `EffectHandler.run`."""
        request = read_request(attempt.params)
        writer = attempt.until_committed.enter_context(
            self._tokens.open(attempt.effect_id, attempt.number, request.model)
        )
        provider, model = await self._providers.choose(request.model)
        return await self._generate(provider, replace(request, model=model), writer)

    async def _generate(
        self, provider: Provider, request: GenerationRequest, writer: AttemptWriter
    ) -> object:
        with self._tracer.start_as_current_span(
            f"chat {request.model}",
            kind=SpanKind.CLIENT,
            attributes=_asked(provider, request),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                text, finished = await _relay(provider, request, writer)
            except EffectFailure as failure:
                span.set_attribute("error.type", failure.reason)
                span.set_status(Status(StatusCode.ERROR, failure.message))
                raise
            span.set_attributes(_answered(finished))
        usage = finished.usage
        return {
            "text": text,
            "finish_reason": finished.finish_reason,
            "model": finished.model or request.model,
            "usage": usage and {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens},
        }


async def _relay(
    provider: Provider, request: GenerationRequest, writer: AttemptWriter
) -> tuple[str, Finished]:
    mender = SurrogateMender()
    pieces: list[str] = []

    def take(piece: str) -> None:
        if piece:
            writer.append(piece)
            pieces.append(piece)

    # Closing the stream is what aborts the provider's request, however this block is left.
    async with aclosing(provider.stream(request)) as stream:
        try:
            async for item in stream:
                if isinstance(item, Finished):
                    take(mender.finish())
                    return "".join(pieces), item
                take(mender.feed(item.text))
        except GenerationTooLarge as error:
            raise EffectFailure(
                RESULT_TOO_LARGE,
                f"The model's answer grew over {error.limit_bytes:,} bytes and was dropped; "
                "ask for less, or set `max_output_tokens`.",
                retryable=False,
            ) from None
    raise AssertionError("a provider's stream ended without `Finished` and without an error")


def _asked(provider: Provider, request: GenerationRequest) -> dict[str, str | int | float]:
    """The request as the semantic conventions for generative AI have it."""
    attributes: dict[str, str | int | float] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider.name,
        "gen_ai.request.model": request.model,
        "gen_ai.output.type": "text",
    }
    if request.max_output_tokens is not None:
        attributes["gen_ai.request.max_tokens"] = request.max_output_tokens
    if request.temperature is not None:
        attributes["gen_ai.request.temperature"] = request.temperature
    if provider.address:
        host, _, port = provider.address.rpartition(":")
        attributes["server.address"] = host or provider.address
        if host:
            attributes["server.port"] = int(port)
    return attributes


def _answered(finished: Finished) -> dict[str, str | int | list[str]]:
    attributes: dict[str, str | int | list[str]] = {
        "gen_ai.response.finish_reasons": [finished.finish_reason],
    }
    if finished.model:
        attributes["gen_ai.response.model"] = finished.model
    if finished.usage is not None:
        attributes["gen_ai.usage.input_tokens"] = finished.usage.input_tokens
        attributes["gen_ai.usage.output_tokens"] = finished.usage.output_tokens
    return attributes
