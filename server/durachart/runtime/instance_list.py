"""Lists of instances, narrowed by what they are.

What the database cannot judge is judged here, instance by instance, up to a bound: a call that has looked at
that many answers with what it has found, and a token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import orjson

from durachart.definitions.instance_expression import ExpressionInvalid, InstanceExpression
from durachart.engine.errors import SnapshotInvalid
from durachart.runtime.errors import DurachartError, InvalidArgument, StoreUnavailable
from durachart.runtime.instance import read_labels
from durachart.runtime.instance_filter import ActiveStates, InstanceFilter
from durachart.runtime.opaque import PageTokens
from durachart.runtime.paging import PAGE_BYTES, page_limit, read_page, size_bytes
from durachart.runtime.registry import Registry
from durachart.runtime.views import InstanceState, InstanceStatus, Page, View, WatchFilter
from durachart.store.interface import Store, StoredInstance

_MOST_LOOKED_AT: Final = 2_000
_LOOKED_AT_AT_A_TIME: Final = 200
_MOST_UNITS: Final = 2_000_000
"""What asking all of them may cost, in units of an expression's budget: about a tenth of a second."""
_UNITS_AT_A_TIME: Final = 100_000


class Narrowed(NamedTuple):
    """Which instances are wanted.

    Attributes:
        namespace: Exactly this one.
        machine_id: Empty: any.
        status: None: any.
        state_ids: At least one active state has one of these ids; empty: any.
        tags: All of these; empty: any.
        labels: All of these; empty: any.
        filter: A CEL expression that is true of the instance; empty: any.
    """

    namespace: str
    machine_id: str = ""
    status: InstanceStatus | None = None
    state_ids: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = MappingProxyType({})
    filter: str = ""

    @property
    def by_the_store(self) -> bool:
        """Whether the store can judge all of it."""
        return not (self.state_ids or self.tags or self.labels or self.filter)

    def tokens(self) -> PageTokens:
        """The tokens of this list's pages."""
        basis = ("instances", self.namespace, self.machine_id, self.status or "")
        if self.by_the_store:
            return PageTokens(*basis)
        rest = orjson.dumps([self.state_ids, self.tags, sorted(self.labels.items()), self.filter]).decode()
        return PageTokens(*basis, rest)


Show = Callable[[StoredInstance, View], Awaitable[InstanceState]]


class InstanceLists:
    """Makes the pages."""

    def __init__(self, store: Store, registry: Registry, states: ActiveStates, show: Show) -> None:
        """List what ``store`` holds, each as ``show`` shows it."""
        self._store = store
        self._registry = registry
        self._states = states
        self._show = show

    async def page(
        self, wanted: Narrowed, page_size: int, page_token: str, view: View
    ) -> Page[InstanceState]:
        """One page, by machine id, then instance id.

        Raises:
            InvalidArgument: The expression cannot be asked.
            PageTokenInvalid: The token is not of this list.
            StoreFailed: The store failed.
        """
        limit = page_limit(page_size)
        tokens = wanted.tokens()
        after: tuple[str, str] = ("", "")
        if page_token:
            after_machine, after_instance = tokens.read(page_token, str, str)
            after = (after_machine, after_instance)
        if wanted.by_the_store:

            async def read(after: tuple[str, str], count: int) -> list[StoredInstance]:
                page = await self._store.list_instances(
                    wanted.namespace, wanted.machine_id, wanted.status or "", after, count
                )
                return page.instances

            found, following = await read_page(
                read,
                after,
                limit,
                position=_position,
                stored_bytes=_stored_bytes,
                shown_bytes=_stored_bytes if view is View.FULL else _barely,
            )
            more = following is not None
            last = _position(found[-1]) if found else after
        else:
            found, last, more = await self._search(wanted, after, limit, view)
        states = [await self._show(stored, view) for stored in found]
        return Page(tuple(states), tokens.make(*last) if more else "")

    async def _search(
        self, wanted: Narrowed, after: tuple[str, str], limit: int, view: View
    ) -> tuple[list[StoredInstance], tuple[str, str], bool]:
        """Those found, the last one looked at, and whether there may be more after it."""
        asked = _Asked(wanted, self._registry, self._states)
        found: list[StoredInstance] = []
        shown = 0
        for _ in range(_MOST_LOOKED_AT // _LOOKED_AT_AT_A_TIME):
            rows = await self._store.list_instances(
                wanted.namespace, wanted.machine_id, wanted.status or "", after, _LOOKED_AT_AT_A_TIME
            )
            for stored in rows.instances:
                after = _position(stored)
                if await asked.is_wanted(stored):
                    found.append(stored)
                    shown += _stored_bytes(stored) if view is View.FULL else 0
                if len(found) == limit or shown > PAGE_BYTES or asked.is_exhausted:
                    return found, after, True
            if len(rows.instances) < _LOOKED_AT_AT_A_TIME:
                return found, after, False
        return found, after, True


def _stored_bytes(stored: StoredInstance) -> int:
    return size_bytes(stored.row.context) + size_bytes(stored.row.internals)


def _barely(stored: StoredInstance) -> int:
    return 0


def _position(stored: StoredInstance) -> tuple[str, str]:
    return stored.row.machine_id, stored.row.instance_id


class _Asked:
    """Asks instances what the store cannot."""

    def __init__(self, wanted: Narrowed, registry: Registry, states: ActiveStates) -> None:
        self._registry = registry
        self._states = states
        self._expression = _compiled(wanted.filter) if wanted.filter else None
        self._filter = InstanceFilter(
            WatchFilter("", "", wanted.state_ids, wanted.tags, wanted.labels), states, registry
        )
        self._needs_definition = self._filter.asks_states or (
            self._expression is not None and self._expression.reads_tags
        )
        self._units = 0
        self._turn_units = 0

    @property
    def is_exhausted(self) -> bool:
        """Whether as much was done as one call may cost."""
        return self._units > _MOST_UNITS

    async def is_wanted(self, stored: StoredInstance) -> bool:
        row = stored.row
        if self._needs_definition:
            try:
                await self._registry.load(row.machine_id, row.machine_version)
            except StoreUnavailable:
                raise
            except DurachartError:
                return False
        if not (self._filter.takes_all or self._filter.is_stored_wanted(stored)):
            return False
        return self._expression is None or await self._is_true(self._expression, stored)

    async def _is_true(self, expression: InstanceExpression, stored: StoredInstance) -> bool:
        row = stored.row
        tags: list[str] = []
        if expression.reads_tags:
            definition = self._registry.get(row.machine_id, row.machine_version)
            active = None if definition is None else self._states.of(definition, row.value)
            if active is None:
                return False
            tags = sorted(active.tags)
        try:
            context = orjson.loads(row.context)
            facts = {
                "value": orjson.loads(row.value),
                "tags": tags,
                "labels": read_labels(row.labels),
                "status": "active" if row.status == "active" else "done",
                "version": row.version,
            }
        except (orjson.JSONDecodeError, SnapshotInvalid):
            return False
        answer = expression.ask(context, facts)
        self._units += answer.units
        self._turn_units += answer.units
        if self._turn_units > _UNITS_AT_A_TIME:
            # Others have their turn.
            self._turn_units = 0
            await asyncio.sleep(0)
        return answer.is_true


def _compiled(text: str) -> InstanceExpression:
    try:
        return InstanceExpression(text)
    except ExpressionInvalid as error:
        raise InvalidArgument("filter", str(error)) from error
