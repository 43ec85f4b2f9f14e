"""Where two JSON texts differ, said shortly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import orjson

_SHOWN: Final = 3
_LONGEST: Final = 100
_ABSENT: Final = object()


class Difference(NamedTuple):
    """One place where what is stored is not what was computed.

    Attributes:
        path: JSON pointer; ``""`` is the whole value.
        stored: What is stored there, shortened; ``"nothing"``: nothing is.
        computed: The same of what was computed.
    """

    path: str
    stored: str
    computed: str

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{where}stored {self.stored}, computed {self.computed}"


def differences(stored: str | None, computed: str | None) -> tuple[Difference, ...]:
    """The first places where two JSON texts differ as values; empty: they do not.

    The order of an object's keys is no difference; 1 and 1.0 are one. None is no text at all.
    """
    if stored == computed:
        return ()
    if stored is None or computed is None:
        return (Difference("", _short_text(stored), _short_text(computed)),)
    try:
        pair = orjson.loads(stored), orjson.loads(computed)
    except orjson.JSONDecodeError:
        return (Difference("", _short_text(stored), _short_text(computed)),)
    return plain_differences(*pair)


def plain_differences(stored: Any, computed: Any) -> tuple[Difference, ...]:
    """The same for values."""
    found: list[Difference] = []
    for difference in _walk(stored, computed):
        found.append(difference)
        if len(found) == _SHOWN:
            break
    return tuple(found)


def _walk(stored: Any, computed: Any) -> Iterator[Difference]:
    """Not recursive: what is stored may be nested deeper than Python calls may be."""
    pending = [("", stored, computed)]
    while pending:
        path, ours, theirs = pending.pop()
        if type(ours) is dict and type(theirs) is dict:
            keys = reversed(list(ours | theirs))
            pending.extend(
                (f"{path}/{_token(key)}", ours.get(key, _ABSENT), theirs.get(key, _ABSENT)) for key in keys
            )
        elif type(ours) is list and type(theirs) is list:
            pending.extend(
                (f"{path}/{index}", _item(ours, index), _item(theirs, index))
                for index in reversed(range(max(len(ours), len(theirs))))
            )
        elif type(ours) is not type(theirs) or ours != theirs:
            yield Difference(path, _short(ours), _short(theirs))


def _token(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _item(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else _ABSENT


def _short(value: Any) -> str:
    if value is _ABSENT:
        return "nothing"
    try:
        text = orjson.dumps(value, default=str).decode()
    except TypeError:
        text = repr(value)
    return _cut(text)


def _short_text(text: str | None) -> str:
    return "nothing" if text is None else _cut(text) if text else "nothing at all"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
