"""JSON that callers send: parsed, bounded, and refused in words a person can act on."""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

import orjson

MAX_DEPTH: Final = 64

_LONG_NUMBER = re.compile(r"\d{19}")
_OPENING = re.compile(r"[\[{]")
_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**63 - 1


class Malformed(Exception):
    """The text is not JSON that the service takes.

    Attributes:
        path: JSON pointer to what is wrong; empty: the whole.
        message: One sentence, whose "it" is what stands at ``path``.
        is_json: Whether it can be kept as JSON nevertheless.
    """

    def __init__(self, message: str, path: str = "", *, is_json: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.is_json = is_json


def parse_json(text: str) -> Any:
    """Parse a JSON value.

    Of equal keys in one object the last counts, as in JavaScript. Numbers are kept as they are, so integers
    must fit into 64 bits: beyond them other readers of the data would lose digits in silence.

    Raises:
        Malformed: Not JSON, nested more than `MAX_DEPTH` deep, or with an integer that does not fit.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Malformed(
            f"it is not valid JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from None
    # A text without that many openings is not that deep; counting is cheaper than walking.
    if len(text) > MAX_DEPTH and len(_OPENING.findall(text)) > MAX_DEPTH:
        _require_depth(value)
    if _LONG_NUMBER.search(text):
        _require_small_integers(text)
    return value


def parse_object(text: str) -> dict[str, Any]:
    """Parse a JSON object; the empty text is ``{}``. Raises Malformed."""
    if not text:
        return {}
    value = parse_json(text)
    if type(value) is not dict:
        raise Malformed(f"it must be a JSON object, not {_kind(value)}", is_json=True)
    return value


def _require_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) in (dict, list)
        ]
        if not level:
            return
    raise Malformed(f"it is nested more than {MAX_DEPTH} levels deep")


def _require_small_integers(text: str) -> None:
    def integer(digits: str) -> int:
        # 20 characters hold every integer of 64 bits; int() on millions of digits takes minutes.
        if len(digits) > 20 or not _SMALLEST <= int(digits) <= _LARGEST:
            shown = digits if len(digits) <= 24 else f"{digits[:20]}…"
            raise Malformed(f"the integer {shown} does not fit into 64 bits; send it as a string")
        return int(digits)

    json.loads(text, parse_int=integer, parse_float=_ignore, parse_constant=_refuse)


def _ignore(_digits: str) -> None:
    return None


def _refuse(constant: str) -> NoReturn:
    raise Malformed(f"it is not valid JSON: {constant}")


def _kind(value: Any) -> str:
    names = {str: "a string", int: "a number", float: "a number", bool: "a boolean", list: "an array"}
    return names.get(type(value), "null")
