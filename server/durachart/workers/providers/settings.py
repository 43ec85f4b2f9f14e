"""Where the language models are."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """Settings of all providers. Keys are left out of ``repr``.

    Attributes:
        default_model: Model for requests that name none: ``local``, ``openai/<m>``, ``anthropic/<m>``, or a
            name that the OpenAI-compatible endpoint knows.
        openai_base_url: Base URL of the OpenAI-compatible endpoint, with its ``/v1``. None for OpenAI itself.
        openai_api_key: None when the endpoint wants none.
        anthropic_base_url: Base URL, without ``/v1``. None for Anthropic itself.
        anthropic_api_key: None when the endpoint wants none.
        anthropic_max_output_tokens: Sent when a request sets no bound, because that API demands one.
        local_token_delay_ms: Pause of the built-in model before every word. 0 for none.
        connect_timeout_ms: Longest wait for a connection.
        idle_timeout_ms: Longest silence of a provider that is connected.
    """

    default_model: str = "local"
    openai_base_url: str | None = None
    openai_api_key: str | None = field(default=None, repr=False)
    anthropic_base_url: str | None = None
    anthropic_api_key: str | None = field(default=None, repr=False)
    anthropic_max_output_tokens: int = 4096
    local_token_delay_ms: float = 25.0
    connect_timeout_ms: int = 10_000
    idle_timeout_ms: int = 120_000
