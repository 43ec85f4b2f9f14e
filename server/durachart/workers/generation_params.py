"""Reads the parameters of ``llm.generate``.

    model:              "" or null is the server's default; see `Providers.choose`
    system:             instructions; null is none
    messages:           [{role: system | user | assistant, content: text}, …] in order
    prompt:             a user's message after all others
    max_output_tokens:  1 or more; null leaves it to the provider
    temperature:        0 or more; null leaves it to the provider

There must be a ``prompt`` or a ``user`` message. Messages of the role ``system`` join ``system`` in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from durachart.workers.errors import EffectRejected
from durachart.workers.providers.protocol import GenerationRequest, Message

PARAMS_INVALID: Final = "PARAMS_INVALID"

_KEYS: Final = ("model", "system", "messages", "prompt", "max_output_tokens", "temperature")
_ROLES: Final = ("system", "user", "assistant")


def read_request(params: Mapping[str, Any]) -> GenerationRequest:
    """Return the request; its model is as written, empty for the server's default.

    Raises:
        EffectRejected: PARAMS_INVALID, naming the parameter and what it must be.
    """
    for name in params:
        if name not in _KEYS:
            raise _invalid(f"there is no parameter {name!r}; the parameters are {', '.join(_KEYS)}")
    system = [_text(params.get("system"), "system")]
    messages: list[Message] = []
    for role, content in _turns(params.get("messages")):
        if role == "system":
            system.append(content)
        else:
            messages.append(Message("user" if role == "user" else "assistant", content))
    prompt = _text(params.get("prompt"), "prompt")
    if prompt:
        messages.append(Message("user", prompt))
    if not any(message.role == "user" for message in messages):
        raise _invalid(
            "there is nothing to answer; give a `prompt`, or `messages` with one of the role `user`"
        )
    return GenerationRequest(
        model=_text(params.get("model"), "model"),
        messages=tuple(messages),
        system="\n\n".join(filter(None, system)),
        max_output_tokens=_bound(params.get("max_output_tokens")),
        temperature=_temperature(params.get("temperature")),
    )


def _turns(value: object) -> list[tuple[str, str]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _invalid("`messages` must be a list of {role, content}")
    turns = []
    for index, turn in enumerate(value):
        where = f"messages[{index}]"
        if not isinstance(turn, dict) or set(turn) != {"role", "content"}:
            raise _invalid(f"`{where}` must be an object with `role` and `content` and nothing else")
        if turn["role"] not in _ROLES:
            raise _invalid(f"`{where}.role` must be one of {', '.join(_ROLES)}")
        if not isinstance(turn["content"], str):
            raise _invalid(f"`{where}.content` must be text")
        turns.append((turn["role"], turn["content"]))
    return turns


def _text(value: object, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _invalid(f"`{name}` must be text")
    return value


def _bound(value: object) -> int | None:
    if value is None:
        return None
    number = _number(value)
    if number is None or number < 1 or not number.is_integer():
        raise _invalid("`max_output_tokens` must be a whole number of 1 or more")
    return int(number)


def _temperature(value: object) -> float | None:
    if value is None:
        return None
    number = _number(value)
    if number is None or not 0 <= number < float("inf"):
        raise _invalid("`temperature` must be a number of 0 or more")
    return number


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _invalid(message: str) -> EffectRejected:
    return EffectRejected(PARAMS_INVALID, f"The parameters of llm.generate are not valid: {message}.")
