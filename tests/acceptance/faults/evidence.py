"""What a database holds, read without the server, and whether it bears out what the clients were told."""

from __future__ import annotations

import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, NullPool, Select, event, func, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from durachart.runtime.verification.store_verification import StoreVerifier
from durachart.store.rows import EffectRow, JournalRow
from durachart.store.scan import StoreScan
from durachart.store.schema import effects, instances, journal, timers
from tests.acceptance.faults.ledger import ALARM_MS, Cause, Ledger
from tests.acceptance.faults.linearizability import Row, violations
from tests.acceptance.faults.load import History

_RAN = re.compile(r"(?:durachart\.effects\.log|ran): .*? effect_id=(\S+)")


@dataclass(slots=True)
class Evidence:
    """The rows of some instances.

    Attributes:
        journals: By instance id, by seq.
        effects: All their effects.
        pending_timers: How many of their timers are pending.
    """

    journals: dict[str, list[JournalRow]]
    effects: list[EffectRow]
    pending_timers: int


def sqlite_engine(path: Path) -> AsyncEngine:
    """Reads a SQLite file, whether a server has it open or not, and never writes to it."""
    url = URL.create("sqlite+aiosqlite", database=f"file:{path}", query={"mode": "ro", "uri": "true"})
    engine = create_async_engine(url)

    def connected(connection: Any, _record: object) -> None:
        # The driver would begin no transaction for reads.
        connection.isolation_level = None

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def postgres_engine(url: str) -> AsyncEngine:
    """Reads a PostgreSQL database; ``url`` is what ``durachart serve --db`` takes."""
    # Without a pool, so that no connection is kept that a killed server has forgotten.
    return create_async_engine(
        url.replace("postgresql", "postgresql+asyncpg", 1),
        isolation_level="REPEATABLE READ",
        poolclass=NullPool,
    )


