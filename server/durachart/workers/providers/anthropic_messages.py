"""Anthropic's messages API."""

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
from durachart.workers.providers.protocol import Finished, GenerationRequest, Message, TextDelta, Usage
from durachart.workers.providers.settings import ProviderSettings

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from anthropic.types import MessageParam

# Sent to compatible endpoints that want no key: the SDK insists on one.
_NO_KEY = "none"


class AnthropicProvider:
    """Messages over the ``anthropic`` SDK, an extra."""

    def __init__(self, settings: ProviderSettings) -> None:
        """Make the client; nothing is sent yet.

        Args:
            settings: Endpoint, key and bounds.

        Raises:
            ProviderError: PROVIDER_NOT_CONFIGURED when the SDK is not installed, or neither a key nor a base
            URL is set.
        """
        try:
            import anthropic
            import httpx2
        except ImportError:
            raise ProviderError(
                NOT_CONFIGURED,
                "Anthropic's models need the `anthropic` package; "
                "install it with `pip install 'durachart[anthropic]'`.",
                retryable=False,
            ) from None
        if settings.anthropic_api_key is None and settings.anthropic_base_url is None:
            raise ProviderError(
                NOT_CONFIGURED,
                "No Anthropic API key is set; set DURACHART_ANTHROPIC_API_KEY.",
                retryable=False,
            )
        self._client: AsyncAnthropic = anthropic.AsyncAnthropic(
            api_key=settings.anthropic_api_key or _NO_KEY,
            base_url=settings.anthropic_base_url,
            max_retries=0,
            timeout=httpx2.Timeout(
                settings.idle_timeout_ms / 1000, connect=settings.connect_timeout_ms / 1000
            ),
        )
        self._secrets = tuple(filter(None, [settings.anthropic_api_key]))
        self._address = host_of(str(self._client.base_url))
        self._max_output_tokens = settings.anthropic_max_output_tokens
        self._errors = SdkErrors(
            api=anthropic.AnthropicError,
            status=anthropic.APIStatusError,
            timeout=anthropic.APITimeoutError,
            connection=anthropic.APIConnectionError,
            transport=httpx2.TransportError,
            transport_timeout=httpx2.TimeoutException,
        )

    @property
    def name(self) -> str:
        """Name for traces."""
        return "anthropic"

    @property
    def address(self) -> str:
        """``host:port`` of the endpoint."""
        return self._address

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[TextDelta | Finished, None]:
        """Generate an answer; see `Provider.stream`."""
        from anthropic import omit

        endpoint = Endpoint("Anthropic", self._address, request.model, self._secrets)
        try:
            stream = await self._client.messages.create(
                model=request.model,
                messages=[_turn(message) for message in request.messages],
                max_tokens=request.max_output_tokens or self._max_output_tokens,
                stream=True,
                system=request.system or omit,
                # The SDK has no parameter for it any more, since some models refuse it; the API still has.
                extra_body=None if request.temperature is None else {"temperature": request.temperature},
            )
        except self._errors.all as error:
            raise classify(error, self._errors, endpoint, streaming=False) from None
        stop_reason, model, input_tokens, output_tokens = "", "", 0, None
        try:
            async for event in stream:
                if event.type == "message_start":
                    model = event.message.model
                    input_tokens = event.message.usage.input_tokens
                elif event.type == "content_block_delta":
                    if event.delta.type == "text_delta" and event.delta.text:
                        yield TextDelta(event.delta.text)
                elif event.type == "message_delta":
                    stop_reason = event.delta.stop_reason or stop_reason
                    output_tokens = event.usage.output_tokens
        except self._errors.all as error:
            # After the stop reason the answer is whole, whatever becomes of the connection.
            if not stop_reason:
                raise classify(error, self._errors, endpoint, streaming=True) from None
        finally:
            await stream.close()
        if not stop_reason:
            raise stream_cut(endpoint)
        usage = None if output_tokens is None else Usage(input_tokens, output_tokens)
        yield Finished(stop_reason, model, usage)

    async def close(self) -> None:
        """Release connections."""
        await self._client.close()


def _turn(message: Message) -> MessageParam:
    if message.role == "user":
        return {"role": "user", "content": message.content}
    return {"role": "assistant", "content": message.content}
