"""A disk that is full, or fails to write: callers hear that it was not taken, and nothing taken is lost."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from durachart_client import Client
from tests.acceptance.faults.disks import FailingFsync, PreloadedFailure, SmallDisk, TracedFailure, small_disk
from tests.acceptance.faults.evidence import sqlite_engine
from tests.acceptance.faults.kill_cycles import Trial
from tests.acceptance.faults.ledger import MACHINE_ID
from tests.acceptance.faults.load import Load, Shape
from tests.acceptance.faults.servers import Nursery

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOT_STORED = ("UNAVAILABLE", "STORE_UNAVAILABLE")
DISK_MIB = 3
# The server tries again for as long as a call lasts, and says then that it could not.
CALL_MS, REFUSED = 800, 4


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", DISK_MIB) as disk:
        print(f"small by {disk.name}")
        yield disk


@pytest_asyncio.fixture(loop_scope="session")
async def cramped(nursery: Nursery, published: Path, disk: SmallDisk) -> AsyncIterator[Trial]:
    """An empty database where there is little room."""
    shutil.copytree(published, disk.directory, dirs_exist_ok=True)
    path = disk.directory / "durachart.db"
    yield Trial(nursery, lambda: sqlite_engine(path), ["--data-dir", str(path.parent)], 1)
    await nursery.kill_all()


@pytest.mark.parametrize("killed", [False, True], ids=["goes-on", "killed"])
async def test_a_full_disk_refuses_with_advice_and_takes_again_when_there_is_room(
    cramped: Trial, disk: SmallDisk, killed: bool
) -> None:
    """Whether the server lives through it, or is killed while the disk is full."""
    server = await cramped.start()
    await server.wait_ready()
    disk.limit(server)
    load = Load(cramped.addresses, cramped.seed, "f", Shape(rate=2_000, timeout_ms=CALL_MS))
    load.start()
    await load.wait_failures(NOT_STORED, REFUSED)
    async with Client(cramped.address) as client:
        assert (await client.get(MACHINE_ID, load.instance_ids[0])).version > 0
    if killed:
        await server.kill()
    disk.grow(server)
    if killed:
        server = await cramped.start()
        await server.wait_ready()
    await load.wait_answers(100)
    await cramped.finish(load, server)
    said = load.history.messages[NOT_STORED]
    assert ("the disk is full; free some space" if disk.name == "tmpfs" else "the database failed") in said


class Brittle(NamedTuple):
    """A database on a disk whose fsync can be made to fail."""

    trial: Trial
    fsync: FailingFsync


@pytest_asyncio.fixture(loop_scope="session")
async def brittle(nursery: Nursery, published: Path, tmp_path: Path) -> AsyncIterator[Brittle]:
    path = tmp_path / "data" / "durachart.db"
    shutil.copytree(published, path.parent)
    arguments = ["--data-dir", str(path.parent)]
    if TracedFailure.works():
        print("fsync fails by strace")
        yield Brittle(Trial(nursery, lambda: sqlite_engine(path), arguments, 1), TracedFailure())
        await nursery.kill_all()
        return
    if not PreloadedFailure.works():
        pytest.skip("neither can strace trace a process here, nor gcc make a library")
    print("fsync fails by LD_PRELOAD")
    failure = PreloadedFailure(tmp_path)
    async with Nursery.open(tmp_path, failure.environment) as own:
        yield Brittle(Trial(own, lambda: sqlite_engine(path), arguments, 1), failure)


@pytest.mark.parametrize("killed", [False, True], ids=["goes-on", "killed"])
async def test_what_fsync_did_not_take_is_not_acknowledged(brittle: Brittle, killed: bool) -> None:
    """EIO at the end of a commit: callers hear of it and ask again, here or of the next server."""
    trial, fsync = brittle
    server = await trial.start()
    await server.wait_ready()
    load = Load(trial.addresses, trial.seed, "e", Shape(timeout_ms=CALL_MS))
    load.start()
    await load.wait_answers(50)
    async with fsync.failing(server):
        await load.wait_failures(NOT_STORED, REFUSED)
        if killed:
            await server.kill()
    if killed:
        server = await trial.start()
        await server.wait_ready()
    await load.wait_answers(100)
    await trial.finish(load, server)
    assert "the disk failed to read or write; see the system's log" in load.history.messages[NOT_STORED]