@asynccontextmanager
async def opened(engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """An engine, disposed of at the end."""
    try:
        yield engine
    finally:
        await engine.dispose()


async def journaled(engine: AsyncEngine, instance_ids: Sequence[str]) -> set[str]:
    """The request ids that are in the journals of these instances."""
    columns = journal.c
    async with engine.connect() as connection:
        found = await connection.execute(
            select(columns.request_id).where(columns.instance_id.in_(instance_ids))
        )
        return set(found.scalars())


async def unsettled(engine: AsyncEngine) -> list[str]:
    """The timers that are pending and the effects that have not ended; empty: everything has come to rest."""
    columns = effects.c
    running = select(columns.effect_id, columns.state, columns.attempt, columns.scheduled_at_ms)
    async with engine.connect() as connection:
        pending = await connection.execute(select(timers.c.instance_id, timers.c.due_at_ms))
        unfinished = await connection.execute(running.where(columns.finalized_at_ms.is_(None)))
        return [f"timer {tuple(row)}" for row in pending] + [f"effect {tuple(row)}" for row in unfinished]


async def versions(engine: AsyncEngine, instance_ids: Sequence[str]) -> dict[str, int]:
    """The version of each of these instances that exists."""
    columns = instances.c
    statement = select(columns.instance_id, columns.version).where(columns.instance_id.in_(instance_ids))
    async with engine.connect() as connection:
        return {row.instance_id: row.version for row in await connection.execute(statement)}


async def gather(engine: AsyncEngine, instance_ids: Sequence[str]) -> Evidence:
    """The rows of these instances, from one cut."""
    journals: dict[str, list[JournalRow]] = {one: [] for one in instance_ids}
    async with engine.connect() as connection:

        async def rows(statement: Select[Any]) -> Sequence[Any]:
            return (await connection.execute(statement)).all()

        wanted = [journal.c[name] for name in JournalRow._fields]
        is_ours = journal.c.instance_id.in_(instance_ids)
        for row in await rows(select(*wanted).where(is_ours).order_by(journal.c.seq)):
            journals[row.instance_id].append(JournalRow._make(row))
        columns = [effects.c[name] for name in EffectRow._fields]
        found = await rows(select(*columns).where(effects.c.instance_id.in_(instance_ids)))
        ours = select(func.count()).select_from(timers).where(timers.c.instance_id.in_(instance_ids))
        ((pending,),) = await rows(ours)
    return Evidence(journals, [EffectRow._make(row) for row in found], int(pending))


def contradictions(evidence: Evidence, history: History, ran: str) -> list[str]:
    """Whatever the rows do not bear out, as sentences; empty: the service did what it promises.

    Args:
        evidence: Of all instances of the history, once no timer is pending and every effect has ended.
        history: What the clients saw.
        ran: What all servers logged, for the effects that they ran.
    """
    found = _contradicted_histories(evidence, history)
    for instance_id, rows in evidence.journals.items():
        found += [f"{instance_id}: {text}" for text in _wrong_timers(rows)]
        found += [f"{instance_id}: {text}" for text in _wrong_watch(rows, history.watched[instance_id])]
    if evidence.pending_timers:
        found.append(f"{evidence.pending_timers} timers are still pending")
    return found + _wrong_effects(evidence, set(_RAN.findall(ran)))


async def verification(engine: AsyncEngine) -> list[str]:
    """What `durachart verify` finds in the whole database: hashes, positions, and what replay comes to."""
    verifier = StoreVerifier(StoreScan(engine, "under test", str))
    found = []
    async for problems in verifier.problems():
        found += [str(problem) for problem in problems]
    if verifier.counts.skipped:
        found.append(f"rows were not executed: {verifier.counts.skipped}")
    return found


def _contradicted_histories(evidence: Evidence, history: History) -> list[str]:
    calls, reads = defaultdict(list), defaultdict(list)
    for call in history.calls:
        calls[call.request.instance_id].append(call)
    for read in history.reads:
        reads[read.instance_id].append(read)
    found = []
    for instance_id in {*evidence.journals, *calls, *reads}:
        rows = [_row(row) for row in evidence.journals.get(instance_id, ())]
        broken = violations(Ledger(), rows, calls[instance_id], reads[instance_id])
        found += [f"{instance_id}: {one.rule}: {one.text}" for one in broken]
    return found


def _row(row: JournalRow) -> Row:
    data = json.loads(row.data) if row.data else {}
    cause = Cause(row.cause, row.event_type, data.get("n", 0))
    return Row(
        row.seq, cause, row.request_id, row.expected_version, row.reason, row.from_version, row.to_version
    )


def _wrong_watch(rows: Sequence[JournalRow], watched: Sequence[tuple[int, Ledger]]) -> list[str]:
    """The watch showed every version from where it began on, once and in order, as the model has it."""
    states: list[Ledger] = []
    for row in rows:
        if row.outcome == "accepted":
            after = states[-1].after(_row(row).cause) if states else Ledger()
            # A step that the model refuses has been told of already.
            states.append(after if isinstance(after, Ledger) else states[-1])
    shown = [version for version, _ in watched]
    if shown != list(range(shown[0] if shown else 0, len(states))):
        return [f"the watch showed versions {shown} of {len(states)}"]
    return [
        f"the watch showed {state} at version {version}, not {states[version]}"
        for version, state in watched
        if state != states[version]
    ]


def _wrong_timers(rows: Sequence[JournalRow]) -> list[str]:
    """Every arming is followed by one tick, at or after its due instant, and by none that nobody armed."""
    found = []
    due_at_ms: int | None = None
    for row in rows:
        if row.outcome != "accepted":
            continue
        if row.event_type == "ARM":
            due_at_ms = row.at_ms + ALARM_MS
        elif row.cause == "timer" and due_at_ms is None:
            found.append(f"seq {row.seq} fires a timer that was not armed, or had fired")
        elif row.cause == "timer":
            if row.at_ms < (due_at_ms or 0):
                found.append(f"seq {row.seq} fires at {row.at_ms}, due at {due_at_ms}")
            if row.at_ms > time.time() * 1000 + 1:
                found.append(f"seq {row.seq} fires at {row.at_ms}, which has not come yet")
            due_at_ms = None
    if due_at_ms is not None:
        found.append(f"the timer due at {due_at_ms} never fired")
    return found


def _wrong_effects(evidence: Evidence, ran: set[str]) -> list[str]:
    """Every effect asked for is in the outbox, was run, has ended, and the machine has heard of it once."""
    asked: dict[str, str] = {}
    heard: Counter[str] = Counter()
    for rows in evidence.journals.values():
        for row in rows:
            if row.outcome == "accepted":
                asked |= {one["id"]: one["type"] for one in json.loads(row.effects or "[]")}
            if row.cause == "effect":
                heard[json.loads(row.data)["effect_id"]] += 1
    found = [f"effect {one} was heard of {times} times" for one, times in heard.items() if times > 1]
    found += [f"effect {one} was never heard of" for one in asked.keys() - heard.keys()]
    found += [f"effect {one} ended and nobody asked for it" for one in heard.keys() - asked.keys()]
    found += [f"effect {one} ended and its handler never ran" for one in heard.keys() - ran]
    stored = {effect.effect_id: effect for effect in evidence.effects}
    if stored.keys() != asked.keys():
        found.append(f"the outbox differs from what was asked for: {stored.keys() ^ asked.keys()}")
    found += [
        f"effect {one.effect_id} is {one.state} after {one.attempt} attempts"
        for one in stored.values()
        if one.state != "completed" or one.finalized_at_ms is None
    ]
    return found
