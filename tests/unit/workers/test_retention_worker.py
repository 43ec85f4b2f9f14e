"""The retention worker: in batches, with rests, and it goes on after a failure."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from durachart.runtime.errors import StoreUnavailable
from durachart.store.interface import Expirable
from durachart.workers.retention_worker import RetentionSettings, RetentionWorker
from tests.virtual_time import in_virtual_time

DAY = timedelta(days=1)


class Store:
    """So many things of each kind; each batch takes half a second."""

    def __init__(self, **things: int) -> None:
        self.things = Counter(things)
        self.asked: list[tuple[float, str, timedelta, int]] = []
        self.failures: list[Exception] = []

    async def expire(self, what: Expirable, age: timedelta, limit: int) -> int:
        self.asked.append((asyncio.get_running_loop().time(), what, age, limit))
        if self.failures:
            raise self.failures.pop(0)
        await asyncio.sleep(0.5)
        removed = min(self.things[what], limit)
        self.things[what] -= removed
        return removed


@in_virtual_time
async def test_everything_that_expires_is_asked_for_with_its_age_each_round() -> None:
    store = Store()
    settings = RetentionSettings(finished=DAY, requests=2 * DAY, journal=3 * DAY, interval_ms=60_000)
    async with RetentionWorker(store, settings).running():
        await asyncio.sleep(65)
    first_round = [(what, age) for _, what, age, _ in store.asked[:5]]
    assert first_round == [
        ("requests", 2 * DAY),
        ("effects", DAY),
        ("instances", DAY),
        ("deleted", DAY),
        ("journal", 3 * DAY),
    ]
    assert len(store.asked) == 10


@in_virtual_time
async def test_what_is_kept_for_ever_is_not_asked_for() -> None:
    store = Store()
    async with RetentionWorker(store, RetentionSettings(finished=None, requests=DAY)).running():
        await asyncio.sleep(10)
    assert {what for _, what, _, _ in store.asked} == {"requests"}


@in_virtual_time
async def test_batches_are_bounded_and_the_database_rests_between_them() -> None:
    store = Store(requests=1_000)
    async with RetentionWorker(store, RetentionSettings(finished=None, batch=100, rest=4)).running():
        await asyncio.sleep(60)
    assert store.things["requests"] == 0
    batches = [at for at, what, _, limit in store.asked if what == "requests" and limit == 100]
    # Each took half a second, and two passed before the next.
    assert batches[:11] == pytest.approx([2.5 * number for number in range(11)])


@in_virtual_time
async def test_it_goes_on_after_the_store_failed(caplog: pytest.LogCaptureFixture) -> None:
    store = Store(instances=3)
    store.failures = [StoreUnavailable("the disk is full"), ValueError("unforeseen")]
    async with RetentionWorker(store).running():
        await asyncio.sleep(10)
    assert store.things["instances"] == 0
    assert len([record for record in caplog.records if "not removed" in record.message]) == 2


@in_virtual_time
async def test_what_was_removed_is_logged_with_its_number(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    store = Store(instances=250)
    async with RetentionWorker(store, RetentionSettings(batch=100)).running():
        await asyncio.sleep(30)
    assert "removed what=instances count=250 older_than_s=604800" in caplog.messages


@in_virtual_time
async def test_leaving_waits_for_the_batch_under_way_alone() -> None:
    store = Store(requests=1_000)
    async with RetentionWorker(store, RetentionSettings(batch=10)).running():
        await asyncio.sleep(0.1)
    assert asyncio.get_running_loop().time() == pytest.approx(0.5)
    assert store.things["requests"] == 990
