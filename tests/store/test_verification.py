"""What is stored is what the journal leads to, and whatever is changed beside it is found."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from durachart.runtime.commands import DeleteInstance, FinishEffect, FireTimer
from durachart.runtime.errors import DurachartError
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.verification.store_verification import Counts, StoreVerifier
from durachart.runtime.verification.verification import Problem
from durachart.store.chain import sealed
from durachart.store.errors import StoreNotOpened
from durachart.store.keys import InstanceKey
from durachart.store.postgres.scan import scan_database
from durachart.store.rows import InstanceRow, JournalRow, TimerRow
from durachart.store.scan import StoreScan
from durachart.store.sqlite.scan import scan_file
from durachart.store.sqlite.store import SqliteStore
from tests.store.conftest import StoreMaker
from tests.store.runtimes import ADA, Service, serving
from tests.unit.runtime.samples import SimulatedClock, key

MAIN, OTHER = key("main"), key("other")
# Long enough for contexts to be kept as patches.
LONG = '{"who":"' + "ada " * 50 + '"}'


async def _live(path: Path) -> None:
    """A life with everything: refusals, effects, timers that fired and that wait, patches, request ids."""
    clock = SimulatedClock()
    bounds = RuntimeSettings(whole_context_bytes=0, snapshot_every=5)
    async with serving(lambda: SqliteStore(path), bounds, clock=clock) as service:
        await service.create(OTHER, labels={"team": "red"})
        await service.create(MAIN, LONG, labels={"team": "blue"}, request_id="r-create")
        for number in range(7):
            clock.now += 1_000
            await service.send("ADD", {"by": number}, MAIN, request_id=f"r-{number}")
        for refused in ("PAID", "IF_POSITIVE_NOT", "DIVIDE"):
            with pytest.raises(DurachartError):
                await service.send(refused, None, MAIN, request_id=f"r-{refused}")
        await service.send("GO", None, MAIN)
        clock.now += 60_000
        (due,) = await service.runtime.timers.due(10)
        assert await service.runtime.timers.fire(FireTimer(MAIN, due.uid, due.timer_key, due.sequence))
        await service.send("GO", None, MAIN)
        await service.send("GO", None, OTHER)
        handlers = ["payments.charge"]
        lease = timedelta(seconds=30)
        leased = await service.runtime.lease_effects(handlers, limit=2, holder="w", lease=lease)
        (own,) = [effect for effect in leased if effect.key == OTHER]
        finish = FinishEffect(OTHER, own.effect_id, own.lease_token, "completed", '{"receipt":"abc"}')
        await service.runtime.finish_effect(finish, ADA)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with two instances; not to be changed."""
    path = tmp_path_factory.mktemp("history") / "store.db"
    asyncio.run(_live(path))
    return path


@pytest.fixture
def copied(history: Path, tmp_path: Path) -> Path:
    """A database of one's own."""
    return Path(shutil.copy(history, tmp_path / "store.db"))


def change(path: Path, statement: str, values: Sequence[Any] = ()) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(statement, values).rowcount >= 1
        connection.commit()


async def verified(path: Path, only: InstanceKey | None = None) -> tuple[list[Problem], Counts]:
    return await verified_by(scan_file(path), only)


def scan_of(service: Service) -> StoreScan:
    """What is stored, read beside the service."""
    store: Any = service.store
    return scan_file(store._path) if isinstance(store, SqliteStore) else scan_database(store._target)


async def verified_by(scan: StoreScan, only: InstanceKey | None = None) -> tuple[list[Problem], Counts]:
    verifier = StoreVerifier(scan)
    try:
        found = [problem async for problems in verifier.problems(only) for problem in problems]
    finally:
        await scan.close()
    assert verifier.counts.problems == len(found)
    return found, verifier.counts


def rows_of(path: Path, of: InstanceKey) -> list[JournalRow]:
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(
            f"SELECT {', '.join(JournalRow._fields)} FROM journal WHERE instance_id = ? ORDER BY seq",
            (of.instance_id,),
        )
        rows = [JournalRow._make(row) for row in found]
    return [row._replace(changed=bool(row.changed)) for row in rows]


def reseal(path: Path, of: InstanceKey, seq: int, tamper: Callable[[JournalRow], JournalRow]) -> None:
    """Change a row and make the chain fit again, as somebody would who knows how it is made."""
    rows = rows_of(path, of)
    rows[seq - 1] = tamper(rows[seq - 1])
    before = b""
    with closing(sqlite3.connect(path)) as connection:
        for changed in rows:
            row = sealed(changed._replace(prev_hash=before))
            before = row.hash
            connection.execute(
                "DELETE FROM requests WHERE instance_id = ? AND seq = ?", (of.instance_id, seq)
            )
            named = ", ".join(f"{name} = ?" for name in JournalRow._fields)
            connection.execute(
                f"UPDATE journal SET {named} WHERE instance_id = ? AND seq = ?",
                (*row, of.instance_id, row.seq),
            )
        connection.commit()


