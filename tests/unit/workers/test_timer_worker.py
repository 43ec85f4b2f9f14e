"""The timer worker: never early, in order, and not held up by what cannot fire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from durachart.runtime.commands import FireTimer
from durachart.runtime.errors import ImplementationMissing, StoreUnavailable
from durachart.runtime.views import DueTimer
from durachart.store.keys import InstanceKey
from durachart.workers.timer_worker import TimerWorker, TimerWorkerSettings
from tests.virtual_time import START, in_virtual_time, wall_clock


def key(instance: str) -> InstanceKey:
    return InstanceKey("", "order", instance)


class Timers:
    """The timers of a store in memory; ``skew`` is how far the wall clock was set forward."""

    def __init__(self) -> None:
        self.pending: list[DueTimer] = []
        self.fired: list[tuple[str, float]] = []
        self.skew = timedelta()
        self.looks = 0
        self.largest = 0
        self.tries = 0
        self.busy = 0
        self.failures: list[Exception] = []
        self.broken: set[InstanceKey] = set()
        self.cancelled: set[DueTimer] = set()
        self.claims: dict[DueTimer, int] = {}
        self._bell = asyncio.Event()
        self._sequence = 0

    def now(self) -> datetime:
        return wall_clock() + self.skew

    def arm(self, instance: str, timer_key: str, after_s: float) -> DueTimer:
        self._sequence += 1
        due = self._ms(self.now() + timedelta(seconds=after_s))
        timer = DueTimer(key(instance), "u" * 32, timer_key, self._sequence, due)
        self.pending = sorted([*self.pending, timer], key=lambda each: (each.due_at_ms, each.sequence))
        self._bell.set()
        return timer

    async def claim(self, limit: int, claim: timedelta) -> list[DueTimer]:
        self.looks += 1
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        now_ms = self._ms(self.now())
        free = [
            timer
            for timer in self.pending
            if timer.due_at_ms <= now_ms and self.claims.get(timer, 0) <= now_ms
        ]
        claimed = free[:limit]
        self.claims.update(dict.fromkeys(claimed, now_ms + int(claim / timedelta(milliseconds=1))))
        self.largest = max(self.largest, len(claimed))
        return claimed

    async def next_due_at(self) -> datetime | None:
        await asyncio.sleep(0)
        if not self.pending:
            return None
        soonest = min(max(timer.due_at_ms, self.claims.get(timer, 0)) for timer in self.pending)
        return START + timedelta(milliseconds=soonest)

    async def wait(self, max_wait_s: float | None = None) -> bool:
        try:
            async with asyncio.timeout(max_wait_s):
                await self._bell.wait()
        except TimeoutError:
            return False
        self._bell.clear()
        return True

    async def fire(self, command: FireTimer) -> bool:
        await asyncio.sleep(0)
        timer = next(each for each in self.pending if each.sequence == command.sequence)
        if timer.key in self.broken:
            self.tries += 1
            raise ImplementationMissing("order", 1, "a plug-in is not installed")
        if self.busy:
            self.busy -= 1
            raise StoreUnavailable("the disk is full")
        if timer in self.cancelled:
            return False
        assert timer.due_at_ms <= self._ms(self.now()), "fired early"
        self.pending.remove(timer)
        self.fired.append((f"{timer.key.instance_id}.{timer.timer_key}", asyncio.get_running_loop().time()))
        return True

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.fired]

    def _ms(self, at: datetime) -> int:
        return round((at - START) / timedelta(milliseconds=1))


@asynccontextmanager
async def working(timers: Timers, **settings: int) -> AsyncIterator[None]:
    async with TimerWorker(timers, TimerWorkerSettings(**settings), now=timers.now).running():
        yield


@in_virtual_time
async def test_timers_fire_when_due_and_never_early() -> None:
    timers = Timers()
    timers.arm("a", "late", 60.5)
    timers.arm("a", "now", 0)
    async with working(timers):
        await asyncio.sleep(3)
        timers.arm("b", "soon", 0.25)
        await asyncio.sleep(100)
    assert timers.names == ["a.now", "b.soon", "a.late"]
    assert [at for _, at in timers.fired] == pytest.approx([0, 3.25, 60.5], abs=0.005)


@in_virtual_time
async def test_waiting_timers_cost_no_more_than_the_poll() -> None:
    timers = Timers()
    for number in range(1000):
        timers.arm(str(number), "far", 10_000)
    async with working(timers, poll_ms=5000):
        await asyncio.sleep(100)
    assert timers.looks <= 25


@in_virtual_time
async def test_a_clock_set_forward_is_noticed_within_the_poll() -> None:
    timers = Timers()
    timers.arm("a", "t", 3600)
    async with working(timers, poll_ms=5000):
        await asyncio.sleep(10)
        timers.skew = timedelta(hours=1)
        await asyncio.sleep(5.1)
    assert timers.names == ["a.t"]


@in_virtual_time
async def test_a_clock_set_back_fires_nothing_early() -> None:
    timers = Timers()
    timers.arm("a", "t", 10)
    async with working(timers):
        timers.skew = -timedelta(seconds=60)
        await asyncio.sleep(69)
        assert timers.fired == []
        await asyncio.sleep(2)
    assert timers.names == ["a.t"]


@in_virtual_time
async def test_timers_of_one_instance_fire_in_due_order_however_many_are_due() -> None:
    timers = Timers()
    for number in reversed(range(30)):
        timers.arm("a", f"{number:02}", number / 100)
        timers.arm("b", f"{number:02}", number / 100)
    await asyncio.sleep(1)
    async with working(timers, batch=7):
        await asyncio.sleep(1)
    for instance in ("a", "b"):
        of_instance = [name for name in timers.names if name.startswith(instance)]
        assert of_instance == [f"{instance}.{number:02}" for number in range(30)]


@in_virtual_time
async def test_a_burst_is_fired_in_batches_and_never_held_at_once() -> None:
    timers = Timers()
    for number in range(1_000):
        timers.arm(str(number), "t", 0)
    async with working(timers, batch=64):
        await asyncio.sleep(1)
    assert len(timers.fired) == 1_000
    assert timers.largest == 64
    assert timers.looks <= 1_000 / 64 + 3


@in_virtual_time
async def test_an_instance_that_cannot_fire_holds_up_itself_alone_and_recovers_in_order() -> None:
    timers = Timers()
    for number in range(20):
        timers.arm("broken", f"{number:02}", 0)
    timers.arm("fine", "t", 0)
    timers.broken.add(key("broken"))
    async with working(timers, batch=4, claim_ms=30_000):
        await asyncio.sleep(1)
        assert timers.names == ["fine.t"]
        await asyncio.sleep(99)
        assert timers.looks < 100, "a tight loop"
        assert timers.tries <= 4 * 5
        timers.broken.clear()
        await asyncio.sleep(31)
    assert timers.names[1:] == [f"broken.{number:02}" for number in range(20)]


@in_virtual_time
async def test_a_timer_cancelled_meanwhile_is_passed_over() -> None:
    timers = Timers()
    gone = timers.arm("a", "gone", 0)
    timers.arm("a", "next", 0)
    timers.cancelled.add(gone)
    async with working(timers):
        await asyncio.sleep(10)
    assert timers.names == ["a.next"]
    assert timers.looks < 10


@in_virtual_time
async def test_what_another_node_has_claimed_is_left_alone_until_its_claim_ends() -> None:
    timers = Timers()
    theirs = timers.arm("a", "theirs", 0)
    timers.arm("b", "ours", 0)
    timers.claims[theirs] = timers._ms(timers.now()) + 12_000
    async with working(timers):
        await asyncio.sleep(11)
        assert timers.names == ["b.ours"]
        await asyncio.sleep(2)
    assert [at for _, at in timers.fired] == pytest.approx([0, 12], abs=0.01)


@in_virtual_time
async def test_a_store_that_fails_for_a_moment_delays_a_timer_by_no_more() -> None:
    timers = Timers()
    timers.busy = 3
    for number in range(3):
        timers.arm("a", str(number), 0)
    async with working(timers, pause_ms=500):
        await asyncio.sleep(10)
    assert timers.names == ["a.0", "a.1", "a.2"]
    assert timers.fired[-1][1] == pytest.approx(1.5)


@in_virtual_time
async def test_the_worker_goes_on_after_the_store_failed(caplog: pytest.LogCaptureFixture) -> None:
    timers = Timers()
    timers.failures = [StoreUnavailable("the disk is full"), ValueError("unforeseen")]
    timers.arm("a", "t", 0)
    async with working(timers, pause_ms=1000):
        await asyncio.sleep(3)
    assert timers.names == ["a.t"]
    assert len(caplog.records) == 2


@in_virtual_time
async def test_leaving_stops_at_once() -> None:
    timers = Timers()
    timers.arm("a", "t", 60)
    async with working(timers):
        await asyncio.sleep(1)
    assert asyncio.get_running_loop().time() == pytest.approx(1)
