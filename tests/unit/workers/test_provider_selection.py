"""Which provider a model name means, and what is said when it is not set up."""

from __future__ import annotations

import sys

import pytest

from durachart.workers.errors import ProviderError
from durachart.workers.providers.selection import Providers
from durachart.workers.providers.settings import ProviderSettings

KEY = "sk-test-0000000000"  # not a key of anything
CONFIGURED = ProviderSettings(openai_api_key=KEY, anthropic_api_key=KEY)


@pytest.mark.parametrize(
    ("model", "default", "provider", "name"),
    [
        ("", "local", "durachart.local", "local"),
        ("", "gpt-x", "openai", "gpt-x"),
        ("local", "gpt-x", "durachart.local", "local"),
        ("gpt-x", "local", "openai", "gpt-x"),
        ("openai/gpt-x", "local", "openai", "gpt-x"),
        ("meta/llama", "local", "openai", "meta/llama"),
        ("openai/anthropic/claude", "local", "openai", "anthropic/claude"),
        ("anthropic/claude-x", "local", "anthropic", "claude-x"),
        ("", "anthropic/claude-x", "anthropic", "claude-x"),
    ],
)
async def test_a_model_s_name_chooses_the_provider(
    model: str, default: str, provider: str, name: str
) -> None:
    providers = Providers(ProviderSettings(default, openai_api_key=KEY, anthropic_api_key=KEY))
    chosen, own_name = await providers.choose(model)
    assert (chosen.name, own_name) == (provider, name)
    await providers.close()


async def test_a_provider_is_made_once_and_closed_with_the_rest() -> None:
    providers = Providers(CONFIGURED)
    first, _ = await providers.choose("a")
    again, _ = await providers.choose("openai/b")
    assert first is again
    await providers.close()
    await providers.close()
    anew, _ = await providers.choose("a")
    assert anew is not first
    await providers.close()


@pytest.mark.parametrize(
    ("model", "setting"), [("x", "DURACHART_OPENAI_API_KEY"), ("anthropic/x", "DURACHART_ANTHROPIC_API_KEY")]
)
async def test_a_missing_key_names_the_setting(model: str, setting: str) -> None:
    with pytest.raises(ProviderError) as missing:
        await Providers(ProviderSettings()).choose(model)
    assert missing.value.reason == "PROVIDER_NOT_CONFIGURED"
    assert not missing.value.retryable
    assert setting in missing.value.message


@pytest.mark.parametrize(
    ("model", "module", "extra"),
    [("x", "openai", "durachart[openai]"), ("anthropic/x", "anthropic", "durachart[anthropic]")],
)
async def test_a_missing_sdk_names_the_extra(
    model: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ProviderError) as missing:
        await Providers(CONFIGURED).choose(model)
    assert missing.value.reason == "PROVIDER_NOT_CONFIGURED"
    assert f"pip install '{extra}'" in missing.value.message


async def test_keys_are_in_no_repr() -> None:
    providers = Providers(CONFIGURED)
    await providers.choose("x")
    await providers.choose("anthropic/x")
    assert KEY not in repr(CONFIGURED) + repr(providers)
    await providers.close()
