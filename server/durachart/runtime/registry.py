"""Machines: definitions that were published, compiled and at hand."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import orjson

from durachart.definitions.definition import (
    Definition,
    PublishedPlugins,
    canonical_json,
    check_definition,
    load_definition,
    load_published,
    missing_implementations,
)
from durachart.definitions.errors import DefinitionInvalid
from durachart.definitions.findings import Finding
from durachart.runtime.clock import Clock
from durachart.runtime.errors import (
    ImplementationMissing,
    InvalidArgument,
    MachineNotFound,
    StoreUnavailable,
)
from durachart.runtime.instance import Pinned
from durachart.runtime.opaque import PageTokens
from durachart.runtime.paging import page_limit
from durachart.runtime.present import machine_record
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.views import MachineRecord, Page, Published
from durachart.store.errors import StoreFailed
from durachart.store.interface import Store
from durachart.store.rows import MachineRow

_PAGE_TOKENS: Final = PageTokens("machines")
DefinitionId = tuple[str, int]
"""Machine id and version."""


class Registry:
    """Publishes definitions and keeps compiled ones.

    Compiling happens in a thread of its own, one definition at a time, so that events of other machines keep
    flowing.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: RuntimeSettings,
        *,
        plugins: PublishedPlugins | None = None,
        handlers: frozenset[str] | None = None,
    ) -> None:
        """Keep the machines of ``store``.

        Args:
            store: Where definitions are.
            clock: Dates publications.
            settings: Bounds.
            plugins: Trusted implementations by name; None: there are none.
            handlers: Effect handlers of this server; a publication that names another is warned. None: no
                warnings.
        """
        self._store = store
        self._clock = clock
        self._settings = settings
        self._plugins = plugins
        self._handlers = handlers
        self._compiler = ThreadPoolExecutor(1, "durachart-compiler")
        self._compiled: OrderedDict[DefinitionId, Definition] = OrderedDict()
        self._latest: dict[str, int] = {}
        self._loading: dict[DefinitionId, asyncio.Task[Definition]] = {}

    def close(self) -> None:
        """Let go of the compiler's thread; it finishes what it has begun."""
        self._compiler.shutdown(wait=False, cancel_futures=True)

    # --- definitions for the judge --------------------------------------------------------------------------

    def get(self, machine_id: str, version: int) -> Definition | None:
        """A compiled definition that is at hand; None: `load` it."""
        definition = self._compiled.get((machine_id, version))
        if definition is not None:
            self._compiled.move_to_end((machine_id, version))
        return definition

    def latest(self, machine_id: str) -> Pinned | None:
        """The latest version, if it is at hand; None: `load_latest`."""
        version = self._latest.get(machine_id)
        definition = None if version is None else self.get(machine_id, version)
        return None if definition is None or version is None else Pinned(definition, version)

    async def load(self, machine_id: str, version: int) -> Definition:
        """A definition that was published.

        Raises:
            MachineNotFound: It was not.
            ImplementationMissing: It cannot be run here.
            StoreUnavailable: The store failed.
        """
        known = self.get(machine_id, version)
        if known is not None:
            return known
        wanted = (machine_id, version)
        task = self._loading.get(wanted)
        if task is None:
            task = asyncio.create_task(self._load(machine_id, version))
            self._loading[wanted] = task
            task.add_done_callback(lambda _: self._loading.pop(wanted, None))
        return await asyncio.shield(task)

    async def load_latest(self, machine_id: str) -> Pinned:
        """The latest version. Raises as `load` does."""
        known = self.latest(machine_id)
        if known is not None:
            return known
        row = await self._row(machine_id, 0)
        self._latest[machine_id] = max(row.version, self._latest.get(machine_id, 0))
        version = self._latest[machine_id]
        return Pinned(await self.load(machine_id, version), version)

    async def _load(self, machine_id: str, version: int) -> Definition:
        row = await self._row(machine_id, version)

        def compile_stored() -> Definition:
            return load_published(row.document, plugins=self._plugins)

        try:
            definition = await asyncio.get_running_loop().run_in_executor(self._compiler, compile_stored)
        except DefinitionInvalid as error:
            raise ImplementationMissing(machine_id, version, str(error)) from error
        if definition.content_hash != row.content_hash:
            # It may run, and come to other states than it would have where it was published.
            why = missing_implementations(definition, self._plugins)
            raise ImplementationMissing(machine_id, version, why)
        self._keep((machine_id, version), definition)
        return definition

    async def _row(self, machine_id: str, version: int) -> MachineRow:
        try:
            row = await self._store.get_machine(machine_id, version)
        except StoreFailed as error:
            raise StoreUnavailable(str(error)) from error
        if row is None:
            raise MachineNotFound(machine_id, version)
        return row

    def _keep(self, which: DefinitionId, definition: Definition) -> None:
        self._compiled[which] = definition
        while len(self._compiled) > self._settings.cached_definitions:
            self._compiled.popitem(last=False)

    # --- what callers ask
    # ------------------------------------------------------------------------------------

    async def publish(self, definition_json: str) -> Published:
        """Check a definition and store it as its machine's next version, unless it is one already.

        Raises:
            DefinitionInvalid: With all findings.
            InvalidArgument: The document is over the limit.
            StoreUnavailable: The store failed.
        """
        self._require_size(definition_json)

        def compile_new() -> Definition:
            return load_definition(definition_json, plugins=self._plugins, handlers=self._handlers)

        definition = await asyncio.get_running_loop().run_in_executor(self._compiler, compile_new)
        offered = MachineRow(
            definition.machine_id,
            0,
            definition.content_hash,
            canonical_json(definition.document),
            definition.description,
            orjson.dumps(definition.event_types).decode(),
            self._clock.now_ms(),
        )
        try:
            row, created = await self._store.insert_machine(offered)
        except StoreFailed as error:
            raise StoreUnavailable(str(error)) from error
        if created:
            self._keep((row.machine_id, row.version), definition)
            self._latest[row.machine_id] = max(row.version, self._latest.get(row.machine_id, 0))
        return Published(machine_record(row), created, definition.warnings)

    async def validate(self, definition_json: str) -> list[Finding]:
        """What `publish` would find. Raises InvalidArgument: the document is over the limit."""
        self._require_size(definition_json)

        def check() -> list[Finding]:
            return check_definition(definition_json, plugins=self._plugins, handlers=self._handlers)

        return await asyncio.get_running_loop().run_in_executor(self._compiler, check)

    async def get_machine(self, machine_id: str, version: int) -> MachineRecord:
        """One version, with its document; 0 is the latest. Raises MachineNotFound, StoreUnavailable."""
        if version < 0:
            raise InvalidArgument("version", "a version is not negative; 0 asks for the latest")
        return machine_record(await self._row(machine_id, version), with_document=True)

    async def list_machines(self, page_size: int, page_token: str) -> Page[MachineRecord]:
        """The latest version of each, by machine id."""
        limit = page_limit(page_size)
        after = str(_PAGE_TOKENS.read(page_token, str)[0]) if page_token else ""
        try:
            rows = await self._store.list_machines(after, limit + 1)
        except StoreFailed as error:
            raise StoreUnavailable(str(error)) from error
        shown = rows[:limit]
        token = _PAGE_TOKENS.make(shown[-1].machine_id) if len(rows) > limit else ""
        return Page(tuple(machine_record(row) for row in shown), token)

    def _require_size(self, text: str) -> None:
        limit = self._settings.max_definition_bytes
        if len(text) * 4 > limit and (size := len(text.encode("utf-8", "surrogatepass"))) > limit:
            raise InvalidArgument(
                "definition_json", f"the definition is {size} bytes long; at most {limit} are taken"
            )
