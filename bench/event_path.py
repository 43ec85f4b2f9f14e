"""What an event costs between the front and the disk: the runtime's own part, and SQLite's.

``python bench/event_path.py`` prints, interleaved on one machine:

- events per second, and processor time for an event, through ``Runtime.send_event`` in this process: 64
  callers on 1,000 instances of the order machine, and on one; request ids, journal, view BASIC, on disk
  before the answer;
- the same rows written by a plain loop, 128 events a transaction, on the same schema: SQLite alone;
- where the processor time of one event goes, step by step.

The processor's time is the figure that a busy machine disturbs least; the best round is shown. `SQLite` is
the writer's thread, which runs beside the event loop; `loop` is the event loop's thread with the callers of
this program. The collector of cyclic garbage runs as the server sets it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Self

import uvloop

from durachart.definitions.definition import Definition, load_definition
from durachart.definitions.loader import load_document
from durachart.engine.macrostep import macrostep
from durachart.runtime.collector import seldom_collected
from durachart.runtime.commands import Caller, CreateInstance, SendEvent
from durachart.runtime.instance import Pinned, Seat, dumps, write_internals
from durachart.runtime.judge.judge import Judge
from durachart.runtime.judge.moment import Moment
from durachart.runtime.judge.payload import parse_object
from durachart.runtime.log import Transition
from durachart.runtime.present import instance_state
from durachart.runtime.queue.batch import Ticket, body_hash
from durachart.runtime.runtime import Runtime
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.turns import short_turns
from durachart.runtime.views import View
from durachart.store.chain import sealed
from durachart.store.interface import NO_JOURNAL, InstanceUpdate, Writes
from durachart.store.keys import InstanceKey, shard
from durachart.store.rows import RequestRow
from durachart.store.sqlite import commit as sqlite_commit
from durachart.store.sqlite import store as sqlite_store
from durachart.store.sqlite.store import SqliteStore

MACHINE = Path(__file__).parents[1] / "machines" / "order" / "machine.yaml"
ADD = ("ADD_ITEM", '{"sku":"A-1","quantity":2}')
SUBMIT = ("SUBMIT", "")
# After these two an order can fail to be paid and be submitted again for ever, and stays as large as it is.
LOOP = (("PAYMENT_FAILED", '{"reason":"CARD_DECLINED"}'), ("SUBMIT", ""))
CALLER = Caller("bench")


def document() -> dict[str, Any]:
    return dict(load_document(MACHINE).sections)


class Measured(NamedTuple):
    """One round."""

    events: int
    seconds: float
    cpu_seconds: float
    sqlite_cpu_seconds: float
    commits: int
    latencies_ms: list[float]

    @property
    def rate(self) -> float:
        return self.events / self.seconds

    def cpu_us(self) -> float:
        return self.cpu_seconds / self.events * 1e6


class CommitMeter:
    """Counts commits and the writer thread's processor time while they run."""

    def __init__(self) -> None:
        self.cpu_seconds = 0.0
        self.commits = 0
        self._commit = sqlite_commit.commit

    def __enter__(self) -> Self:
        def metered(*args: Any) -> Any:
            began = time.thread_time()
            try:
                return self._commit(*args)
            finally:
                self.cpu_seconds += time.thread_time() - began
                self.commits += 1

        sqlite_store.commit = metered
        return self

    def __exit__(self, *exc: object) -> None:
        sqlite_store.commit = self._commit


async def prepared(runtime: Runtime, keys: Sequence[InstanceKey]) -> None:
    """Instances of the order machine, waiting for their payment."""

    async def prepare(key: InstanceKey) -> None:
        await runtime.create_instance(CreateInstance(key, view=View.BASIC), CALLER)
        for event_type, data in (ADD, SUBMIT):
            await runtime.send_event(SendEvent(key, event_type, data, view=View.BASIC), CALLER)

    await asyncio.gather(*(prepare(key) for key in keys))


async def through_the_runtime(
    runtime: Runtime, keys: Sequence[InstanceKey], seconds: float, callers: int, seed: int
) -> Measured:
    chance = Random(seed)
    turns = {key: count() for key in keys}
    ids = count()
    latencies: list[float] = []
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds

    async def call() -> None:
        while (began := loop.time()) < end:
            key = chance.choice(keys)
            event_type, data = LOOP[next(turns[key]) % 2]
            request_id = f"{seed:08}-4f8a-11ee-be56-{next(ids):012}"
            command = SendEvent(key, event_type, data, request_id=request_id, view=View.BASIC)
            await runtime.send_event(command, CALLER)
            latencies.append((loop.time() - began) * 1e3)

    with CommitMeter() as meter:
        began, cpu_began = time.perf_counter(), time.process_time()
        await asyncio.gather(*(call() for _ in range(callers)))
        took, cpu_took = time.perf_counter() - began, time.process_time() - cpu_began
    for key, turn in turns.items():
        if next(turn) % 2:
            await runtime.send_event(SendEvent(key, *LOOP[1], view=View.BASIC), CALLER)
    return Measured(len(latencies), took, cpu_took, meter.cpu_seconds, meter.commits, latencies)


