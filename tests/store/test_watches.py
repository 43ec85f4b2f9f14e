"""Watches: ordered, complete, without repetition, resumable; a slow reader costs no memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest

from durachart.runtime.errors import InvalidArgument, ResumeTokenInvalid, ShuttingDown, WatchCompacted
from durachart.runtime.opaque import ResumePoint, ResumeTokens
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.views import (
    View,
    WatchClosing,
    WatchFilter,
    WatchFrame,
    WatchProgress,
    WatchSnapshot,
    WatchSpec,
    WatchSynced,
    WatchTransition,
)
from durachart.store.interface import Store
from durachart.store.keys import InstanceKey
from tests.store.runtimes import ADA, Service, serving
from tests.unit.runtime.samples import job_json, key

StoreMaker = Callable[[], Store]
JOBS = WatchFilter("", "job")


class Watching:
    """A watch whose frames are taken one at a time."""

    def __init__(self, batches: AsyncGenerator[list[WatchFrame], None]) -> None:
        self._batches = batches
        self._frames: list[WatchFrame] = []

    async def next(self) -> WatchFrame:
        while not self._frames:
            self._frames = list(await anext(self._batches))
            assert self._frames
        return self._frames.pop(0)

    async def until(self, kind: type[Any]) -> list[WatchFrame]:
        frames = [await self.next()]
        while not isinstance(frames[-1], kind):
            frames.append(await self.next())
        return frames

    async def transitions(self, count: int) -> list[WatchTransition]:
        found: list[WatchTransition] = []
        while len(found) < count:
            frame = await self.next()
            if isinstance(frame, WatchTransition):
                found.append(frame)
        return found


def watching(service: Service, **spec: Any) -> aclosing[Any]:
    batches: Any = service.runtime.watch(WatchSpec(**spec), ADA)
    return aclosing(batches)


def _brief(frames: list[Any]) -> list[tuple[str, str, int]]:
    return [
        (type(frame).__name__.removeprefix("Watch"), frame.state.key.instance_id, frame.state.version)
        for frame in frames
        if isinstance(frame, WatchSnapshot | WatchTransition)
    ]


async def test_snapshots_then_synced_then_what_happens(service: Service) -> None:
    await service.create(key("a"))
    await service.create(key("b"))
    await service.send("ADD", of=key("b"))
    async with watching(service, instances=(key("b"), key("a"), key("c"))) as batches:
        watch = Watching(batches)
        frames = await watch.until(WatchSynced)
        assert _brief(frames) == [("Snapshot", "a", 0), ("Snapshot", "b", 1)]
        await service.send("ADD", of=key("a"))
        await service.create(key("other"))
        await service.create(key("c"))
        found = await watch.transitions(2)
        assert _brief(found) == [("Transition", "a", 1), ("Transition", "c", 0)]
        assert found[0].state == await service.runtime.instances.get(key("a"))
        assert found[0].entry == (await service.journal(key("a")))[-1]
        assert found[0].changed


async def test_refusals_are_not_shown(service: Service) -> None:
    await service.create()
    async with watching(service, instances=(key(),)) as batches:
        watch = Watching(batches)
        await watch.until(WatchSynced)
        await asyncio.gather(service.send("PAID"), service.send("ADD"), return_exceptions=True)
        assert [frame.state.version for frame in await watch.transitions(1)] == [1]


async def test_a_filter_takes_every_instance_of_a_machine(service: Service) -> None:
    await service.runtime.publish(job_json(id="other"), ADA)
    await asyncio.gather(*(service.create(key(f"{n:03}")) for n in range(250)))
    await service.create(InstanceKey("", "other", "x"))
    await service.create(InstanceKey("eu", "job", "x"))
    async with watching(service, filter=JOBS) as batches:
        watch = Watching(batches)
        frames = await watch.until(WatchSynced)
        assert _brief(frames) == [("Snapshot", f"{n:03}", 0) for n in range(250)]
        await service.send("ADD", of=InstanceKey("", "other", "x"))
        await service.send("ADD", of=key("017"))
        await service.create(key("new"))
        assert _brief(list(await watch.transitions(2))) == [
            ("Transition", "017", 1),
            ("Transition", "new", 0),
        ]


async def test_events_while_snapshots_are_read_are_neither_lost_nor_repeated(service: Service) -> None:
    keys = [key(f"{n:03}") for n in range(450)]
    await asyncio.gather(*(service.create(each) for each in keys))
    async with watching(service, filter=JOBS) as batches:
        watch = Watching(batches)
        versions: dict[str, int] = {}
        sent = 0
        while True:
            frame = await watch.next()
            if isinstance(frame, WatchSynced):
                break
            assert isinstance(frame, WatchSnapshot | WatchTransition)
            name = frame.state.key.instance_id
            if isinstance(frame, WatchTransition):
                assert frame.state.version == versions.get(name, -1) + 1
            versions[name] = frame.state.version
            if sent < 90:
                # The whole list changes between any two pages.
                await service.send("ADD", of=keys[(sent * 131) % 450])
                sent += 1
        while sum(versions.values()) < 90:
            (frame,) = await watch.transitions(1)
            name = frame.state.key.instance_id
            assert frame.state.version == versions[name] + 1
            versions[name] += 1
        assert versions.keys() == {each.instance_id for each in keys}


@pytest.mark.parametrize("log_entries", [0, 3, 1_000])
async def test_resuming_goes_on_strictly_after_any_frame(make_store: StoreMaker, log_entries: int) -> None:
    settings = RuntimeSettings(log_entries=log_entries, whole_context_bytes=0, snapshot_every=4)
    async with serving(make_store, settings) as service:
        async with watching(service, filter=JOBS) as batches:
            watch = Watching(batches)
            frames = await watch.until(WatchSynced)
            await service.create(input_json='{"who":"' + "x" * 200 + '"}', labels={"a": "b"})
            for n in range(11):
                service.clock.now += 10
                await service.send("ADD", {"by": n})
            await service.send("GO")
            frames.extend(await watch.transitions(13))
        states = {frame.state.version: frame for frame in frames if isinstance(frame, WatchTransition)}
        for position, frame in enumerate(frames):
            async with watching(service, filter=JOBS, resume_token=frame.resume_token) as batches:
                resumed = await Watching(batches).until(WatchSynced)
                assert resumed[:-1] == frames[max(position + 1, 1) :]
    async with (
        serving(make_store, settings) as service,
        watching(service, instances=(key(),), resume_token=states[3].resume_token) as batches,
    ):
        resumed = await Watching(batches).until(WatchSynced)
        assert resumed[:-1] == [states[version] for version in range(4, 13)]


async def test_a_watch_cut_between_snapshots_misses_nothing(service: Service) -> None:
    keys = [key(f"{n:03}") for n in range(450)]
    await asyncio.gather(*(service.create(each) for each in keys))
    async with watching(service, filter=JOBS) as batches:
        watch = Watching(batches)
        seen = [await watch.next() for _ in range(230)]
    await service.send("ADD", of=key("001"))
    await service.send("ADD", of=key("400"))
    async with watching(service, filter=JOBS, resume_token=seen[-1].resume_token) as batches:
        rest = await Watching(batches).until(WatchSynced)
    versions: dict[str, int] = {}
    for frame in [*seen, *rest]:
        if isinstance(frame, WatchSnapshot | WatchTransition):
            # The client's own check: what it has seen already it drops.
            name = frame.state.key.instance_id
            versions[name] = max(frame.state.version, versions.get(name, -1))
    assert versions == {each.instance_id: int(each in (key("001"), key("400"))) for each in keys}
    assert _brief(rest)[0] == ("Snapshot", "230", 0)


async def test_a_slow_reader_gets_everything_and_keeps_nothing(make_store: StoreMaker) -> None:
    async with serving(make_store, RuntimeSettings(log_entries=50)) as service:
        await service.create()
        async with watching(service, instances=(key(),), view=View.BASIC) as batches:
            watch = Watching(batches)
            await watch.until(WatchSynced)
            await asyncio.gather(*(service.send("TELL") for _ in range(1_000)))
            (watcher,) = service.runtime._watches.shared.audience.live
            while not watcher.behind:
                await service.store.newest_revision()
            assert watcher.pending == []
            found = await watch.transitions(1_000)
            assert [frame.state.version for frame in found] == list(range(1, 1_001))
            await service.send("TELL")
            assert [frame.state.version for frame in await watch.transitions(1)] == [1_001]


class Outlet:
    """Always open; keeps what is put."""

    is_open = True

    def __init__(self) -> None:
        self.frames: list[WatchFrame] = []
        self.told = asyncio.Event()

    def put(self, response: list[WatchFrame], *, at_once: bool) -> None:
        self.frames += response
        self.told.set()


async def test_what_is_large_goes_through_the_handler_which_can_be_held_back(service: Service) -> None:
    await service.create()
    outlet = Outlet()
    async with aclosing(service.runtime.watch(WatchSpec((key(),)), ADA, outlet)) as batches:
        watch = Watching(batches)
        await watch.until(WatchSynced)
        waiting = asyncio.create_task(watch.next())
        await asyncio.sleep(0)
        await service.send("ADD")
        await outlet.told.wait()
        await service.send("NOTE", {"who": "x" * 150_000})
        assert _brief([await waiting]) == [("Transition", "j-1", 2)]
        assert _brief(outlet.frames) == [("Transition", "j-1", 1)]


async def test_an_idle_watch_says_that_it_lives_and_where(make_store: StoreMaker) -> None:
    settings = RuntimeSettings(progress_interval=timedelta(milliseconds=1))
    async with serving(make_store, settings) as service, watching(service, instances=(key(),)) as batches:
        watch = Watching(batches)
        await watch.until(WatchSynced)
        await service.create(key("unrelated"))
        (created,) = await service.journal(key("unrelated"))
        tokens = ResumeTokens(service.store.uid)
        while tokens.read((await watch.until(WatchProgress))[-1].resume_token).revision < created.revision:
            pass


async def test_a_watch_can_end_with_its_instances(service: Service) -> None:
    for name in ("a", "b", "c"):
        await service.create(key(name))
        await service.send("GO", of=key(name))
    paid = {"output": {"receipt": ""}}
    await service.send("PAID", paid, of=key("a"))
    spec: dict[str, Any] = {"instances": (key("a"), key("b"), key("c")), "end_on_final": True}
    async with watching(service, **spec) as batches:
        watch = Watching(batches)
        synced = (await watch.until(WatchSynced))[-1]
        await service.send("PAID", paid, of=key("b"))
        await service.send("PAID", paid, of=key("c"))
        assert len(await watch.transitions(2)) == 2
        with pytest.raises(StopAsyncIteration):
            await watch.next()
    async with watching(service, **spec, resume_token=synced.resume_token) as batches:
        frames = [frame async for batch in batches for frame in batch]
        assert _brief(frames) == [("Transition", "b", 2), ("Transition", "c", 2)]
    async with watching(service, **spec) as batches:
        frames = [frame async for batch in batches for frame in batch]
        assert [type(frame) for frame in frames] == [*[WatchSnapshot] * 3, WatchSynced]


async def test_draining_closes_every_watch_with_a_token(service: Service) -> None:
    await service.create()
    async with watching(service, instances=(key(),)) as batches:
        watch = Watching(batches)
        await watch.until(WatchSynced)
        await service.send("ADD")
        (watcher,) = service.runtime._watches.shared.audience.live
        while not watcher.pending:
            await service.store.newest_revision()
        service.runtime.drain()
        frames = await watch.until(WatchClosing)
        assert _brief(frames) == [("Transition", "j-1", 1)]
        added = (await service.journal())[-1]
        assert ResumeTokens(service.store.uid).read(frames[-1].resume_token) == ResumePoint(added.revision)
        with pytest.raises(StopAsyncIteration):
            await watch.next()
    with pytest.raises(ShuttingDown):
        async with watching(service, instances=(key(),)) as batches:
            await anext(batches)


async def test_a_watch_that_was_left_leaves_nothing_behind(service: Service) -> None:
    await service.create()
    for spec in ({"instances": (key(),)}, {"filter": JOBS}):
        async with watching(service, **spec) as batches:
            await Watching(batches).until(WatchSynced)
            waiting = asyncio.ensure_future(anext(batches))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
    watches = service.runtime._watches.shared.audience
    assert (watches.live, watches.by_key, watches.by_machine) == (set(), {}, {})


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"instances": (key(),), "filter": JOBS},
        {"instances": tuple(key(f"{n}") for n in range(1_001))},
        {"filter": WatchFilter("", "")},
        {"filter": JOBS, "end_on_final": True},
        {"instances": (InstanceKey("", "job", ""),)},
        {"instances": (key(),), "resume_token": "nonsense"},
    ],
)
async def test_what_cannot_be_watched(service: Service, spec: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        async with watching(service, **spec) as batches:
            await anext(batches)


async def test_a_token_ahead_of_the_store_or_behind_its_retention_is_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.create()
    tokens = ResumeTokens(service.store.uid)
    with pytest.raises(ResumeTokenInvalid, match="ahead of this store"):
        async with watching(service, filter=JOBS, resume_token=tokens.make(ResumePoint(1 << 60))) as batches:
            await anext(batches)

    async def compacted() -> int:
        return 1

    monkeypatch.setattr(service.store, "compacted_revision", compacted)
    with pytest.raises(WatchCompacted) as refused:
        async with watching(service, filter=JOBS, resume_token=tokens.make(ResumePoint(0))) as batches:
            await anext(batches)
    assert tokens.read(refused.value.oldest_resume_token) == ResumePoint(1)


async def test_basic_frames_leave_out_what_their_view_does(service: Service) -> None:
    await service.create()
    async with watching(service, instances=(key(),), view=View.BASIC) as batches:
        watch = Watching(batches)
        (snapshot, _) = await watch.until(WatchSynced)
        assert isinstance(snapshot, WatchSnapshot)
        assert snapshot.state.context_json == ""
        await service.send("ADD", {"by": 2})
        (frame,) = await watch.transitions(1)
        assert (frame.state.context_json, frame.entry.data_json) == ("", "")
