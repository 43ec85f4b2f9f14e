"""Plug-ins together, as machines use them: by name, with every answer checked."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from math import isfinite
from typing import Any

from durachart.plugins.errors import PluginFailed, PluginsUnusable
from durachart.plugins.frozen import checked
from durachart.plugins.plugin import Action, Delay, Guard, Handler, Plugin
from durachart.plugins.step import Step

_log = logging.getLogger(__name__)

Implementation = Callable[[Mapping[str, Any], Mapping[str, Any], Any, int, Any], Any]
"""``(context, event, params, now_ms, budget) -> value``, as the engine calls it."""

_MAX_SHOWN = 500


class PluginCollection:
    """The implementations of several plug-ins.

    Attributes:
        guards: By name; each gives a boolean or raises PluginFailed.
        actions: By name; each gives a dict of context keys that nobody else holds, or raises PluginFailed.
        delays: By name; each gives milliseconds >= 0, or raises PluginFailed.
        effects: Handlers by name, each with its plug-in and the most attempts at a time.
        names: Of the plug-ins, in the order given.
    """

    def __init__(self, plugins: Iterable[Plugin] = ()) -> None:
        """Put ``plugins`` together.

        Raises:
            PluginsUnusable: Two of them have the same name, or implement the same name.
        """
        self.guards: dict[str, Implementation] = {}
        self.actions: dict[str, Implementation] = {}
        self.delays: dict[str, Implementation] = {}
        self.effects: dict[str, tuple[Plugin, Handler, int]] = {}
        self._owners: dict[tuple[str, str], Plugin] = {}
        self._digests: dict[str, str] = {}
        for plugin in plugins:
            if plugin.name in self._digests:
                raise PluginsUnusable(f"two plug-ins are called {plugin.name!r}; rename or remove one")
            try:
                self._digests[plugin.name] = plugin.digest
            except ValueError as error:
                raise PluginsUnusable(f"plug-in {plugin.name!r} cannot be used: {error}") from error
            self._add(plugin)
        self.names = tuple(self._digests)

    def _add(self, plugin: Plugin) -> None:
        for name, guard in plugin.guards.items():
            self.guards[self._own("guard", name, plugin)] = _guard(_place("guard", name, plugin), guard)
        for name, action in plugin.actions.items():
            self.actions[self._own("action", name, plugin)] = _action(_place("action", name, plugin), action)
        for name, delay in plugin.delays.items():
            self.delays[self._own("delay", name, plugin)] = _delay(_place("delay", name, plugin), delay)
        for name, (handler, concurrency) in plugin.effects.items():
            self.effects[self._own("effect", name, plugin)] = (plugin, handler, concurrency)

    def _own(self, kind: str, name: str, plugin: Plugin) -> str:
        owner = self._owners.setdefault((kind, name), plugin)
        if owner is not plugin:
            raise PluginsUnusable(
                f"the plug-ins {owner.name!r} and {plugin.name!r} both have the {kind} {name!r}; "
                "rename it in one of them, or leave one out"
            )
        return name

    def digest_of(self, used: Iterable[tuple[str, str]]) -> str:
        """Another text whenever one of the plug-ins behind these names may behave differently.

        Args:
            used: Pairs of ``guard``, ``action`` or ``delay`` and a name; those of no plug-in do not count.
        """
        plugins = {self._owners[use].name for use in used if use in self._owners}
        text = "\n".join(self._digests[name] for name in sorted(plugins))
        return hashlib.sha256(text.encode()).hexdigest()


def _place(kind: str, name: str, plugin: Plugin) -> str:
    return f"{kind} {name!r} of plug-in {plugin.name!r}"


def _guard(place: str, guard: Guard) -> Implementation:
    def test(
        context: Mapping[str, Any], event: Mapping[str, Any], params: Any, now_ms: int, budget: object
    ) -> bool:
        try:
            verdict = guard(Step(context, event, params, now_ms))
        except (Exception, SystemExit) as error:
            raise _failed(place, error) from error
        if verdict is True or verdict is False:
            return verdict
        raise PluginFailed(f"{place} gave {type(verdict).__name__}, not True or False")

    return test


def _action(place: str, action: Action) -> Implementation:
    def assign(
        context: Mapping[str, Any], event: Mapping[str, Any], params: Any, now_ms: int, budget: object
    ) -> dict[str, Any]:
        try:
            changes: object = action(Step(context, event, params, now_ms))
        except (Exception, SystemExit) as error:
            raise _failed(place, error) from error
        if changes is None:
            return {}
        if not isinstance(changes, Mapping):
            raise PluginFailed(f"{place} gave {type(changes).__name__}, not keys of the context")
        try:
            plain = checked(changes)
        except (Exception, SystemExit) as error:
            raise PluginFailed(f"{place} gave what the context cannot hold: {_shown(error)}") from error
        assert isinstance(plain, dict)
        return plain

    return assign


def _delay(place: str, delay: Delay) -> Implementation:
    def measure(
        context: Mapping[str, Any], event: Mapping[str, Any], params: Any, now_ms: int, budget: object
    ) -> float:
        try:
            given: object = delay(Step(context, event, params, now_ms))
        except (Exception, SystemExit) as error:
            raise _failed(place, error) from error
        if isinstance(given, timedelta):
            given = given / timedelta(milliseconds=1)
        if isinstance(given, bool) or not isinstance(given, (int, float)):
            raise PluginFailed(f"{place} gave {type(given).__name__}, not milliseconds or a timedelta")
        if not isfinite(given) or given < 0:
            raise PluginFailed(f"{place} gave {given} ms; a delay is finite and not negative")
        return int(given) if given == int(given) else given

    return measure


def _failed(place: str, error: BaseException) -> PluginFailed:
    # Without its stack nobody finds a mistake; with it at every refused event the log would drown.
    _log.debug("plug-in raised place=%s", place, exc_info=error)
    return PluginFailed(f"{place} raised {_shown(error)}")


def _shown(error: BaseException) -> str:
    """An exception's type and text, shortened; a text that cannot be made is left out."""
    name = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 -- raised by the plug-in's own exception while it describes itself
        return name
    if len(text) > _MAX_SHOWN:
        text = text[:_MAX_SHOWN] + "…"
    return f"{name}: {text}" if text else name
