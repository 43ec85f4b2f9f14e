"""Any endpoint that speaks OpenAI's chat completions.

OpenAI itself, vLLM, Ollama, llama.cpp, Gemini's compatible endpoint, and many more.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from durachart.workers.errors import ProviderError
from durachart.workers.providers.failures import (
    NOT_CONFIGURED,
    Endpoint,
    SdkErrors,
    classify,
    host_of,
    stream_cut,
)
from durachart.workers.providers.protocol import Finished, GenerationRequest, TextDelta, Usage
from durachart.workers.providers.settings import ProviderSettings

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletionMessageParam

# Sent to compatible endpoints that want no key: the SDK insists on one.
_NO_KEY = "none"


class OpenAICompatibleProvider:
    """Chat completions over the ``openai`` SDK, an extra."""

    def __init__(self, settings: ProviderSettings) -> None:
        """Make the client; nothing is sent yet.

        Args:
            settings: Endpoint, key and bounds.

        Raises:
            ProviderError: PROVIDER_NOT_CONFIGURED when the SDK is not installed, or neither a key nor a base
            URL is set.
        """
        try:
            import httpx2
            import openai
        except ImportError:
            raise ProviderError(
                NOT_CONFIGURED,
                "OpenAI-compatible models need the `openai` package; "
                "install it with `pip install 'durachart[openai]'`.",
                retryable=False,
            ) from None
        if settings.openai_api_key is None and settings.openai_base_url is None:
            raise ProviderError(
                NOT_CONFIGURED,
                "No OpenAI API key is set; set DURACHART_OPENAI_API_KEY, or DURACHART_OPENAI_BASE_URL for a "
                "compatible endpoint that wants none.",
                retryable=False,
            )
        self._client: AsyncOpenAI = openai.AsyncOpenAI(
            api_key=settings.openai_api_key or _NO_KEY,
            base_url=settings.openai_base_url,
            max_retries=0,
            timeout=httpx2.Timeout(
                settings.idle_timeout_ms / 1000, connect=settings.connect_timeout_ms / 1000
            ),
        )
        self._secrets = tuple(filter(None, [settings.openai_api_key]))
        self._address = host_of(str(self._client.base_url))
        self._errors = SdkErrors(
            api=openai.OpenAIError,
            status=openai.APIStatusError,
            timeout=openai.APITimeoutError,
            connection=openai.APIConnectionError,
            transport=httpx2.TransportError,
            transport_timeout=httpx2.TimeoutException,
        )
        # OpenAI's newer models refuse the old name of the bound; most compatible servers know only the old
        # one.
        self._bounds_by_new_name = self._address == "api.openai.com"

    @property
    def name(self) -> str:
        """Name for traces."""
        return "openai"

    @property
    def address(self) -> str:
        """``host:port`` of the endpoint."""
        return self._address

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[TextDelta | Finished, None]:
        """Generate an answer; see `Provider.stream`."""
        from openai import omit

        bound = omit if request.max_output_tokens is None else request.max_output_tokens
        endpoint = Endpoint("the OpenAI-compatible endpoint", self._address, request.model, self._secrets)
        try:
            stream = await self._client.chat.completions.create(
                model=request.model,
                messages=_conversation(request),
                stream=True,
                stream_options={"include_usage": True},
                temperature=omit if request.temperature is None else request.temperature,
                max_completion_tokens=bound if self._bounds_by_new_name else omit,
                max_tokens=omit if self._bounds_by_new_name else bound,
            )
        except self._errors.all as error:
            raise classify(error, self._errors, endpoint, streaming=False) from None
        finish_reason, model, usage = "", "", None
        try:
            async for chunk in stream:
                model = chunk.model or model
                usage = _usage(chunk.usage) or usage
                # The chunk that carries the usage has no choices; other servers send it with the last choice.
                for choice in chunk.choices[:1]:
                    if choice.delta.content:
                        yield TextDelta(choice.delta.content)
                    finish_reason = choice.finish_reason or finish_reason
        except self._errors.all as error:
            # After the finish reason the text is whole: what broke then can only be the usage.
            if not finish_reason:
                raise classify(error, self._errors, endpoint, streaming=True) from None
        finally:
            await stream.close()
        if not finish_reason:
            raise stream_cut(endpoint)
        yield Finished(finish_reason, model, usage)

    async def close(self) -> None:
        """Release connections."""
        await self._client.close()


def _conversation(request: GenerationRequest) -> list[ChatCompletionMessageParam]:
    turns: list[ChatCompletionMessageParam] = []
    if request.system:
        turns.append({"role": "system", "content": request.system})
    for message in request.messages:
        if message.role == "user":
            turns.append({"role": "user", "content": message.content})
        else:
            turns.append({"role": "assistant", "content": message.content})
    return turns


def _usage(counted: CompletionUsage | None) -> Usage | None:
    return None if counted is None else Usage(counted.prompt_tokens, counted.completion_tokens)
