"""What goes wrong with plug-ins.

PluginError
├── PluginsUnusable     they cannot be loaded; nothing is started
└── PluginFailed        an implementation raised, or gave what it must not
"""

from __future__ import annotations


class PluginError(Exception):
    """Something is wrong with a plug-in."""


class PluginsUnusable(PluginError):
    """Plug-ins cannot be loaded, or do not go together; the text says which and what to do."""


class PluginFailed(PluginError):
    """An implementation raised, or gave what it must not; the text names it and its plug-in."""
