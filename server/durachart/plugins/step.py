"""What guards, actions and delays are given."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from durachart.plugins.frozen import FrozenMapping, freeze

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOTHING: Mapping[str, Any] = {}


class Step:
    """One step of an instance; nothing of it can be written to.

    Attributes:
        now_ms: The recorded instant in milliseconds since the epoch. The only clock there is.
    """

    __slots__ = ("_context", "_event", "_params", "now_ms")

    now_ms: int

    def __init__(
        self, context: Mapping[str, Any], event: Mapping[str, Any], params: Any = None, now_ms: int = 0
    ) -> None:
        """Describe a step; a plug-in's own tests make theirs so.

        Args:
            context: The machine's data.
            event: ``{"type": …}`` and the event's own keys.
            params: The parameters this use in the machine is written with; None: there are none.
            now_ms: The instant.
        """
        set_ = object.__setattr__
        set_(self, "_context", context)
        set_(self, "_event", event)
        set_(self, "_params", params)
        set_(self, "now_ms", now_ms)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a step cannot be changed, nor its {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a step cannot be changed, nor its {name!r}")

    @property
    def context(self) -> FrozenMapping:
        """The machine's data, as before this action."""
        return FrozenMapping(self._context)  # type: ignore[attr-defined]

    @property
    def event(self) -> FrozenMapping:
        """The event: ``type`` and its own keys."""
        return FrozenMapping(self._event)  # type: ignore[attr-defined]

    @property
    def params(self) -> FrozenMapping:
        """The parameters this use is written with; empty without any."""
        params = self._params  # type: ignore[attr-defined]
        found = freeze(_NOTHING if params is None else params)
        assert isinstance(found, FrozenMapping)
        return found

    @property
    def now(self) -> datetime:
        """The recorded instant, aware, in UTC."""
        return _EPOCH + timedelta(milliseconds=self.now_ms)
