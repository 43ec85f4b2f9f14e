"""The handlers every server has."""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import Tracer

from durachart.runtime.generation.tokens import TokenRelay
from durachart.workers.handlers import EffectHandler
from durachart.workers.http_handler import HttpHandler
from durachart.workers.llm_handler import GenerateHandler
from durachart.workers.log_handler import LogHandler
from durachart.workers.providers.selection import Providers

HANDLER_NAMES: Final = frozenset({GenerateHandler.name, HttpHandler.name, LogHandler.name})


def built_in_handlers(
    providers: Providers, tokens: TokenRelay, http: HttpHandler, tracer: Tracer, *, generations: int = 64
) -> tuple[EffectHandler, ...]:
    """Make one handler for each of `HANDLER_NAMES`.

    Args:
        providers: The language models.
        tokens: Where the text of generations goes while it comes.
        http: Sends requests; the caller closes it.
        tracer: Makes a span per request to a model.
        generations: Most generations at a time, >= 1.
    """
    return GenerateHandler(providers, tokens, tracer, generations), http, LogHandler()
