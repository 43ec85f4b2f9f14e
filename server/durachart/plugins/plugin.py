"""A plug-in: a named set of implementations, collected by decorators."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final, TypeVar, overload

from durachart.plugins.effects import EffectCall
from durachart.plugins.step import Step

Guard = Callable[[Step], bool]
Action = Callable[[Step], Mapping[str, Any] | None]
Delay = Callable[[Step], int | float | timedelta]
Handler = Callable[[EffectCall], Awaitable[object]]
"""Gives the effect's output, JSON data; None is no output."""

_G = TypeVar("_G", bound=Guard)
_A = TypeVar("_A", bound=Action)
_D = TypeVar("_D", bound=Delay)
_H = TypeVar("_H", bound=Handler)
_F = TypeVar("_F", bound=Callable[..., Any])

DEFAULT_CONCURRENCY: Final = 16


class Plugin:
    """Implementations for definitions to name.

    Attributes:
        name: Tells it from others, in messages and hashes.
        version: What stands for its code in the hash of a definition that uses it; ``""``: the source text
            of the modules its guards, actions and delays are written in does. Instances whose definition
            was published with another version are not run, because replaying them might give another
            state. So give the version by hand, and change it whenever an implementation decides otherwise.
        guards: By the name definitions use.
        actions: Likewise.
        delays: Likewise.
        effects: Handlers with the most attempts each runs at a time, likewise.
    """

    def __init__(self, name: str, *, version: str = "") -> None:
        if not name:
            raise ValueError("a plug-in needs a name")
        self.name = name
        self.version = version
        self.guards: dict[str, Guard] = {}
        self.actions: dict[str, Action] = {}
        self.delays: dict[str, Delay] = {}
        self.effects: dict[str, tuple[Handler, int]] = {}

    def __repr__(self) -> str:
        return f"Plugin({self.name!r})"

    @overload
    def guard(self, implementation: _G, /) -> _G: ...

    @overload
    def guard(self, name: str, /) -> Callable[[_G], _G]: ...

    def guard(self, given: Any, /) -> Any:
        """Add a guard, under its own name or the one given; it answers True or False."""
        return self._decorate("guard", self.guards, given)

    @overload
    def action(self, implementation: _A, /) -> _A: ...

    @overload
    def action(self, name: str, /) -> Callable[[_A], _A]: ...

    def action(self, given: Any, /) -> Any:
        """Add an action, under its own name or the one given.

        It gives the keys of the context that are to change, with their new values; None or nothing in it:
        the context stays.
        """
        return self._decorate("action", self.actions, given)

    @overload
    def delay(self, implementation: _D, /) -> _D: ...

    @overload
    def delay(self, name: str, /) -> Callable[[_D], _D]: ...

    def delay(self, given: Any, /) -> Any:
        """Add a delay, under its own name or the one given; it gives milliseconds or a timedelta, >= 0."""
        return self._decorate("delay", self.delays, given)

    def effect(self, name: str, /, *, concurrency: int = DEFAULT_CONCURRENCY) -> Callable[[_H], _H]:
        """Add a handler for the effects whose definition names it as ``handler``.

        It may be run more than once for one effect, and is cancelled when its effect is stopped, takes too
        long or the server stops.

        Args:
            name: The name definitions use.
            concurrency: Most attempts at a time, >= 1.
        """
        if concurrency < 1:
            raise ValueError(f"effect {name!r} of {self!r}: concurrency is at least 1, not {concurrency}")

        def add(handler: _H) -> _H:
            if not _is_async(handler):
                raise TypeError(f"effect {name!r} of {self!r} must be an `async def`")
            self._add("effect", self.effects, name, (handler, concurrency))
            return handler

        return add

    def _decorate(self, kind: str, known: dict[str, Any], given: Any) -> Any:
        if not isinstance(given, str):
            return self._add_function(kind, known, given.__name__, given)

        def add(implementation: _F) -> _F:
            return self._add_function(kind, known, given, implementation)

        return add

    def _add_function(self, kind: str, known: dict[str, Any], name: str, implementation: _F) -> _F:
        if _is_async(implementation):
            raise TypeError(f"{kind} {name!r} of {self!r} must be a plain function: a step does not wait")
        self._add(kind, known, name, implementation)
        return implementation

    def _add(self, kind: str, known: dict[str, Any], name: str, implementation: object) -> None:
        if not name or name.startswith("xstate."):
            raise ValueError(f"{name!r} is no name for the {kind} of a plug-in")
        if name in known:
            raise ValueError(f"{self!r} has two {kind}s {name!r}; give one of them another name")
        known[name] = implementation

    @property
    def digest(self) -> str:
        """A text that is another one whenever what this plug-in decides may be another."""
        if self.version:
            return f"{self.name} version {self.version}"
        functions = [*self.guards.values(), *self.actions.values(), *self.delays.values()]
        source = hashlib.sha256()
        for module in sorted({function.__module__ for function in functions}):
            source.update(f"{module}\n{_source(module)}\n".encode())
        return f"{self.name} source {source.hexdigest()}"


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _source(module: str) -> str:
    try:
        return inspect.getsource(sys.modules[module])
    except (KeyError, OSError, TypeError) as error:
        raise ValueError(
            f"the source of {module} cannot be read; give its plug-in a version: Plugin(name, version=…)"
        ) from error
