"""The design that Durachart's group commit is measured against: a transaction per event.

``python -m bench.baseline FILE`` serves SendEvent on the bare grpc.aio server of `bench.echo_server`, as a
web service would be written with SQLAlchemy's asyncio and aiosqlite: each call begins a transaction, reads
the instance and the end of its journal, takes the step, writes the instance under a version check, the
journal row and the request id, and commits with ``synchronous=FULL``. Judge, rows and schema are Durachart's
own, so that the design is all that differs. One connection, because SQLite takes one writer: with more of
them they wait for each other's locks and it gets slower.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import uvloop
from sqlalchemy import URL, and_, bindparam, event, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bench.echo_server import serve_unary
from bench.servers import MACHINES
from durachart.definitions.definition import Definition, load_definition
from durachart.definitions.loader import load_document
from durachart.rpc import convert
from durachart.rpc.gen import state_machine_service_pb2 as pb
from durachart.runtime.commands import SendEvent
from durachart.runtime.instance import Pinned, Seat, restored
from durachart.runtime.judge.judge import Judge
from durachart.runtime.judge.moment import Moment
from durachart.runtime.judge.stepping import Verdict
from durachart.runtime.present import instance_state
from durachart.runtime.queue.batch import body_hash
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.views import View
from durachart.store.interface import NO_JOURNAL, Head, StoredInstance
from durachart.store.keys import InstanceKey, shard
from durachart.store.rows import InstanceRow, JournalRow, RequestRow
from durachart.store.schema import instances, journal, metadata, requests

_KEY = ("shard", "namespace", "machine_id", "instance_id")


def _is(table: Any) -> Any:
    return and_(*(table.c[name] == bindparam(f"p_{name}") for name in _KEY))


SELECT_INSTANCE = select(instances).where(_is(instances))
SELECT_HEAD = (
    select(journal.c.seq, journal.c.hash, journal.c.at_ms)
    .where(_is(journal))
    .order_by(journal.c.seq.desc())
    .limit(1)
)
UPDATE_INSTANCE = (
    update(instances)
    .where(_is(instances), instances.c.version == bindparam("p_version"))
    .values(
        {
            name: bindparam(name)
            for name in (
                "version",
                "status",
                "value",
                "context",
                "internals",
                "updated_at_ms",
                "seq",
                "snapshot_seq",
            )
        }
    )
)


def connected(path: Path) -> AsyncEngine:
    """The database with its one writing connection."""
    url = URL.create("sqlite+aiosqlite", database=str(path))
    engine = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=600)

    def configure(connection: Any, record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    event.listen(engine.sync_engine, "connect", configure)
    event.listen(
        engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE")
    )
    return engine


class Baseline:
    """SendEvent with a transaction of its own."""

    def __init__(self, engine: AsyncEngine, definition: Definition) -> None:
        self._engine = engine
        self._pinned = Pinned(definition, 1)
        self._judge = Judge(RuntimeSettings(), lambda: "u" * 32)
        self._revision = 0

    async def send_event(self, request: pb.SendEventRequest, context: Any) -> pb.SendEventResponse:
        command = SendEvent(
            key=convert.key_of(request.instance),
            event_type=request.event.type,
            data_json=request.event.data_json,
            request_id=request.request_id,
            create_if_missing=request.create_if_missing,
            view=convert.view_of(request.view, View.FULL),
        )
        key = command.key
        where = {"p_shard": shard(key), **{f"p_{name}": value for name, value in key._asdict().items()}}
        now_ms = time.time_ns() // 1_000_000
        async with self._engine.begin() as connection:
            row = (await connection.execute(SELECT_INSTANCE, where)).one_or_none()
            head = (await connection.execute(SELECT_HEAD, where)).one_or_none()
            seat = self._seat(row, head)
            verdict = self._judge.event(seat, command, self._pinned, Moment(now_ms, "anonymous"))
            if verdict.error is not None:
                raise verdict.error
            await self._write(connection, command, seat, verdict, where, now_ms)
        last = verdict.recorded[-1]
        assert last.after is not None
        state = convert.instance_state(instance_state(last.after, command.view, last.row.at_ms))
        return pb.SendEventResponse(state=state, changed=last.row.changed)

    def _seat(self, row: Any, head: Any) -> Seat:
        found = None
        if row is not None:
            found = restored(StoredInstance(InstanceRow._make(row), ()), self._pinned.definition)
        return Seat(found, NO_JOURNAL if head is None else Head._make(head))

    async def _write(
        self,
        connection: Any,
        command: SendEvent,
        before: Seat,
        verdict: Verdict,
        where: dict[str, Any],
        now_ms: int,
    ) -> None:
        after = verdict.seat.instance
        assert after is not None
        values = after.row._asdict()
        if before.instance is None:
            await connection.execute(insert(instances), values)
        else:
            moved = await connection.execute(
                UPDATE_INSTANCE, {**values, **where, "p_version": before.instance.version}
            )
            assert moved.rowcount == 1
        for recorded in verdict.recorded:
            self._revision += 1
            row: JournalRow = recorded.row
            await connection.execute(insert(journal), {"revision": self._revision, **row._asdict()})
        if command.request_id:
            key: InstanceKey = command.key
            used = RequestRow(
                shard(key),
                *key,
                command.request_id,
                body_hash(command),
                verdict.recorded[-1].row.seq,
                None,
                now_ms,
            )
            await connection.execute(insert(requests), used._asdict())


async def main(path: Path) -> None:
    engine = connected(path)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    definition = load_definition(dict(load_document(MACHINES / "payment" / "machine.yaml").sections))
    await serve_unary(Baseline(engine, definition).send_event)
    await engine.dispose()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