async def test_a_clean_history_verifies(history: Path) -> None:
    """F2, A9: the engine comes to every stored state again, and the chain has no gap."""
    found, counts = await verified(history)
    assert found == []
    assert counts.instances == 2
    assert counts.rows == len(rows_of(history, MAIN)) + len(rows_of(history, OTHER))
    assert counts.executed == counts.rows - 3
    assert not counts.skipped


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_backup_where_nothing_may_be_written_verifies(copied: Path) -> None:
    copied.parent.chmod(0o555)
    try:
        problems, _ = await verified(copied)
    finally:
        copied.parent.chmod(0o755)
    assert problems == []
    assert list(copied.parent.iterdir()) == [copied]


async def test_one_instance_is_verified_alone(copied: Path) -> None:
    change(copied, "UPDATE instances SET status = 'active' WHERE instance_id = 'other'")
    assert (await verified(copied, MAIN))[0] == []
    found, counts = await verified(copied, OTHER)
    assert [problem.key for problem in found] == [OTHER]
    assert (counts.instances, counts.wrong_instances) == (1, 1)
    assert (await verified(copied, key("nobody")))[1].instances == 0


OTHER_VALUES: dict[str, Any] = {
    "seq": 99,
    "version": 99,
    "to_version": 99,
    "from_version": 99,
    "machine_version": 7,
    "snapshot_seq": 2,
    "at_ms": 5,
    "changed": 0,
    "expected_version": 4,
    "shard": 300,
    "labels": '{"team":"green"}',
    "hash": b"x" * 32,
    "prev_hash": b"y" * 32,
    "due_at_ms": 6,
    "sequence": 77,
    "updated_at_ms": 8,
    "created_at_ms": 9,
    "outcome": "refused",
    "value": '"late"',
    "to_value": '"late"',
    "context": '{"n":1000,"who":null}',
}


@pytest.mark.parametrize("column", JournalRow._fields)
async def test_a_changed_column_of_a_journal_row_is_found(copied: Path, column: str) -> None:
    """A9: whatever is changed in the middle of a journal is found, and named with its row."""
    value = OTHER_VALUES.get(column, "tampered")
    change(copied, f"UPDATE journal SET {column} = ? WHERE instance_id = 'main' AND seq = 4", (value,))
    found, _ = await verified(copied)
    assert found
    in_place = column in ("shard", "namespace", "machine_id", "instance_id")
    if not in_place:
        assert {problem.key for problem in found} == {MAIN}
        assert any(problem.seq in (4, 5, 99) and problem.check == "chain" for problem in found)


async def test_a_revision_that_is_out_of_order_or_given_twice_is_found(copied: Path) -> None:
    change(copied, "UPDATE journal SET revision = 1 WHERE instance_id = 'main' AND seq = 4")
    messages = [problem.message for problem in (await verified(copied))[0]]
    assert "revision 1 was given to more than one journal row" in messages
    assert any("has revision 1, the row before it" in message for message in messages)


@pytest.mark.parametrize("column", InstanceRow._fields)
async def test_a_changed_column_of_an_instances_row_is_found(copied: Path, column: str) -> None:
    value = OTHER_VALUES.get(column, "tampered")
    change(copied, f"UPDATE instances SET {column} = ? WHERE instance_id = 'main'", (value,))
    found, _ = await verified(copied)
    assert {problem.check for problem in found} & {"instance"}
    if column not in ("shard", "namespace", "machine_id", "instance_id"):
        (problem,) = found
        assert (problem.key, problem.seq) == (MAIN, 0)
        assert f"another {column} than journal row" in problem.message


@pytest.mark.parametrize("column", [name for name in TimerRow._fields if name != "claimed_until_ms"])
async def test_a_changed_column_of_a_timers_row_is_found(copied: Path, column: str) -> None:
    value = OTHER_VALUES.get(column, "tampered")
    change(copied, f"UPDATE timers SET {column} = ? WHERE instance_id = 'main'", (value,))
    found, _ = await verified(copied)
    assert "timers" in {problem.check for problem in found}


