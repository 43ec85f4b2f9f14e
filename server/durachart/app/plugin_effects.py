"""Effect handlers of plug-ins, as the effect worker runs them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import partial

from durachart.plugins.collection import PluginCollection
from durachart.plugins.effects import EffectCall, EffectFailed, EffectRejected
from durachart.plugins.errors import PluginsUnusable
from durachart.plugins.frozen import FrozenMapping, thaw
from durachart.plugins.plugin import Handler
from durachart.workers import errors
from durachart.workers.handlers import Attempt, EffectHandler


class PluginEffectHandler:
    """Runs the effects that name one handler of a plug-in."""

    timeout_reason = "EFFECT_TIMEOUT"

    def __init__(self, name: str, handler: Handler, concurrency: int) -> None:
        """Run ``handler`` for the effects that name it ``name``, up to ``concurrency`` at a time."""
        self.name = name
        self.concurrency = concurrency
        self._handler = handler

    async def run(self, attempt: Attempt) -> object:
        """Make one attempt; see `EffectHandler.run`."""
        key = attempt.key
        call = EffectCall(
            key.namespace,
            key.machine_id,
            key.instance_id,
            attempt.effect_id,
            attempt.type,
            attempt.number,
            FrozenMapping(attempt.params),
            partial(_step, attempt),
        )
        try:
            # Views of the parameters may be in it, which nothing below could write down.
            return thaw(await self._handler(call))
        except EffectRejected as rejected:
            raise errors.EffectRejected(rejected.reason, rejected.message) from rejected
        except EffectFailed as failed:
            raise errors.EffectFailure(
                failed.reason,
                failed.message,
                retryable=failed.retryable,
                retry_after_s=failed.retry_after_s,
            ) from failed
        except SystemExit as left:
            raise RuntimeError("the handler tried to end the server") from left


async def _step(attempt: Attempt, name: str, work: Callable[[], Awaitable[object]]) -> object:
    """A recorded step of a plug-in's handler, which knows its own exceptions and no others."""

    async def thawed() -> object:
        try:
            return thaw(await work())
        except (EffectRejected, EffectFailed) as failed:
            raise errors.EffectFailure(failed.reason, failed.message, retryable=False) from failed

    try:
        return await attempt.step(name, thawed)
    except errors.EffectFailure as failure:
        raise (failure.__cause__ or failure) from None


def plugin_handlers(plugins: PluginCollection, built_in: Collection[str]) -> tuple[EffectHandler, ...]:
    """One handler for each effect of the plug-ins.

    Args:
        plugins: Where they are from.
        built_in: Names that are taken.

    Raises:
        PluginsUnusable: A plug-in has a handler of such a name.
    """
    handlers = []
    for name, (plugin, handler, concurrency) in plugins.effects.items():
        if name in built_in:
            raise PluginsUnusable(
                f"the plug-in {plugin.name!r} has the effect {name!r}, which is built in; rename it"
            )
        handlers.append(PluginEffectHandler(name, handler, concurrency))
    return tuple(handlers)
