"""Timers on a real store: claimed in batches, by one node at a time, at the same cost however many wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from durachart.runtime.commands import FireTimer
from durachart.runtime.views import DueTimer
from durachart.store.interface import Store, Writes
from durachart.store.keys import shard
from durachart.store.rows import TimerRow
from durachart.store.sqlite.store import SqliteStore
from durachart.workers.timer_worker import TimerWorker, TimerWorkerSettings
from tests.store.runtimes import Service, serving
from tests.store.stored_rows import created, key
from tests.unit.runtime.samples import START_MS
from tests.unit.runtime.samples import key as job_key

MANY = 100_000


def timer(name: str, due_at_ms: int, sequence: int = 0) -> TimerRow:
    of = key(name)
    return TimerRow(shard(of), *of, "t", "u" * 32, sequence, due_at_ms)


async def armed(store: Store, *rows: TimerRow) -> None:
    writes = Writes()
    for row in rows:
        one = created(row.key)
        writes.journal.extend(one.journal)
        writes.inserts.extend(one.inserts)
    writes.timers.extend(rows)
    await store.commit(writes)


def names(rows: list[TimerRow]) -> list[str]:
    return [row.instance_id for row in rows]


async def test_due_timers_are_claimed_in_due_order_up_to_the_limit(store: Store) -> None:
    await armed(store, timer("c", 30), timer("a", 10), timer("b", 20), timer("later", 99))
    assert names(await store.claim_due_timers(50, 2, 1_000)) == ["a", "b"]
    assert names(await store.claim_due_timers(50, 2, 1_000)) == ["c"]
    assert await store.claim_due_timers(50, 2, 1_000) == []


async def test_what_is_claimed_is_left_alone_until_the_claim_ends(store: Store) -> None:
    await armed(store, timer("a", 10), timer("b", 10, 1))
    assert names(await store.claim_due_timers(100, 1, 200)) == ["a"]
    assert names(await store.claim_due_timers(150, 9, 300)) == ["b"]
    assert names(await store.claim_due_timers(200, 9, 400)) == ["a"]
    # Whoever only looks sees all of them.
    assert names(await store.due_timers(200, 9)) == ["a", "b"]


async def test_two_that_claim_at_once_get_different_timers(store: Store) -> None:
    await armed(store, *(timer(f"{number:02}", number) for number in range(40)))
    claimed = await asyncio.gather(*(store.claim_due_timers(100, 10, 1_000) for _ in range(4)))
    assert sorted(name for rows in claimed for name in names(rows)) == [f"{n:02}" for n in range(40)]


async def test_the_next_look_is_when_one_is_due_or_a_claim_ends(store: Store) -> None:
    assert await store.next_due() is None
    await armed(store, timer("a", 10), timer("later", 5_000))
    assert await store.next_due() == 10
    await store.claim_due_timers(100, 1, 900)
    assert await store.next_due() == 900
    await store.claim_due_timers(1_000, 1, 9_000)
    assert await store.next_due() == 5_000


async def test_claims_of_a_process_that_ended_are_free_when_the_file_is_opened(tmp_path: Path) -> None:
    for _ in range(2):
        store = SqliteStore(tmp_path / "store.db")
        await store.open()
        if await store.next_due() is None:
            await armed(store, timer("a", 10))
        assert names(await store.claim_due_timers(100, 9, 10**12)) == ["a"]
        await store.close()


async def test_a_timer_armed_anew_is_free(make_store: Callable[[], Store]) -> None:
    async with serving(make_store) as service:
        await service.create()
        await service.send("GO")
        service.clock.now += 60_000
        (old,) = await service.runtime.timers.claim(9, timedelta(hours=1))
        await service.send("LEAVE")
        await service.send("GO")
        service.clock.now += 60_000
        (new,) = await service.runtime.timers.claim(9, timedelta(hours=1))
        assert new.sequence > old.sequence
        for each, fires in ((old, False), (new, True)):
            assert (
                await service.runtime.timers.fire(
                    FireTimer(each.key, each.uid, each.timer_key, each.sequence)
                )
                is fires
            )


async def test_a_hundred_thousand_pending_timers_cost_a_look_no_more_than_one(tmp_path: Path) -> None:
    """The worker's look is a few statements, each a search in an index, however many wait."""
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    engine: Any = store._engine
    reads: list[str] = []

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        reads.append(statement)

    def fill(connection: Any) -> None:
        connection.execute("BEGIN")
        rows = ((0, "", "m", str(n), "t", "u", n, START_MS + n, 0) for n in range(MANY))
        connection.executemany("INSERT INTO timers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")

    writes: list[str] = []
    await store._writer.run(fill)
    await store._writer.run(lambda connection: connection.set_trace_callback(writes.append))
    assert await store.claim_due_timers(START_MS - 1, 256, START_MS) == []
    assert await store.next_due() == START_MS
    assert len(writes) == 1
    assert len([statement for statement in reads if statement.startswith("SELECT")]) == 2
    for statement in writes:
        plan = await store._writer.run(
            lambda connection, asked=statement: connection.execute(f"EXPLAIN QUERY PLAN {asked}").fetchall()
        )
        assert all("SEARCH timers USING INDEX ix_timers_due_at_ms_sequence" in row[3] for row in plan)
    # All of them come due at once: what is held at a time is a batch.
    del writes[:]
    assert len(await store.claim_due_timers(START_MS + MANY, 256, START_MS + 2 * MANY)) == 256
    assert len(writes) == 1 + 256 + 2
    assert await store.next_due() == START_MS + 256
    await store.close()