@pytest.mark.parametrize(
    "column", ["uid", "version", "ordinal", "type", "handler", "params", "owner", "machine_version"]
)
async def test_a_changed_effect_that_has_not_ended_is_found(copied: Path, column: str) -> None:
    value = OTHER_VALUES.get(column, "tampered" if column != "ordinal" else 3)
    change(
        copied,
        f"UPDATE effects SET {column} = ? WHERE instance_id = 'main' AND finalized_at_ms IS NULL",
        (value,),
    )
    (problem,) = (await verified(copied))[0]
    assert problem.check == "effects"
    assert f"another {column} of" in problem.message
    (difference,) = problem.differences
    assert difference.stored != difference.computed


@pytest.mark.parametrize(
    ("table", "check"),
    [("instances", "instance"), ("timers", "timers"), ("journal", "instance")],
)
async def test_rows_that_are_gone_are_missed(copied: Path, table: str, check: str) -> None:
    change(copied, f"DELETE FROM {table} WHERE instance_id = 'main'")
    assert check in {problem.check for problem in (await verified(copied))[0]}


async def test_a_request_id_without_its_answer_is_found(copied: Path) -> None:
    change(copied, "UPDATE requests SET seq = seq + 1 WHERE request_id = 'r-3'")
    (problem,) = (await verified(copied))[0]
    assert problem.check == "requests"
    assert "'r-3'" in problem.message


async def test_an_effect_nobody_asked_for_is_found(copied: Path) -> None:
    change(
        copied, "UPDATE effects SET effect_id = 'e' WHERE instance_id = 'main' AND finalized_at_ms IS NULL"
    )
    (problem,) = (await verified(copied))[0]
    assert "no journal row asked for it" in problem.message


def _effects(row: JournalRow) -> JournalRow:
    assert row.effects is not None
    return row._replace(effects=row.effects.replace('"charge"', '"refund"'))


# Row 12 sends GO, 13 is the timer, 14 GO again; 3 to 8 add.
RESEALED: dict[str, tuple[int, Callable[[JournalRow], JournalRow]]] = {
    "value": (12, lambda row: row._replace(to_value='"late"')),
    "status": (12, lambda row: row._replace(status="done")),
    "internals": (
        12,
        lambda row: row._replace(
            internals=str(row.internals).replace('"next_sequence":1', '"next_sequence":5')
        ),
    ),
    "context_patch": (4, lambda row: row._replace(context_patch='{"set":{"n":1000}}')),
    "context": (1, lambda row: row._replace(context='{"n":1000,"who":null}')),
    "changed": (4, lambda row: row._replace(changed=False)),
    "effects": (12, _effects),
    "data": (4, lambda row: row._replace(data='{"by":900}')),
    "event_type": (4, lambda row: row._replace(event_type="NOPE")),
    "at_ms": (13, lambda row: row._replace(at_ms=row.at_ms - 30_000)),
    "cause": (13, lambda row: row._replace(cause="event")),
    "details": (13, lambda row: row._replace(details='{"timer":"x","sequence":0}')),
    "reason": (9, lambda row: row._replace(event_type="ADD")),
    "from_version": (5, lambda row: row._replace(from_version=1)),
    "from_value": (5, lambda row: row._replace(from_value='"late"')),
    "uid": (5, lambda row: row._replace(uid="f" * 32)),
    "machine_version": (5, lambda row: row._replace(machine_version=7)),
    "snapshot_seq": (4, lambda row: row._replace(snapshot_seq=3)),
}


@pytest.mark.parametrize("what", RESEALED)
async def test_a_changed_row_is_found_even_if_the_chain_was_made_to_fit(copied: Path, what: str) -> None:
    """F2: a result that does not follow from its cause is found by executing it again."""
    seq, tamper = RESEALED[what]
    assert tamper(rows_of(copied, MAIN)[seq - 1]) != rows_of(copied, MAIN)[seq - 1]
    reseal(copied, MAIN, seq, tamper)
    found, _ = await verified(copied)
    assert any(problem.seq == seq for problem in found)
    assert not any(problem.check == "chain" and "hash" in problem.message for problem in found)


async def test_a_wrong_row_is_reported_once_with_what_was_computed(copied: Path) -> None:
    reseal(copied, MAIN, 4, lambda row: row._replace(context_patch='{"set":{"n":1000}}'))
    found, _ = await verified(copied)
    first = found[0]
    assert (first.key, first.seq, first.check) == (MAIN, 4, "result")
    assert [str(difference) for difference in first.differences] == ["/n: stored 1000, computed 3"]


async def test_rows_of_another_release_are_not_executed_and_are_counted(copied: Path) -> None:
    reseal(copied, MAIN, 4, lambda row: row._replace(engine_version="0.0.1"))
    found, counts = await verified(copied)
    assert found == []
    assert counts.skipped == {"judged by release 0.0.1": 1}