class Plain:
    """The rows of the same events, written by a plain loop."""

    def __init__(self, path: Path, definition: Definition, instances: int) -> None:
        store = SqliteStore(path)
        asyncio.run(_opened_and_closed(store))
        self._connection = store._connect()
        self._judge = Judge(RuntimeSettings(), lambda: "u" * 32)
        self._ids = count()
        self._revision = 0
        self._chance = Random(1)
        self._keys = [InstanceKey("", "order", f"order-{n:06}") for n in range(instances)]
        self._seats: dict[InstanceKey, Seat] = {}
        writes = Writes()
        for key in self._keys:
            seat = Seat(None, NO_JOURNAL)
            verdicts = [
                self._judge.create(seat, CreateInstance(key), Pinned(definition, 1), Moment(1, "bench"))
            ]
            for event_type, data in (ADD, SUBMIT):
                command = SendEvent(key, event_type, data)
                verdicts.append(self._judge.event(verdicts[-1].seat, command, None, Moment(1, "bench")))
            self._seats[key] = verdicts[-1].seat
            writes.journal.extend(step.row for verdict in verdicts for step in verdict.recorded)
            assert verdicts[-1].seat.instance is not None
            writes.inserts.append(verdicts[-1].seat.instance.row)
        self._commit(writes)

    def _commit(self, writes: Writes) -> None:
        result = sqlite_commit.commit(self._connection, writes, self._revision)
        assert not result.stale
        self._revision += len(writes.journal)

    def _batch(self, size: int) -> Writes:
        writes = Writes()
        before: dict[InstanceKey, int] = {}
        for _ in range(size):
            key = self._chance.choice(self._keys)
            seat = self._seats[key]
            assert seat.instance is not None
            before.setdefault(key, seat.instance.version)
            event_type, data = LOOP[seat.instance.version % 2]
            request_id = f"{0:08}-4f8a-11ee-be56-{next(self._ids):012}"
            command = SendEvent(key, event_type, data, request_id=request_id)
            verdict = self._judge.event(seat, command, None, Moment(1, "bench"))
            assert verdict.error is None, verdict.error
            self._seats[key] = verdict.seat
            row = verdict.recorded[-1].row
            writes.journal.append(row)
            writes.requests.append(RequestRow(shard(key), *key, request_id, b"h" * 32, row.seq, None, 1))
        for key, version in before.items():
            instance = self._seats[key].instance
            assert instance is not None
            writes.updates.append(InstanceUpdate(instance.row, version))
        return writes

    def run(self, seconds: float, size: int) -> Measured:
        events, took, cpu_took, commits = 0, 0.0, 0.0, 0
        while took < seconds:
            writes = self._batch(size)
            began, cpu_began = time.perf_counter(), time.thread_time()
            self._commit(writes)
            took += time.perf_counter() - began
            cpu_took += time.thread_time() - cpu_began
            events += size
            commits += 1
        return Measured(events, took, cpu_took, cpu_took, commits, [])

    def close(self) -> None:
        self._connection.close()


async def _opened_and_closed(store: SqliteStore) -> None:
    await store.open()
    await store.close()


def steps(definition: Definition) -> list[tuple[str, float]]:
    """Processor time of the parts of one event on the event loop's thread, in microseconds."""
    judge = Judge(RuntimeSettings(), lambda: "u" * 32)
    moment = Moment(1_900_000_000_000, "bench")
    key = InstanceKey("", "order", "order-000001")
    verdict = judge.create(Seat(None, NO_JOURNAL), CreateInstance(key), Pinned(definition, 1), moment)
    for event_type, data in (ADD, SUBMIT):
        verdict = judge.event(verdict.seat, SendEvent(key, event_type, data), None, moment)
    seat = verdict.seat
    instance = seat.instance
    assert instance is not None
    event_type, data = LOOP[0]
    command = SendEvent(
        key, event_type, data, request_id="0f8fad5b-d9cb-469f-a165-70867728950e", view=View.BASIC
    )
    own = json.loads(data)
    event = {"type": event_type, **own}
    judged = judge.event(seat, command, None, moment)
    row, after, effects = judged.recorded[-1]
    assert after is not None
    loop = asyncio.new_event_loop()
    parts: list[tuple[str, Callable[[], object]]] = [
        ("ticket and its future", lambda: Ticket(command, CALLER, loop.create_future())),
        ("hash of the request's body", partial(body_hash, command)),
        ("judge: all of it", lambda: judge.event(seat, command, None, moment)),
        ("  parse the payload", partial(parse_object, data)),
        ("  check it against its schema", partial(definition.schemas.validate_event, event_type, own)),
        ("  macrostep", lambda: macrostep(definition.machine, instance.snapshot, event, now_ms=1)),
        ("  context as text", partial(dumps, after.snapshot.context)),
        ("  internals as text", partial(write_internals, definition, after.snapshot)),
        ("  journal row's hash", partial(sealed, row)),
        ("transition for watchers", lambda: Transition(1, row, after, effects)),
        ("answer, view BASIC", lambda: instance_state(after, View.BASIC, 1)),
        ("answer, view FULL instead", lambda: instance_state(after, View.FULL, 1)),
    ]
    measured = [(name, _microseconds(part)) for name, part in parts]
    loop.close()
    return measured


