"""What something else wrote into a row concerns its instance alone, and is said with a reason."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from durachart.runtime.commands import FireTimer
from durachart.runtime.errors import (
    DurachartError,
    GuardRejected,
    ImplementationMissing,
    InstanceCorrupt,
    MachineNotFound,
)
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.views import (
    View,
    WatchFilter,
    WatchFrame,
    WatchGap,
    WatchSnapshot,
    WatchSpec,
    WatchSynced,
    WatchTransition,
)
from durachart.store.sqlite.store import SqliteStore
from tests.store.runtimes import ADA, Service, serving
from tests.unit.runtime.samples import START_MS, SimulatedClock, job_json, key

BAD, GOOD = key("bad"), key("good")
LONG = '{"who":"' + "ada " * 50 + '"}'
# Nothing is read from memory that is to be read from the disk.
BOUNDS = RuntimeSettings(whole_context_bytes=0, snapshot_every=50, log_entries=1)
LATER_MS = START_MS + 60_000


async def _live(path: Path) -> tuple[str, str]:
    """Two instances with the same life; tokens of watches of both, and of the bad one, from its middle."""
    async with serving(lambda: SqliteStore(path), BOUNDS, clock=SimulatedClock()) as service:
        for each in (BAD, GOOD):
            await service.create(each, LONG, labels={"team": "red"}, request_id="r-create")
            await service.send("ADD", {"by": 1}, each, request_id="r-add")
        tokens = (await _token(service, BAD, GOOD), await _token(service, BAD))
        for each in (BAD, GOOD):
            await service.send("ADD", {"by": 1}, each, request_id="r-again")
            await service.send("GO", None, each, request_id="r-go")
            with pytest.raises(DurachartError):
                await service.send("ADD", {"by": 1}, each, request_id="r-refused")
        return tokens


async def _token(service: Service, *keys: Any) -> str:
    async for frames in service.runtime.watch(WatchSpec(instances=keys), ADA):
        if isinstance(frames[-1], WatchSynced):
            return frames[-1].resume_token
    raise AssertionError


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A database and two resume tokens; not to be changed."""
    path = tmp_path_factory.mktemp("written") / "store.db"
    return (path, *asyncio.run(_live(path)))


@asynccontextmanager
async def damaged(
    written: tuple[Path, str, str], tmp_path: Path, statement: str, values: Sequence[Any] = ()
) -> AsyncIterator[Service]:
    """A service on a copy in which ``statement`` changed something."""
    path = Path(shutil.copy(written[0], tmp_path / "store.db"))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(statement, values).rowcount >= 1
        connection.commit()
    clock = SimulatedClock(LATER_MS)
    async with serving(lambda: SqliteStore(path), BOUNDS, clock=clock, published=False) as service:
        yield service


async def until_synced(service: Service, spec: WatchSpec) -> list[WatchFrame]:
    found: list[WatchFrame] = []
    async for frames in service.runtime.watch(spec, ADA):
        found.extend(frames)
        if isinstance(frames[-1], WatchSynced):
            break
    return found


BROKEN_INSTANCES = {
    "value": ['"late"', "{", ""],
    "status": ["done"],
    "context": ["{", "7", "null", ""],
    "internals": ["{", "[]", "7", '{"format":1}', '{"format":99}', ""],
    "labels": ["{", "[]", '{"a":1}'],
}
ANY = [(column, text) for column, texts in BROKEN_INSTANCES.items() for text in texts]


@pytest.mark.parametrize(("column", "text"), ANY)
async def test_a_broken_instances_row_concerns_its_instance_alone(
    written: tuple[Path, str, str], tmp_path: Path, column: str, text: str
) -> None:
    """C5: a state that is no state is reported for its instance, and everybody else goes on."""
    statement = f"UPDATE instances SET {column} = ? WHERE instance_id = 'bad'"
    async with damaged(written, tmp_path, statement, (text,)) as service:
        with pytest.raises(InstanceCorrupt):
            await service.runtime.instances.get(BAD)
        with pytest.raises(InstanceCorrupt) as caught:
            await service.send("LEAVE", None, BAD)
        assert caught.value.key == BAD
        assert (await service.send("LEAVE", None, GOOD)).changed
        await others_go_on(service)


async def others_go_on(service: Service) -> None:
    """Lists and watches show the bad one as far as it can be, and the good one whole."""
    page = await service.runtime.instances.list("", view=View.FULL)
    assert [state.key for state in page.items] == [BAD, GOOD]
    assert page.items[0].version == 3
    for spec in (WatchSpec(filter=WatchFilter("", "job")), WatchSpec(instances=(BAD, GOOD))):
        frames = await until_synced(service, spec)
        states = [frame.state for frame in frames if isinstance(frame, WatchSnapshot)]
        assert [state.key for state in states] == [BAD, GOOD]
        assert states[1].allowed_events


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("UPDATE instances SET machine_version = 9 WHERE instance_id = 'bad'", MachineNotFound),
        (
            "INSERT INTO definitions SELECT machine_id, 9, 'x', '{', '', '[]', 0 FROM definitions",
            ImplementationMissing,
        ),
    ],
)
async def test_a_definition_that_is_missing_or_does_not_compile_concerns_its_instances_alone(
    written: tuple[Path, str, str], tmp_path: Path, statement: str, error: type[DurachartError]
) -> None:
    async with damaged(written, tmp_path, statement) as service:
        store: Any = service.store
        pinned = "UPDATE instances SET machine_version = 9 WHERE instance_id = 'bad'"
        await store._writer.run(lambda connection: connection.execute(pinned))
        for _ in range(2):
            with pytest.raises(error):
                await service.send("LEAVE", None, BAD)
            with pytest.raises(error):
                await service.runtime.instances.get(BAD)
        assert (await service.send("LEAVE", None, GOOD)).changed
        await others_go_on(service)


