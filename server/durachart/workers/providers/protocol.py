"""What a provider is asked and what it answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol

Role = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation.

    Attributes:
        role: Who said it.
        content: What was said.
    """

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One request to a language model.

    Attributes:
        model: The provider's own name of the model, without a prefix.
        messages: The conversation in order, at least one message.
        system: Instructions that stand above the conversation. Empty when there are none.
        max_output_tokens: Most tokens the answer may have, >= 1. None leaves it to the provider.
        temperature: Randomness, >= 0. None leaves it to the provider.
    """

    model: str
    messages: tuple[Message, ...]
    system: str = ""
    max_output_tokens: int | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the answer's text.

    Attributes:
        text: Never empty; any number of tokens.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them.

    Attributes:
        input_tokens: Tokens of the request, >= 0.
        output_tokens: Tokens of the answer, >= 0.
    """

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is complete; the last item of every stream that did not fail.

    Attributes:
        finish_reason: The provider's own word, for example ``stop``, ``length``, ``end_turn``. Never empty.
        model: Model that answered. Empty when the provider did not say.
        usage: None when the provider did not count.
    """

    finish_reason: str
    model: str
    usage: Usage | None


class Provider(Protocol):
    """A language model somewhere."""

    @property
    def name(self) -> str:
        """Name for traces, for example ``openai``."""

    @property
    def address(self) -> str:
        """``host`` or ``host:port`` of the endpoint, for messages and traces. Empty without a network."""

    def stream(self, request: GenerationRequest) -> AsyncGenerator[TextDelta | Finished, None]:
        """Generate an answer.

        The generator must be closed by whoever began it (``contextlib.aclosing``): closing it aborts the
        provider's request.

        Args:
            request: What to ask.

        Yields:
            The text in pieces, then one `Finished`.

        Raises:
            ProviderError: The provider failed, or its stream ended without a finish reason.
        """

    async def close(self) -> None:
        """Release connections. Idempotent; no stream may be open."""
