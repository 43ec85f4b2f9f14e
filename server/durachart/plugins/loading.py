"""Where plug-ins come from: modules by name, and the entry points of installed packages."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from durachart.plugins.collection import PluginCollection
from durachart.plugins.errors import PluginsUnusable
from durachart.plugins.plugin import Plugin

GROUP = "durachart.plugins"


def load_plugins(modules: Sequence[str] = (), *, option: str = "--plugins") -> PluginCollection:
    """Import plug-ins and put them together.

    Args:
        modules: Names of modules, each with at least one ``Plugin``; found as installed, or below the working
            directory.
        option: Names where they were asked for, in messages.

    Returns:
        Those of the modules, in order, then those of installed packages, by name. A plug-in that is reached
        on several ways counts once.

    Raises:
        PluginsUnusable: With one sentence for whoever started the program.
    """
    found: list[Plugin] = []
    if modules and (here := str(Path.cwd())) not in sys.path:
        # Last: a file here must not stand before a module of the standard library.
        sys.path.append(here)
    for name in modules:
        found += _in_module(_imported(name, option), f"{option} {name}")
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        source = f"the installed plug-in {entry.name!r} ({entry.value})"
        try:
            loaded = entry.load()
        except (Exception, SystemExit) as error:
            raise PluginsUnusable(f"{source} cannot be loaded: {_why(error)}") from error
        found += [loaded] if isinstance(loaded, Plugin) else _in_module(loaded, source)
    distinct = {id(plugin): plugin for plugin in found}
    return PluginCollection(distinct.values())


def _imported(name: str, option: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise PluginsUnusable(f"{option}: the module {name!r} cannot be imported: {_why(error)}") from error


def _in_module(module: object, source: str) -> list[Plugin]:
    plugins = [value for value in vars(module).values() if isinstance(value, Plugin)]
    if not plugins:
        raise PluginsUnusable(
            f"{source} has no plug-in in it; write `plugin = Plugin(NAME)` at its top level"
        )
    return plugins


def _why(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