BROKEN_JOURNAL = {
    "context_patch": ["{", "[]", "7", "{}"],
    "internals": ["{", "[]", '{"format":99}'],
    "effects": ["{", "[7]", '[{"id":1}]'],
    "running_effects": ["{", "[7]", "[[1]]"],
}
ROWS = [(column, text) for column, texts in BROKEN_JOURNAL.items() for text in texts]


@pytest.mark.parametrize(("column", "text"), ROWS)
async def test_a_watch_of_many_passes_over_a_broken_journal_row_with_a_gap(
    written: tuple[Path, str, str], tmp_path: Path, column: str, text: str
) -> None:
    # Of the rows after the tokens the first; it is a patch.
    statement = f"UPDATE journal SET {column} = ? WHERE instance_id = 'bad' AND seq = 3"
    _, of_both, of_bad = written
    async with damaged(written, tmp_path, statement, (text,)) as service:
        frames = await until_synced(service, WatchSpec(instances=(BAD, GOOD), resume_token=of_both))
        instead = [frame for frame in frames if isinstance(frame, WatchGap)]
        assert [(frame.state.key, frame.state.version) for frame in instead] == [(BAD, 3)]
        seen = [
            frame.state.version
            for frame in frames
            if isinstance(frame, WatchTransition) and frame.state.key == GOOD
        ]
        assert seen == [2, 3]
        assert not any(isinstance(frame, WatchTransition) and frame.state.key == BAD for frame in frames)
        # It goes on from its snapshot, once.
        again = await until_synced(
            service, WatchSpec(instances=(BAD, GOOD), resume_token=frames[-1].resume_token)
        )
        assert len(again) == 1
        with pytest.raises(InstanceCorrupt):
            await until_synced(service, WatchSpec(instances=(BAD,), resume_token=of_bad))
        assert (await service.send("LEAVE", None, BAD)).changed, "what it is now can be read"


@pytest.mark.parametrize("column", ["context_patch", "internals", "effects"])
async def test_a_recorded_answer_that_cannot_be_read_is_an_error_of_its_instance(
    written: tuple[Path, str, str], tmp_path: Path, column: str
) -> None:
    statement = f"UPDATE journal SET {column} = '{{' WHERE instance_id = 'bad' AND seq = 3"
    async with damaged(written, tmp_path, statement) as service:
        with pytest.raises(InstanceCorrupt):
            await service.send("ADD", {"by": 1}, BAD, request_id="r-again")
        assert (await service.send("ADD", {"by": 1}, GOOD, request_id="r-again")).replayed


async def test_a_recorded_refusal_that_cannot_be_read_is_an_error_of_its_instance(
    written: tuple[Path, str, str], tmp_path: Path
) -> None:
    statement = "UPDATE journal SET details = '{' WHERE instance_id = 'bad' AND outcome = 'refused'"
    async with damaged(written, tmp_path, statement) as service:
        with pytest.raises(InstanceCorrupt):
            await service.send("ADD", {"by": 1}, BAD, request_id="r-refused")
        with pytest.raises(DurachartError) as caught:
            await service.send("ADD", {"by": 1}, GOOD, request_id="r-refused")
        assert not isinstance(caught.value, InstanceCorrupt | GuardRejected)


async def test_effects_and_timers_of_a_broken_instance_hold_up_nobody(
    written: tuple[Path, str, str], tmp_path: Path
) -> None:
    statement = "UPDATE instances SET internals = '{' WHERE instance_id = 'bad'"
    async with damaged(written, tmp_path, statement) as service:
        due = await service.runtime.timers.claim(10, timedelta(seconds=5))
        assert sorted(timer.key.instance_id for timer in due) == ["bad", "good"]
        for timer in due:
            fire = service.runtime.timers.fire(
                FireTimer(timer.key, timer.uid, timer.timer_key, timer.sequence)
            )
            if timer.key == BAD:
                with pytest.raises(InstanceCorrupt):
                    await fire
            else:
                assert await fire
        assert (await service.runtime.instances.get(GOOD)).value_json == '"late"'


async def test_a_definition_published_anew_does_not_heal_or_harm(
    written: tuple[Path, str, str], tmp_path: Path
) -> None:
    statement = "UPDATE instances SET context = '{' WHERE instance_id = 'bad'"
    async with damaged(written, tmp_path, statement) as service:
        await service.runtime.publish(job_json(description="Anew."), ADA)
        with pytest.raises(InstanceCorrupt):
            await service.send("LEAVE", None, BAD)
        assert (await service.send("LEAVE", None, GOOD)).state.machine_version == 1
