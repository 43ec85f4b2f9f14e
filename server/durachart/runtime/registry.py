"""Machines: definitions that were published, compiled and at hand."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import Final

from durachart.definitions.definition import (
    Definition,
    PublishedPlugins,
    check_definition,
    load_definition,
    load_published,
    missing_implementations,
)
from durachart.definitions.errors import DefinitionInvalid
from durachart.definitions.findings import Finding
from durachart.runtime.checks import LARGE_CHARACTERS, LargeChecks, Offer, offer_of
from durachart.runtime.clock import Clock
from durachart.runtime.compiler import Compiler
from durachart.runtime.errors import (
    ImplementationMissing,
    InvalidArgument,
    MachineNotFound,
)
from durachart.runtime.instance import Pinned
from durachart.runtime.opaque import PageTokens
from durachart.runtime.paging import page_limit
from durachart.runtime.present import machine_record
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.store_errors import told_as_unavailable
from durachart.runtime.views import MachineRecord, Page, Published
from durachart.store.interface import Store
from durachart.store.rows import MachineRow

_log = logging.getLogger(__name__)

_PAGE_TOKENS: Final = PageTokens("machines")
DefinitionId = tuple[str, int]
"""Machine id and version."""


class Registry:
    """Publishes definitions and keeps compiled ones.

    Compiling and checking never happen on the event loop, so that events keep flowing; see ``compiler`` and
    ``checks`` for how.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: RuntimeSettings,
        *,
        plugins: PublishedPlugins | None = None,
        handlers: frozenset[str] | None = None,
        checks: LargeChecks | None = None,
    ) -> None:
        """Keep the machines of ``store``.

        Args:
            store: Where definitions are.
            clock: Dates publications.
            settings: Bounds.
            plugins: Trusted implementations by name; None: there are none.
            handlers: Effect handlers of this server; a publication that names another is warned. None: no
                warnings.
            checks: Checks large definitions; None: they are checked here.
        """
        self._store = store
        self._clock = clock
        self._settings = settings
        self._plugins = plugins
        self._handlers = handlers
        self._checks = checks
        self._compiler = Compiler()
        self._compiled: OrderedDict[DefinitionId, tuple[Definition, int]] = OrderedDict()
        self._compiled_characters = 0
        self._latest: dict[str, int] = {}
        self._loading: dict[DefinitionId, asyncio.Task[Definition]] = {}

    def close(self) -> None:
        """Let go of what is being compiled."""
        for task in self._loading.values():
            task.cancel()
        self._compiler.close()

    def forget_latest(self) -> None:
        """Ask the store again which version of a machine is the latest: another node may have published."""
        self._latest.clear()

    # --- definitions for the judge --------------------------------------------------------------------------

    def get(self, machine_id: str, version: int) -> Definition | None:
        """A compiled definition that is at hand; None: `load` it."""
        known = self._compiled.get((machine_id, version))
        if known is None:
            return None
        self._compiled.move_to_end((machine_id, version))
        return known[0]

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
        return await asyncio.shield(self._begin_loading((machine_id, version)))

    async def load_latest(self, machine_id: str) -> Pinned:
        """The latest version. Raises as `load` does."""
        known = self.latest(machine_id)
        if known is not None:
            return known
        row = await self._row(machine_id, 0)
        self._latest[machine_id] = max(row.version, self._latest.get(machine_id, 0))
        version = self._latest[machine_id]
        return Pinned(await self.load(machine_id, version), version)

    def _begin_loading(self, wanted: DefinitionId) -> asyncio.Task[Definition]:
        task = self._loading.get(wanted)
        if task is None:
            task = self._loading[wanted] = asyncio.create_task(self._load(*wanted))
            task.add_done_callback(lambda done: self._loaded(wanted, done))
        return task

    def _loaded(self, wanted: DefinitionId, task: asyncio.Task[Definition]) -> None:
        del self._loading[wanted]
        # Whoever waited has heard of it; nobody may have.
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.info("definition not loaded machine=%s version=%d error=%s", *wanted, error)

    async def _load(self, machine_id: str, version: int) -> Definition:
        row = await self._row(machine_id, version)

        def compile_stored() -> Definition:
            return load_published(row.document, plugins=self._plugins)

        try:
            definition = await self._compiler.run(compile_stored, large=_is_large(row.document))
        except DefinitionInvalid as error:
            raise ImplementationMissing(machine_id, version, str(error)) from error
        if definition.content_hash != row.content_hash:
            # It may run, and come to other states than it would have where it was published.
            why = missing_implementations(definition, self._plugins)
            raise ImplementationMissing(machine_id, version, why)
        self._keep((machine_id, version), definition, len(row.document))
        return definition

    async def _row(self, machine_id: str, version: int) -> MachineRow:
        with told_as_unavailable():
            row = await self._store.get_machine(machine_id, version)
        if row is None:
            raise MachineNotFound(machine_id, version)
        return row

    def _keep(self, which: DefinitionId, definition: Definition, characters: int) -> None:
        _, replaced = self._compiled.pop(which, (None, 0))
        self._compiled[which] = (definition, characters)
        self._compiled_characters += characters - replaced
        settings = self._settings
        while len(self._compiled) > 1 and (
            len(self._compiled) > settings.cached_definitions
            or self._compiled_characters > settings.cached_definition_characters
        ):
            _, (_, dropped) = self._compiled.popitem(last=False)
            self._compiled_characters -= dropped
            if dropped > LARGE_CHARACTERS:
                self._compiler.forget_large()

    # --- what callers ask -----------------------------------------------------------------------------------

    async def publish(self, definition_json: str) -> Published:
        """Check a definition and store it as its machine's next version, unless it is one already.

        Raises:
            DefinitionInvalid: With all findings.
            InvalidArgument: The document is over the limit.
            StoreUnavailable: The store failed.
        """
        self._require_size(definition_json)

        offer = await self._offer(definition_json)
        offered = MachineRow(
            offer.machine_id,
            0,
            offer.content_hash,
            offer.document,
            offer.description,
            offer.event_types,
            self._clock.now_ms(),
        )
        with told_as_unavailable():
            row, created = await self._store.insert_machine(offered)
        if created:
            if offer.definition is not None:
                self._keep((row.machine_id, row.version), offer.definition, len(offer.document))
            else:
                # The first instance finds it compiled, or being compiled.
                self._begin_loading((row.machine_id, row.version))
            self._latest[row.machine_id] = max(row.version, self._latest.get(row.machine_id, 0))
        return Published(machine_record(row), created, offer.warnings)

    async def _offer(self, definition_json: str) -> Offer:
        large = _is_large(definition_json)
        if large and self._checks is not None:
            return await self._checks.offer(definition_json)

        def check() -> Offer:
            return offer_of(load_definition(definition_json, plugins=self._plugins, handlers=self._handlers))

        return await self._compiler.run(check, large=large)

    async def validate(self, definition_json: str) -> list[Finding]:
        """What `publish` would find. Raises InvalidArgument: the document is over the limit."""
        self._require_size(definition_json)
        large = _is_large(definition_json)
        if large and self._checks is not None:
            return await self._checks.check(definition_json)

        def check() -> list[Finding]:
            return check_definition(definition_json, plugins=self._plugins, handlers=self._handlers)

        return await self._compiler.run(check, large=large)

    async def get_machine(self, machine_id: str, version: int) -> MachineRecord:
        """One version, with its document; 0 is the latest. Raises MachineNotFound, StoreUnavailable."""
        if version < 0:
            raise InvalidArgument("version", "a version is not negative; 0 asks for the latest")
        return machine_record(await self._row(machine_id, version), with_document=True)

    async def list_machines(self, page_size: int, page_token: str) -> Page[MachineRecord]:
        """The latest version of each, by machine id."""
        limit = page_limit(page_size)
        after = str(_PAGE_TOKENS.read(page_token, str)[0]) if page_token else ""
        with told_as_unavailable():
            rows = await self._store.list_machines(after, limit + 1)
        shown = rows[:limit]
        token = _PAGE_TOKENS.make(shown[-1].machine_id) if len(rows) > limit else ""
        return Page(tuple(machine_record(row) for row in shown), token)

    def _require_size(self, text: str) -> None:
        limit = self._settings.max_definition_bytes
        if len(text) * 4 > limit and (size := len(text.encode("utf-8", "surrogatepass"))) > limit:
            raise InvalidArgument(
                "definition_json", f"the definition is {size} bytes long; at most {limit} are taken"
            )


def _is_large(definition_json: str) -> bool:
    return len(definition_json) > LARGE_CHARACTERS
