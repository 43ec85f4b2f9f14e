"""Trusted Python in machines: guards, actions, delays and effect handlers that definitions name.

    from durachart.plugins import Plugin, Step

    plugin = Plugin("shop", version="1")

    @plugin.guard
    def is_weekend(step: Step) -> bool:
        return step.now.weekday() >= 5

A server takes a plug-in from ``--plugins MODULE``, or from the entry points of an installed package in the
group ``durachart.plugins``. What a definition says itself wins over a plug-in's implementation of that name.

A guard, an action or a delay is part of a step: it gets the state as views that cannot be written to, and
the instant as an argument; it has to be a pure function of these, for a journal to replay. One that raises,
or gives something of another type, has its event refused with ``EVALUATION_FAILED``; the instance stays as
it was. An effect's handler runs after the commit and may do anything, more than once.

Everything here imports the standard library alone, so that a plug-in's own tests need no server.
"""

from durachart.plugins.effects import EffectCall, EffectFailed, EffectRejected
from durachart.plugins.frozen import FrozenList, FrozenMapping, Json, thaw
from durachart.plugins.plugin import Plugin
from durachart.plugins.step import Step

__all__ = [
    "EffectCall",
    "EffectFailed",
    "EffectRejected",
    "FrozenList",
    "FrozenMapping",
    "Json",
    "Plugin",
    "Step",
    "thaw",
]
