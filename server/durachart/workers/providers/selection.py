"""Which provider answers for which model name."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from durachart.workers.errors import ProviderError
from durachart.workers.providers.local import MODEL as LOCAL_MODEL
from durachart.workers.providers.local import LocalProvider
from durachart.workers.providers.protocol import Provider
from durachart.workers.providers.settings import ProviderSettings

_ANTHROPIC = "anthropic/"
_OPENAI = "openai/"


@dataclass(slots=True)
class Providers:
    """All providers of one server, each made when it is first asked for.

    Attributes:
        settings: Endpoints, keys and the default model.
    """

    settings: ProviderSettings
    _making: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    _made: dict[str, Provider] = field(default_factory=dict, repr=False)

    async def choose(self, model: str) -> tuple[Provider, str]:
        """Return the provider for a model and the provider's own name of it.

        Args:
            model: ``local`` is the built-in model, ``anthropic/<m>`` Anthropic's, ``openai/<m>`` and every
                other name the OpenAI-compatible endpoint's. Empty means the server's default.

        Raises:
            ProviderError: PROVIDER_NOT_CONFIGURED when the provider's SDK or key is missing.
        """
        name = model or self.settings.default_model
        if name == LOCAL_MODEL:
            return await self._provider(LOCAL_MODEL), name
        kind = _ANTHROPIC if name.startswith(_ANTHROPIC) else _OPENAI
        try:
            return await self._provider(kind), name.removeprefix(kind)
        except ProviderError as error:
            raise ProviderError(
                error.reason,
                f"There is no provider for the model {name!r} here: {error.message} "
                "Models are `local`, `openai/NAME` and `anthropic/NAME`; "
                "any other name is the OpenAI-compatible endpoint's.",
                retryable=error.retryable,
            ) from error

    async def close(self) -> None:
        """Release all connections. Idempotent; no stream may be open."""
        while self._made:
            _, provider = self._made.popitem()
            await provider.close()

    async def _provider(self, kind: str) -> Provider:
        async with self._making:
            provider = self._made.get(kind)
            if provider is None:
                # In a thread: importing an SDK takes a second, in which the event loop has other work.
                provider = self._made[kind] = await asyncio.to_thread(self._make, kind)
            return provider

    def _make(self, kind: str) -> Provider:
        if kind == LOCAL_MODEL:
            return LocalProvider(self.settings)
        # Imported here: a server that runs other models never needs the SDK.
        if kind == _ANTHROPIC:
            from durachart.workers.providers.anthropic_messages import AnthropicProvider

            return AnthropicProvider(self.settings)
        from durachart.workers.providers.openai_compatible import OpenAICompatibleProvider

        return OpenAICompatibleProvider(self.settings)