async def test_a_timer_that_is_due_after_the_next_wakes_nobody(service: Service) -> None:
    """Events that arm timers do not make the worker look each time."""
    for name in ("a", "b"):
        await service.create(job_key(name))
    assert await service.runtime.timers.next_due_at() is None
    await service.send("GO", None, job_key("a"))
    assert await service.runtime.timers.wait(0), "it is the first"
    assert await service.runtime.timers.next_due_at() is not None
    service.clock.now += 1_000
    await service.send("GO", None, job_key("b"))
    assert not await service.runtime.timers.wait(0)
    service.clock.now -= 5_000
    await service.create(job_key("c"))
    await service.send("GO", None, job_key("c"))
    assert await service.runtime.timers.wait(0), "it is due before the one that was told of"


class Counting:
    """Timers as the worker sees them, with a note of what it held and when all was fired."""

    def __init__(self, service: Service, expected: int) -> None:
        self._timers = service.runtime.timers
        self._expected = expected
        self.largest = 0
        self.fired: list[str] = []
        self.done = asyncio.Event()
        self.next_due_at = self._timers.next_due_at
        self.wait = self._timers.wait

    async def claim(self, limit: int, claim: timedelta) -> list[DueTimer]:
        found = await self._timers.claim(limit, claim)
        self.largest = max(self.largest, len(found))
        return found

    async def fire(self, command: FireTimer) -> bool:
        fired = await self._timers.fire(command)
        if fired:
            self.fired.append(command.key.instance_id)
        if len(self.fired) == self._expected:
            self.done.set()
        return fired


@pytest.mark.parametrize("restart", [False, True])
async def test_a_burst_is_fired_once_each_in_batches(make_store: Callable[[], Store], restart: bool) -> None:
    """Timers that came due while the server was down fire when it is back, once."""
    number = 300
    async with serving(make_store) as service:
        await asyncio.gather(*(service.create(job_key(f"j-{n}")) for n in range(number)))
        await asyncio.gather(*(service.send("GO", None, job_key(f"j-{n}")) for n in range(number)))
        clock = service.clock
        if not restart:
            await _fire_all(service, number)
    if restart:
        async with serving(make_store, clock=clock) as service:
            await _fire_all(service, number)


async def _fire_all(service: Service, number: int) -> None:
    counting = Counting(service, number)
    clock = service.clock
    clock.now += 60_000
    worker = TimerWorker(
        counting,
        TimerWorkerSettings(batch=64),
        now=lambda: datetime.fromtimestamp(clock.now / 1000, UTC),
    )
    async with worker.running():
        await counting.done.wait()
    assert counting.largest == 64
    assert len(set(counting.fired)) == number
    assert await service.runtime.timers.next_due_at() is None
    page = await service.runtime.instances.list("", page_size=1_000)
    assert {state.value_json for state in page.items} == {'"late"'}
    assert {state.version for state in page.items} == {2}


async def test_a_clock_set_back_delays_and_never_takes_an_instance_back(service: Service) -> None:
    await service.create()
    await service.send("GO")
    service.clock.now += 59_999
    assert await service.runtime.timers.claim(9, timedelta(seconds=1)) == []
    service.clock.now -= 3_600_000
    assert await service.runtime.timers.claim(9, timedelta(seconds=1)) == []
    service.clock.now += 3_600_001
    (due,) = await service.runtime.timers.claim(9, timedelta(seconds=1))
    assert await service.runtime.timers.fire(FireTimer(due.key, due.uid, due.timer_key, due.sequence))
    service.clock.now -= 3_600_000
    await service.send("WAIT")
    instants = [row.created_at for row in await service.journal()]
    assert instants == sorted(instants)
    # The delay counts from the instance's own time, which has not gone back.
    assert await service.runtime.timers.next_due_at() == instants[-1] + timedelta(seconds=1)