async def test_a_definition_that_cannot_be_run_here_is_not_executed_and_counted(copied: Path) -> None:
    change(copied, "UPDATE definitions SET document = '{', content_hash = 'x'")
    found, counts = await verified(copied)
    assert found == []
    assert counts.executed == 0
    assert sum(counts.skipped.values()) == counts.rows - 3


async def test_a_definition_that_is_gone_or_was_changed_is_a_problem(copied: Path) -> None:
    change(copied, "UPDATE definitions SET document = replace(document, 'context.n + 1', 'context.n + 2')")
    (problem,) = (await verified(copied))[0]
    assert problem.check == "definition"
    change(copied, "DELETE FROM definitions")
    (problem,) = (await verified(copied))[0]
    assert "is not stored" in problem.message


async def test_a_journal_whose_beginning_is_missing_is_found_unless_retention_removed_it(
    copied: Path,
) -> None:
    change(copied, "DELETE FROM requests WHERE instance_id = 'main'")
    whole = rows_of(copied, MAIN)
    cut = next(row.seq for row in whole if row.seq > 1 and row.context is not None)
    change(copied, "DELETE FROM journal WHERE instance_id = 'main' AND seq < ?", (cut,))
    (problem,) = (await verified(copied))[0]
    assert (problem.seq, problem.check) == (cut, "chain")
    change(copied, "INSERT INTO store_info VALUES ('compacted_revision', '5')")
    found, counts = await verified(copied)
    assert found == []
    assert counts.skipped == {"the state before it is not known": 1}
    change(copied, "DELETE FROM journal WHERE instance_id = 'main' AND seq = ?", (cut,))
    assert any("no whole context" in problem.message for problem in (await verified(copied))[0])


async def test_what_retention_has_begun_to_remove_is_no_problem(copied: Path) -> None:
    rows = rows_of(copied, MAIN)
    for table in ("instances", "timers", "effects"):
        change(copied, f"DELETE FROM {table} WHERE instance_id = 'main'")
    change(copied, "DELETE FROM journal WHERE instance_id = 'main' AND seq < 4")
    change(copied, "INSERT INTO store_info VALUES ('compacted_revision', '5')")
    assert (await verified(copied))[0]
    change(
        copied,
        "INSERT INTO tombstones SELECT shard, namespace, machine_id, instance_id, uid, ?, 0 FROM journal"
        " WHERE instance_id = 'main' AND seq = 5",
        (rows[-1].seq,),
    )
    assert (await verified(copied))[0] == []


async def test_a_file_that_is_no_database_of_this_release_is_refused(tmp_path: Path, copied: Path) -> None:
    change(copied, "UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(StoreNotOpened, match="has schema 0000"):
        await verified(copied)
    notes = tmp_path / "notes.txt"
    notes.write_text("dear diary, " * 1000)
    with pytest.raises(StoreNotOpened, match="is it a database of Durachart"):
        await verified(notes)


async def test_many_instances_are_read_in_groups_and_none_is_left_out(make_store: StoreMaker) -> None:
    """On every store, beside the server that runs on it."""
    keys = [key(f"i-{number}") for number in range(450)]
    async with serving(make_store) as service:
        await asyncio.gather(*(service.create(each, request_id="r") for each in keys))
        for event in ("ADD", "ADD", "GO"):
            await asyncio.gather(*(service.send(event, None, each) for each in keys))
        with pytest.raises(DurachartError):
            await service.send("ADD", None, keys[7])
        await service.runtime.delete_instance(DeleteInstance(keys[3]), ADA)
        found, counts = await verified_by(scan_of(service))
    assert found == []
    assert (counts.instances, counts.rows, counts.executed) == (450, 1_802, 1_800)


async def test_a_long_journal_is_read_in_pages(make_store: StoreMaker) -> None:
    """What is in memory at a time does not grow with a journal."""
    async with serving(make_store) as service:
        await service.create(MAIN)
        for _ in range(6):
            await asyncio.gather(*(service.send("ADD", None, MAIN) for _ in range(200)))
        scan = scan_of(service)
        pages = [page async for page in scan.pages()]
        await scan.close()
        found, counts = await verified_by(scan_of(service))
    assert [len(page.entries) for page in pages] == [500, 500, 201, 0]
    assert [page.last for page in pages] == [False, False, False, True]
    assert len({id(page.of) for page in pages}) == 1
    assert (found, counts.rows, counts.executed) == ([], 1_201, 1_201)
