"""A whole database, or one instance of it, verified in pages."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from durachart.definitions.definition import (
    Definition,
    PublishedPlugins,
    load_published,
    missing_implementations,
)
from durachart.definitions.errors import DefinitionInvalid
from durachart.definitions.publish import plugin_uses, unimplemented
from durachart.runtime.verification.tables import Stored, check_tables
from durachart.runtime.verification.verification import JournalVerifier, Problem
from durachart.store.keys import InstanceKey
from durachart.store.scan import ScannedInstance, ScannedPage, StoreScan

_KEPT_DEFINITIONS: Final = 32
_REPEATED_SHOWN: Final = 10


@dataclass(slots=True)
class Counts:
    """What has been verified so far.

    Attributes:
        instances: Keys with anything stored.
        wrong_instances: Those of them with problems.
        rows: Journal rows whose chain was checked.
        executed: Accepted rows that were executed again.
        skipped: Accepted rows that were not, by reason.
        refused: Refused rows, which have no result.
        deletions: Rows that ended their instance, which executes nothing.
        problems: Problems found.
    """

    instances: int = 0
    wrong_instances: int = 0
    rows: int = 0
    executed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    deletions: int = 0
    problems: int = 0


class StoreVerifier:
    """Goes through a database; every problem is handed on when it is found."""

    def __init__(self, scan: StoreScan, plugins: PublishedPlugins | None = None) -> None:
        """Verify what ``scan`` reads, with these trusted implementations."""
        self.counts = Counts()
        self._scan = scan
        self._plugins = plugins
        # Definitions, or why they cannot be run; the last used at the end.
        self._definitions: OrderedDict[tuple[str, int], Definition | str] = OrderedDict()
        self._compacted = 0

    async def problems(self, only: InstanceKey | None = None) -> AsyncGenerator[list[Problem], None]:
        """Problems as they are found, often none, after every page; ``counts`` goes along.

        Args:
            only: This instance alone.

        Raises:
            StoreNotOpened: It is no database of this release.
            StoreFailed: It cannot be read.
        """
        await self._scan.require_readable()
        self._compacted = await self._scan.compacted_revision()
        if only is None:
            yield self._count(await self._store_wide())
        verifier: JournalVerifier | None = None
        wrong = False
        async with aclosing(self._scan.pages(only)) as pages:
            async for page in pages:
                if verifier is None:
                    unfinished = {row.effect_id: row for row in page.of.unfinished}
                    verifier = JournalVerifier(page.of.key, self._definition, unfinished, page.of.gone)
                    self.counts.instances += 1
                    wrong = False
                found = await self._take(verifier, page)
                self.counts.wrong_instances += bool(found) and not wrong
                wrong = wrong or bool(found)
                yield self._count(found)
                if page.last:
                    verifier = None

    def _count(self, found: list[Problem]) -> list[Problem]:
        self.counts.problems += len(found)
        return found

    async def _store_wide(self) -> list[Problem]:
        nothing = InstanceKey("", "", "")
        return [
            Problem(nothing, 0, "chain", f"revision {revision} was given to more than one journal row")
            for revision in await self._scan.repeated_revisions(_REPEATED_SHOWN)
        ]

    async def _take(self, verifier: JournalVerifier, page: ScannedPage) -> list[Problem]:
        found: list[Problem] = []
        for machine_id, version in {(e.row.machine_id, e.row.machine_version) for e in page.entries}:
            found.extend(await self._load(page.of.key, machine_id, version))
        first = verifier.rows == 0 and page.entries and page.entries[0].row.seq > 1
        if first and not self._compacted and page.entries[0].row.cause != "delete":
            seq = page.entries[0].row.seq
            said = f"its journal begins here; retention never removed anything, so {seq - 1} rows are missing"
            found.append(Problem(page.of.key, seq, "chain", said))
        for revision, row in page.entries:
            verifier.take(revision, row)
        self.counts.rows += len(page.entries)
        found.extend(verifier.problems)
        verifier.problems.clear()
        if page.last:
            verifier.finish()
            found.extend(check_tables(page.of.key, verifier, _stored(page.of)))
            counts = self.counts
            counts.executed += verifier.executed
            counts.skipped.update(verifier.skipped)
            counts.refused += verifier.refused
            counts.deletions += verifier.deletions
        while len(self._definitions) > _KEPT_DEFINITIONS:
            self._definitions.popitem(last=False)
        return found

    # --- definitions ----------------------------------------------------------------------------------------

    def _definition(self, machine_id: str, version: int) -> Definition | str:
        return self._definitions[machine_id, version]

    async def _load(self, key: InstanceKey, machine_id: str, version: int) -> list[Problem]:
        """See that a definition is at hand, or why it is not."""
        which = (machine_id, version)
        if which in self._definitions:
            self._definitions.move_to_end(which)
            return []
        name = f"version {version} of machine {machine_id!r}"
        row = await self._scan.definition(machine_id, version) if version else None
        if row is None:
            self._definitions[which] = f"{name} is not stored"
            # A refused creation may have been judged by none.
            said = f"{name}, which its journal names, is not stored"
            return [Problem(key, 0, "definition", said)] if version else []
        try:
            definition = await asyncio.to_thread(load_published, row.document, plugins=self._plugins)
        except DefinitionInvalid as error:
            self._definitions[which] = f"{name} cannot be run here: {error}"
            return []
        if definition.content_hash == row.content_hash:
            self._definitions[which] = definition
            return []
        document, plugins = definition.document, self._plugins
        if unimplemented(document, plugins) or (plugins is not None and plugin_uses(document, plugins)):
            self._definitions[which] = (
                f"{name} cannot be run here: {missing_implementations(definition, plugins)}"
            )
            return []
        self._definitions[which] = f"{name} is not what was published"
        return [Problem(key, 0, "definition", f"{name} is not what was published: its hash is another")]


def _stored(scanned: ScannedInstance) -> Stored:
    return Stored(
        scanned.place[0],
        scanned.instance,
        scanned.timers,
        scanned.unfinished,
        scanned.lost_requests,
        max(scanned.gone.values(), default=0),
    )
