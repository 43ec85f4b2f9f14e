"""Removes what was kept long enough, in the background and without hurry.

Every now and then it goes through what expires, one kind after the other, a batch at a time. After each batch
it waits for several times as long as the batch took, so that whoever waits for the database seldom waits for
it. Where several nodes share the database the store lets one of them remove at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from durachart.crash_points import reach
from durachart.runtime.errors import DurachartError
from durachart.store.interface import Expirable

_log = logging.getLogger(__name__)

DAYS_7 = timedelta(days=7)


class RetentionRuntime(Protocol):
    """What the worker needs of the runtime; see `Runtime` for what each method promises."""

    async def expire(self, what: Expirable, age: timedelta, limit: int) -> int:
        """Remove up to ``limit`` of what is older; 0: there are no more for now."""


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """How long what is kept, and how the worker works.

    Attributes:
        finished: Instances that have finished or were deleted, with all that is theirs, and effects that have
            ended, of whatever instance. None: for ever.
        requests: Request ids. None: for ever.
        journal: Journal rows of living instances, but for those from their newest old enough whole context
            on. None: for ever.
        interval_ms: Between two rounds.
        batch: Most things of a kind that one transaction removes; of something large it removes a piece.
        rest: How long to wait after a batch, in times that it took.
        pause_ms: The least to wait after a batch.
    """

    finished: timedelta | None = DAYS_7
    requests: timedelta | None = DAYS_7
    journal: timedelta | None = None
    interval_ms: int = 60_000
    batch: int = 200
    rest: float = 4.0
    pause_ms: int = 10


class RetentionWorker:
    """Removes in this process."""

    def __init__(self, runtime: RetentionRuntime, settings: RetentionSettings | None = None) -> None:
        """Prepare; nothing is removed before `running` is entered.

        Args:
            runtime: Removes.
            settings: None for the defaults.
        """
        self._runtime = runtime
        self._settings = settings or RetentionSettings()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Remove while the block runs; in the end, finish the batch under way."""
        stop = asyncio.Event()
        loop = asyncio.create_task(self._work(stop))
        try:
            yield
        finally:
            stop.set()
            await asyncio.wait({loop})

    def _ages(self) -> list[tuple[Expirable, timedelta]]:
        """What to remove, in order: request ids before the rows that answer them."""
        settings = self._settings
        ages: list[tuple[Expirable, timedelta | None]] = [
            ("requests", settings.requests),
            ("effects", settings.finished),
            ("instances", settings.finished),
            ("deleted", settings.finished),
            ("journal", settings.journal),
        ]
        return [(what, age) for what, age in ages if age is not None]

    async def _work(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            for what, age in self._ages():
                try:
                    removed = await self._remove(what, age, stop)
                except DurachartError as error:
                    _log.warning("not removed what=%s error=%s", what, error)
                    continue
                except Exception:  # noqa: BLE001 -- logged; a loop that ends would fill the disk
                    _log.exception("not removed what=%s", what)
                    continue
                if removed:
                    _log.info("removed what=%s count=%d older_than_s=%d", what, removed, age.total_seconds())
            await _rest(self._settings.interval_ms / 1000, stop)

    async def _remove(self, what: Expirable, age: timedelta, stop: asyncio.Event) -> int:
        """Remove all there is of a kind; returns how many that were."""
        settings = self._settings
        now = asyncio.get_running_loop().time
        total = 0
        while not stop.is_set():
            began = now()
            removed = await self._runtime.expire(what, age, settings.batch)
            if not removed:
                break
            total += removed
            reach("retention.batch")
            await _rest(max(settings.rest * (now() - began), settings.pause_ms / 1000), stop)
        return total


async def _rest(seconds: float, stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
