"""Effects as operators read them: one with everything that was recorded of it, or a list."""

from __future__ import annotations

from durachart.runtime.effect_views import EffectRecord, EffectState, effect_record
from durachart.runtime.errors import EffectNotFound, InvalidArgument
from durachart.runtime.opaque import PageTokens
from durachart.runtime.paging import page_limit
from durachart.runtime.store_errors import told_as_unavailable
from durachart.runtime.views import Page
from durachart.store.interface import EffectMatch, EffectPosition, Store
from durachart.store.keys import InstanceKey
from durachart.store.rows import EffectRow

# One page stays well under the 4 MiB that gRPC clients take by default, unless a single effect is larger.
_PAGE_CHARACTERS = 1024 * 1024


class EffectReads:
    """Reads of the outbox."""

    def __init__(self, store: Store) -> None:
        """Read from ``store``."""
        self._store = store

    async def get(self, key: InstanceKey, effect_id: str) -> EffectRecord | None:
        """See ``Runtime.get_effect``."""
        with told_as_unavailable():
            row = await self._store.get_effect(key, effect_id)
        return None if row is None else effect_record(row)

    async def latest(self, key: InstanceKey, handler: str) -> EffectRecord | None:
        """See ``Runtime.latest_effect``."""
        with told_as_unavailable():
            row = await self._store.latest_effect(key, handler)
        return None if row is None else effect_record(row)

    async def details(self, key: InstanceKey, effect_id: str) -> EffectRecord:
        """One effect with its attempts and steps. Raises EffectNotFound."""
        with told_as_unavailable():
            found = await self._store.get_effect_details(key, effect_id)
        if found is None:
            raise EffectNotFound(key, effect_id)
        return effect_record(*found)

    async def list(
        self,
        namespace: str,
        *,
        machine_id: str = "",
        instance_id: str = "",
        handler: str = "",
        state: EffectState | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[EffectRecord]:
        """Effects, without attempts and steps; what is empty or None is not looked at.

        A page that is not the last may hold less than its size, but never nothing.

        Raises:
            InvalidArgument: An instance without its machine, or a negative size.
            PageTokenInvalid: The token is not of this list.
        """
        if instance_id and not machine_id:
            raise InvalidArgument("instance_id", "names no instance without `machine_id`")
        match = EffectMatch(namespace, machine_id, instance_id, handler, state or "")
        limit = page_limit(page_size)
        tokens = PageTokens("effects", *match)
        after = None
        if page_token:
            after = EffectPosition(*tokens.read(page_token, int, str, str, int, int, int))
        with told_as_unavailable():
            rows = await self._store.list_effects(match, after, limit + 1)
        shown = _fitting(rows[:limit])
        token = tokens.make(*_position(shown[-1])) if len(shown) < len(rows) else ""
        return Page(tuple(effect_record(row) for row in shown), token)


def _fitting(rows: list[EffectRow]) -> list[EffectRow]:
    """The first rows that make a page; at least one if there is one."""
    room = _PAGE_CHARACTERS
    for count, row in enumerate(rows):
        room -= len(row.params) + len(row.output or "")
        if room < 0 and count:
            return rows[:count]
    return rows


def _position(row: EffectRow) -> EffectPosition:
    return EffectPosition(
        row.shard, row.machine_id, row.instance_id, row.created_at_ms, row.version, row.ordinal
    )
