"""What is typed after an event: JSON, ``key=value`` pairs, a file or standard input."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from math import isinf
from pathlib import Path
from typing import Any, NoReturn

from durachart.app.cli.exits import ExitCode, Failure


def event_data(words: Sequence[str]) -> dict[str, Any]:
    """The event's own keys.

    Args:
        words: Nothing; one JSON object; ``@FILE`` or ``-`` with a JSON object in it; or ``key=value``
            pairs, where a value that is JSON is read as JSON and any other is a string.

    Raises:
        Failure: They are none of these.
    """
    if not words:
        return {}
    if len(words) == 1 and (words[0].lstrip().startswith("{") or words[0] == "-" or words[0].startswith("@")):
        value = json_value(words[0], "the event's data")
        if not isinstance(value, dict):
            raise Failure(
                ExitCode.USAGE, "the event's data is not a JSON object: write '{\"key\": ...}' or key=value"
            )
        return value
    return dict(_pair(word) for word in words)


def json_value(text: str, what: str) -> Any:
    """The JSON value in ``text``; ``@FILE`` reads it from a file, ``-`` from standard input.

    Args:
        text: As typed.
        what: Names the argument in an error.

    Raises:
        Failure: It is not JSON, or the file cannot be read.
    """
    place = what
    if text == "-":
        text, place = sys.stdin.read(), f"{what} on standard input"
    elif text.startswith("@"):
        place = f"{what} in {text[1:]}"
        text = read_text(Path(text[1:]))
    try:
        return _parsed(text)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise Failure(ExitCode.USAGE, f"{place} is not JSON: {error.msg} at {at}") from error
    except (ValueError, RecursionError) as error:
        raise Failure(ExitCode.USAGE, f"{place} is not JSON: {error}") from error


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        Failure: It cannot be read.
    """
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Failure(ExitCode.USAGE, f"cannot read {path}: it is not UTF-8 text") from error


def read_bytes(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        Failure: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise Failure(
            ExitCode.USAGE, f"cannot read {path}: {(error.strerror or str(error)).lower()}"
        ) from error


def _pair(word: str) -> tuple[str, Any]:
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise Failure(ExitCode.USAGE, f"{word!r} is neither a JSON object nor key=value")
    try:
        return key, _parsed(text)
    except (ValueError, RecursionError):
        return key, text


def _parsed(text: str) -> Any:
    """The value of JSON text; unlike Python's own reading, NaN and infinities are not JSON."""
    return json.loads(text, parse_constant=_no_constant, parse_float=_finite)


def _finite(text: str) -> float:
    value = float(text)
    if isinf(value):
        raise ValueError(f"{text} is too large a number")
    return value


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"it has no {word}")


def pairs(words: Sequence[str], what: str) -> dict[str, str]:
    """``KEY=VALUE`` words as text.

    Raises:
        Failure: One has no ``=``, or no key.
    """
    found: dict[str, str] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise Failure(ExitCode.USAGE, f"{what} {word!r} is not KEY=VALUE")
        found[key] = text
    return found
