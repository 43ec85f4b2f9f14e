"""JSON data that cannot be written to.

A view costs the same whatever lies below it: a guard that reads one key of a large context does not pay for
the rest. Copying would, at every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, TypeAlias, overload

MAX_DEPTH = 200
"""Objects and arrays within one another, as in a definition."""

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What JSON can say."""


class FrozenMapping(Mapping[str, Any]):
    """A JSON object, to be read only, and so is what is in it. Equal to a dict of the same content."""

    __slots__ = ("_of",)

    def __init__(self, of: Mapping[str, Any]) -> None:
        self._of = of

    def __getitem__(self, key: str) -> Any:
        value = self._of[key]
        return freeze(value) if isinstance(value, (dict, list)) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)

    def __contains__(self, key: object) -> bool:
        return key in self._of

    def __eq__(self, other: object) -> bool:
        return self._of == (_content(other) if isinstance(other, (FrozenMapping, FrozenList)) else other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"FrozenMapping({self._of!r})"


class FrozenList(Sequence[Any]):
    """A JSON array, to be read only, and so is what is in it. Equal to a list of the same content."""

    __slots__ = ("_of",)

    def __init__(self, of: Sequence[Any]) -> None:
        self._of = of

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> FrozenList: ...

    def __getitem__(self, index: int | slice) -> Any:
        return freeze(self._of[index])

    def __len__(self) -> int:
        return len(self._of)

    def __eq__(self, other: object) -> bool:
        return self._of == (_content(other) if isinstance(other, (FrozenMapping, FrozenList)) else other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"FrozenList({self._of!r})"


def _content(view: FrozenMapping | FrozenList) -> Mapping[str, Any] | Sequence[Any]:
    return view._of


def freeze(value: Any) -> Any:
    """JSON data as it may be read and not be written to."""
    if isinstance(value, dict):
        return FrozenMapping(value)
    return FrozenList(value) if isinstance(value, list) else value


def thaw(value: Any) -> Json:
    """A copy of JSON data, views included, made of plain dicts and lists that may be written to.

    Raises:
        TypeError: Something in it is no JSON.
        ValueError: A number is not finite, or it is nested more than 200 deep.
    """
    return _plain(value, 0, shared=False)


def checked(value: Any) -> Json:
    """What an implementation gave, as JSON data that nobody else holds; views are as good as what they show.

    Raises:
        TypeError: See ``thaw``.
        ValueError: See ``thaw``.
    """
    return _plain(value, 0, shared=True)


def _plain(value: Any, depth: int, *, shared: bool) -> Json:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if isfinite(value):
            return float(value)
        raise ValueError(f"{value} is no JSON number")
    if depth >= MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    if isinstance(value, (FrozenMapping, FrozenList)):
        # Nobody can write to what is behind a view, so it need not be copied to be put back into the context.
        behind: Any = _content(value)
        return behind if shared else _plain(behind, depth, shared=shared)
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1, shared=shared) for item in value]
    if isinstance(value, Mapping):
        return {_key(key): _plain(item, depth + 1, shared=shared) for key, item in value.items()}
    raise TypeError(f"{type(value).__name__} is no JSON")


def _key(key: object) -> str:
    if isinstance(key, str):
        return key
    raise TypeError(f"a key is {type(key).__name__}, not text")
