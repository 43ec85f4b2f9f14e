"""The log in memory, where several nodes write: what others commit lies between what is committed here.

The tail reads the log of the database, from where it stopped up to where the log is final, and appends what
it finds to the log in memory, with what was committed here in its place; that need not be read back. It looks
when something was committed here, when another node rings, and every now and then in case a ring was lost.

While nobody watches there is no tail: a node does not read what the others do for nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from durachart.runtime.errors import DurachartError
from durachart.runtime.history import History
from durachart.runtime.log import Change, RecentLog
from durachart.store.errors import StoreFailed
from durachart.store.interface import LogMatch, LogPage, Store

_log = logging.getLogger(__name__)

_ALL: Final = LogMatch()
_ENTRIES: Final = 512
"""Rows of others read at a time."""
_FIRST_PAUSE_S: Final = 0.001
"""Wait for transactions under way that hold the log back; doubled each time, up to the poll interval."""


class LogTail:
    """Feeds a `RecentLog` from a log that other nodes write to as well."""

    def __init__(
        self,
        store: Store,
        history: History,
        log: RecentLog,
        on_gap: Callable[[], None],
        *,
        poll_s: float = 0.5,
        max_kept: int = 8_192,
    ) -> None:
        """Prepare; nothing is read before somebody follows.

        Args:
            store: Whose log it is.
            history: Makes changes of the rows of other nodes.
            log: Is fed.
            on_gap: Called when ``log`` begins anew although somebody follows, who must then catch up from the
                database.
            poll_s: Longest wait before the log is looked at although nobody rang, in seconds.
            max_kept: Changes committed here that are kept until the log is final up to them; of more, the
                oldest are read back.
        """
        self._store = store
        self._history = history
        self._log = log
        self._on_gap = on_gap
        self._poll_s = poll_s
        self._max_kept = max_kept
        self._kept: dict[int, Change] = {}
        self._followers = 0
        self._starting = asyncio.Lock()
        self._begun = asyncio.Event()
        # Goes up when the log begins anew: what was read before belongs to another stretch.
        self._stretch = 0
        self._rung = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to wait for followers."""
        self._reading = asyncio.create_task(self._read_on(), name="durachart-log-tail")

    async def close(self) -> None:
        """End."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
            self._reading = None

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Have the log fed while the block runs; it begins, at the latest, where it is final now.

        Raises:
            StoreFailed: The log cannot be read now.
        """
        self._followers += 1
        try:
            async with self._starting:
                if not self._begun.is_set():
                    self._log.begin(await self._store.newest_revision())
                    self._stretch += 1
                    self._begun.set()
            yield
        finally:
            self._followers -= 1
            if not self._followers:
                self._begun.clear()
                self._kept.clear()

    def committed(self, changes: Sequence[Change]) -> None:
        """Take in what was committed here."""
        if not self._followers:
            return
        for change in changes:
            self._kept[change.revision] = change
        while len(self._kept) > self._max_kept:
            del self._kept[next(iter(self._kept))]
        self._rung.set()

    def ring(self) -> None:
        """Others may have written to the log."""
        self._rung.set()

    async def _read_on(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            await self._begun.wait()
            try:
                found = await self._read()
            except StoreFailed as error:
                _log.warning("log not read error=%s", error)
                found, pause_s = False, self._poll_s
            except Exception:  # noqa: BLE001 - logged; a tail that ends leaves all watches without events
                _log.exception("log not read")
                found, pause_s = False, self._poll_s
            if found:
                pause_s = _FIRST_PAUSE_S
            if await self._wait_ring(0 if found else pause_s):
                pause_s = _FIRST_PAUSE_S
            else:
                pause_s = min(pause_s * 2, self._poll_s)

    async def _wait_ring(self, max_wait_s: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(max_wait_s):
                await self._rung.wait()
        rung = self._rung.is_set()
        self._rung.clear()
        return rung

    async def _read(self) -> bool:
        """Append what is final by now; returns whether there was anything."""
        stretch, after = self._stretch, self._log.newest
        # As of now: of those that are kept, the oldest may go meanwhile.
        known = {revision: change for revision, change in self._kept.items() if revision > after}
        page = await self._store.read_log(after, _ENTRIES, _ALL, known=sorted(known))
        changes = await self._changes(page, after)
        if stretch != self._stretch or not self._begun.is_set():
            return False
        if changes is None:
            self._log.begin(page.through)
            self._on_gap()
        elif page.through > after:
            own = (change for revision, change in known.items() if revision <= page.through)
            changes = sorted((*changes, *own), key=lambda change: change.revision)
            self._log.append(changes, page.through)
        for revision in [revision for revision in self._kept if revision <= page.through]:
            del self._kept[revision]
        return page.through > after and (changes is None or bool(changes))

    async def _changes(self, page: LogPage, after: int) -> list[Change] | None:
        """What the rows say happened; None: not all of it can be said, and who watches asks the database."""
        if page.compacted > after:
            _log.warning("log begins anew: retention removed rows that this node had not read")
            return None
        try:
            return await self._history.changes(page.entries)
        except DurachartError as error:
            # Whoever watches that instance is told when reading it from the database; nobody else is held up.
            _log.warning("log goes on after a row that cannot be read error=%s", error)
            return None
