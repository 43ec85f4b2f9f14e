"""Parameters of llm.generate: read, or refused with the parameter's name."""

from __future__ import annotations

from typing import Any

import pytest

from durachart.workers.errors import EffectRejected
from durachart.workers.generation_params import read_request
from durachart.workers.providers.protocol import GenerationRequest, Message


def test_everything_is_read() -> None:
    request = read_request(
        {
            "model": "openai/gpt-x",
            "system": "Be brief.",
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Hi"},
            ],
            "prompt": "How are you?",
            "max_output_tokens": 100.0,
            "temperature": 0,
        }
    )
    assert request == GenerationRequest(
        model="openai/gpt-x",
        messages=(Message("user", "Hello"), Message("assistant", "Hi"), Message("user", "How are you?")),
        system="Be brief.\n\nBe kind.",
        max_output_tokens=100,
        temperature=0.0,
    )


def test_null_is_the_same_as_absent() -> None:
    absent = dict.fromkeys(["model", "system", "messages", "max_output_tokens", "temperature"])
    assert read_request({"prompt": "x", **absent}) == read_request({"prompt": "x"})


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({}, "`prompt`"),
        ({"prompt": ""}, "`prompt`"),
        ({"messages": []}, "`messages`"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "`user`"),
        ({"promt": "x"}, "'promt'"),
        ({"prompt": ["x"]}, "`prompt`"),
        ({"prompt": "x", "model": 1}, "`model`"),
        ({"prompt": "x", "system": {}}, "`system`"),
        ({"messages": "x"}, "`messages`"),
        ({"messages": ["x"]}, "`messages[0]`"),
        ({"messages": [{"role": "user", "content": "x", "name": "y"}]}, "`messages[0]`"),
        (
            {"messages": [{"role": "user", "content": "x"}, {"role": "tool", "content": "y"}]},
            "`messages[1].role`",
        ),
        ({"messages": [{"role": "user", "content": None}]}, "`messages[0].content`"),
        ({"prompt": "x", "max_output_tokens": 0}, "`max_output_tokens`"),
        ({"prompt": "x", "max_output_tokens": 1.5}, "`max_output_tokens`"),
        ({"prompt": "x", "max_output_tokens": True}, "`max_output_tokens`"),
        ({"prompt": "x", "temperature": -1}, "`temperature`"),
        ({"prompt": "x", "temperature": "hot"}, "`temperature`"),
        ({"prompt": "x", "temperature": 10**400}, "`temperature`"),
    ],
)
def test_what_cannot_be_is_rejected_by_name(params: dict[str, Any], named: str) -> None:
    with pytest.raises(EffectRejected) as rejected:
        read_request(params)
    assert rejected.value.reason == "PARAMS_INVALID"
    assert not rejected.value.retryable
    assert named in rejected.value.message