def _microseconds(part: Callable[[], object], calls: int = 2_000, rounds: int = 7) -> float:
    best = float("inf")
    for _ in range(rounds):
        began = time.thread_time()
        for _ in range(calls):
            part()
        best = min(best, time.thread_time() - began)
    return best / calls * 1e6


async def _measure_runtime(path: Path, instances: int, seconds: float, callers: int, seed: int) -> Measured:
    runtime = Runtime(SqliteStore(path))
    async with runtime.running():
        await runtime.publish(json.dumps(document()), CALLER)
        keys = [InstanceKey("", "order", f"order-{n:06}") for n in range(instances)]
        await prepared(runtime, keys)
        await through_the_runtime(runtime, keys, seconds / 4, callers, seed)
        with seldom_collected(), short_turns():
            return await through_the_runtime(runtime, keys, seconds, callers, seed + 1)


def _measure_plain(path: Path, definition: Definition, instances: int, seconds: float) -> Measured:
    plain = Plain(path, definition, instances)
    try:
        return plain.run(seconds, 128)
    finally:
        plain.close()


def _row(name: str, rounds: Sequence[Measured], plain: Sequence[Measured]) -> str:
    best = min(rounds, key=Measured.cpu_us)
    loop_us = (best.cpu_seconds - best.sqlite_cpu_seconds) / best.events * 1e6
    sqlite_us = best.sqlite_cpu_seconds / best.events * 1e6
    ratio = statistics.median(a.rate / b.rate for a, b in zip(rounds, plain, strict=True))
    latency = ""
    if best.latencies_ms:
        ordered = sorted(best.latencies_ms)
        latency = f"{ordered[len(ordered) // 2]:7.2f} {ordered[len(ordered) * 99 // 100]:7.2f}"
    return (
        f"{name:<34}{max(each.rate for each in rounds):>9,.0f} {ratio:>6.2f}"
        f" {best.events / best.commits:>7.0f}"
        f" {best.cpu_us():>7.1f} {loop_us:>7.1f} {sqlite_us:>7.1f} {latency}"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=2.0, help="of one round (default 2)")
    arguments.add_argument("--rounds", type=int, default=3, help="of each kind, interleaved (default 3)")
    arguments.add_argument("--callers", type=int, default=64, help="at the same time (default 64)")
    arguments.add_argument("--instances", type=int, default=1_000, help="of the spread run (default 1,000)")
    given = arguments.parse_args()
    uvloop.install()
    definition = load_definition(document())
    kinds = {"spread": given.instances, "hot": 1}
    runs: dict[str, list[Measured]] = {
        f"{path} {kind}": [] for kind in kinds for path in ("plain", "runtime")
    }
    for number in range(given.rounds):
        for kind, instances in kinds.items():
            with tempfile.TemporaryDirectory() as directory:
                path = Path(directory)
                runs[f"plain {kind}"].append(
                    _measure_plain(path / "plain.db", definition, instances, given.seconds)
                )
                measured = _measure_runtime(
                    path / "runtime.db", instances, given.seconds, given.callers, 100 * number
                )
                runs[f"runtime {kind}"].append(asyncio.run(measured))
    print(
        f"{'':<34}{'events/s':>9} {'ratio':>6} {'batch':>7} {'CPU us':>7} {'loop':>7} {'SQLite':>7} "
        f"{'p50 ms':>7} {'p99':>7}"
    )
    for kind, instances in kinds.items():
        plain = runs[f"plain {kind}"]
        print(_row(f"SQLite alone, {instances:,} instances", plain, plain))
        print(_row(f"runtime, {instances:,} instances", runs[f"runtime {kind}"], plain))
    print("\nprocessor time of one event on the loop's thread, in microseconds")
    for name, microseconds in steps(definition):
        print(f"  {name:<32}{microseconds:>7.2f}")


if __name__ == "__main__":
    main()
