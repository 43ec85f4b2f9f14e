"""Watches narrowed to what matches, given gaps instead of everything, and ended in good time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from durachart.runtime.commands import Caller, DeleteInstance
from durachart.runtime.errors import WatchCompacted
from durachart.runtime.opaque import ResumeTokens
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.views import (
    View,
    WatchClosing,
    WatchDeleted,
    WatchFilter,
    WatchGap,
    WatchProgress,
    WatchSnapshot,
    WatchSpec,
    WatchSynced,
    WatchTransition,
)
from durachart.store.interface import Store
from tests.property.runtime.watch_script import Script
from tests.store.runtimes import ADA, Service, serving
from tests.store.test_watches import Watching, watching
from tests.unit.runtime.samples import key

StoreMaker = Callable[[], Store]


def told(frames: list[Any]) -> list[tuple[str, str, int, bool]]:
    return [
        (
            type(frame).__name__.removeprefix("Watch"),
            frame.state.key.instance_id,
            frame.state.version,
            getattr(frame, "matches", True),
        )
        for frame in frames
        if isinstance(frame, WatchSnapshot | WatchTransition | WatchGap)
    ]


@pytest.mark.parametrize("seed", [3, 11])
async def test_watches_keep_their_guarantees_on_every_store(make_store: StoreMaker, seed: int) -> None:
    assert await Script(Random(seed), make_store, turns=60).run() == []


async def test_an_instance_that_enters_and_one_that_leaves_are_told_of(service: Service) -> None:
    await service.create(key("a"))
    await service.create(key("b"))
    await service.send("GO", of=key("b"))
    working = WatchFilter("", "job", state_ids=("job.working",))
    async with watching(service, filter=working) as batches:
        watch = Watching(batches)
        frames = await watch.until(WatchSynced)
        assert told(frames) == [("Snapshot", "b", 1, True)]
        await service.send("ADD", of=key("a"))
        await service.send("GO", of=key("a"))
        await service.send("LEAVE", of=key("a"))
        await service.send("ADD", of=key("a"))
        await service.send("LEAVE", of=key("b"))
        frames += (seen := list(await watch.transitions(3)))
        assert told(seen) == [
            ("Transition", "a", 2, True),
            ("Transition", "a", 3, False),
            ("Transition", "b", 2, False),
        ]
    for position, frame in enumerate(frames[:-1]):
        async with watching(service, filter=working, resume_token=frame.resume_token) as batches:
            resumed = await Watching(batches).until(WatchSynced)
            assert told(resumed) == told(frames[position + 1 :])


@pytest.mark.parametrize(
    ("narrowed", "shown"),
    [
        ({"tags": ("resting",)}, "a"),
        ({"labels": {"team": "x"}}, "ab"),
        ({"labels": {"team": "x"}, "tags": ("resting",)}, "a"),
        ({"status": "done"}, "c"),
        ({"status": "active"}, "ab"),
        ({"state_ids": ("job.finished", "job.idle")}, "ac"),
    ],
)
async def test_snapshots_are_of_what_matches(service: Service, narrowed: dict[str, Any], shown: str) -> None:
    for name, labels in (("a", {"team": "x"}), ("b", {"team": "x", "more": "y"}), ("c", {"team": "z"})):
        await service.create(key(name), labels=labels)
    await service.send("GO", of=key("b"))
    await service.send("GO", of=key("c"))
    await service.send("PAID", {"output": {"receipt": ""}}, of=key("c"))
    async with watching(service, filter=WatchFilter("", "job", **narrowed)) as batches:
        frames = await Watching(batches).until(WatchSynced)
        assert "".join(name for _, name, _, _ in told(frames)) == shown


async def test_a_deletion_is_told_to_who_knew_the_instance(service: Service) -> None:
    await service.create(key("a"), labels={"team": "x"})
    await service.create(key("b"), labels={"team": "y"})
    async with watching(service, filter=WatchFilter("", "job", labels={"team": "x"})) as batches:
        watch = Watching(batches)
        await watch.until(WatchSynced)
        await service.runtime.delete_instance(DeleteInstance(key("b")), ADA)
        await service.runtime.delete_instance(DeleteInstance(key("a")), ADA)
        (deleted,) = await watch.until(WatchDeleted)
        assert deleted.key == key("a")


async def test_a_watch_that_sees_nothing_still_moves_on(make_store: StoreMaker) -> None:
    settings = RuntimeSettings(progress_interval=timedelta(milliseconds=1))
    async with serving(make_store, settings) as service:
        await service.create()
        nothing = WatchFilter("", "job", labels={"no": "such"})
        async with watching(service, filter=nothing) as batches:
            watch = Watching(batches)
            await watch.until(WatchSynced)
            tokens = ResumeTokens(service.store.uid)
            for _ in range(3):
                await service.send("ADD")
                newest = (await service.journal())[-1].revision
                while True:
                    progress = await watch.next()
                    assert isinstance(progress, WatchProgress)
                    if tokens.read(progress.resume_token).revision >= newest:
                        break
        async with watching(service, filter=nothing, resume_token=progress.resume_token) as batches:
            assert told(await Watching(batches).until(WatchSynced)) == []


@pytest.mark.parametrize("log_entries", [0, 1_000])
async def test_a_reader_that_cannot_keep_up_gets_the_latest_states_once(
    make_store: StoreMaker, log_entries: int
) -> None:
    settings = RuntimeSettings(log_entries=log_entries, watch_pending=10)
    async with serving(make_store, settings) as service:
        for name in "abcd":
            await service.create(key(name))
        jobs = watching(service, filter=WatchFilter("", "job"), conflate=True, view=View.BASIC)
        async with jobs as batches, watching(service, instances=(key("e"),)) as of_last:
            watch, last = Watching(batches), Watching(of_last)
            await watch.until(WatchSynced)
            await last.until(WatchSynced)
            for _ in range(30):
                await service.send("ADD", of=key("a"))
            await service.send("GO", of=key("b"))
            await service.runtime.delete_instance(DeleteInstance(key("c")), ADA)
            await service.runtime.delete_instance(DeleteInstance(key("d")), ADA)
            await service.create(key("d"))
            await service.create(key("e"))
            await last.transitions(1)  # by now the node has heard of all of it
            frames = [await watch.next()]
            while not any(name == "e" for _, name, _, _ in told(frames)):
                frames.append(await watch.next())
            gaps = [frame for frame in frames if isinstance(frame, WatchGap)]
            skipped = [(gap.state.key.instance_id, gap.state.version, gap.previous_version) for gap in gaps]
            assert skipped.count(("a", 30, 0)) == 1
            if log_entries and service.store.exclusive:
                assert sorted(skipped) == [("a", 30, 0), ("b", 1, 0), ("d", 0, -1), ("e", 0, -1)]
            # The last of what was missed may be few enough to be told of one by one.
            latest = {name: version for _, name, version, _ in told(frames)}
            assert latest == {"a": 30, "b": 1, "d": 0, "e": 0}
            assert len(told(frames)) == 4
            gone = [frame.key.instance_id for frame in frames if isinstance(frame, WatchDeleted)]
            assert sorted(gone) == ["c", "d"]
            await service.send("LEAVE", of=key("b"))
            assert told(list(await watch.transitions(1))) == [("Transition", "b", 2, True)]


async def test_without_conflation_every_transition_comes_however_late(make_store: StoreMaker) -> None:
    async with serving(make_store, RuntimeSettings(log_entries=3, watch_pending=2)) as service:
        await service.create()
        async with watching(service, instances=(key(),)) as batches:
            watch = Watching(batches)
            await watch.until(WatchSynced)
            await asyncio.gather(*(service.send("ADD") for _ in range(100)))
            found = await watch.transitions(100)
            assert [frame.state.version for frame in found] == list(range(1, 101))


@pytest.mark.parametrize("conflate", [False, True])
async def test_one_busy_instance_does_not_starve_the_others(make_store: StoreMaker, conflate: bool) -> None:
    """Frames come in commit order, so what others do waits for no more than was committed before it."""
    async with serving(
        make_store, RuntimeSettings(log_entries=20, watch_pending=8, watch_frames=4)
    ) as service:
        await service.create(key("hot"))
        for number in range(5):
            await service.create(key(f"cold-{number}"))
        async with watching(service, filter=WatchFilter("", "job"), conflate=conflate) as batches:
            watch = Watching(batches)
            await watch.until(WatchSynced)
            stop = asyncio.Event()

            async def keep_busy() -> None:
                while not stop.is_set():
                    await asyncio.gather(*(service.send("ADD", of=key("hot")) for _ in range(20)))

            busy = asyncio.create_task(keep_busy())
            try:
                waiting = set()
                for number in range(5):
                    await service.send("ADD", of=key(f"cold-{number}"))
                    waiting.add(f"cold-{number}")
                committed = (await service.journal(key("cold-4")))[-1].revision
                while waiting:
                    frame = await watch.next()
                    if isinstance(frame, WatchTransition):
                        assert frame.entry.revision <= committed, "a later event went before"
                    if isinstance(frame, WatchTransition | WatchGap):
                        waiting.discard(frame.state.key.instance_id)
            finally:
                stop.set()
                await busy


async def test_a_watch_ends_with_the_deletion_of_its_last_instance(service: Service) -> None:
    for name in ("a", "b"):
        await service.create(key(name))
    async with watching(service, instances=(key("a"), key("b")), end_on_final=True) as batches:
        watch = Watching(batches)
        await watch.until(WatchSynced)
        await service.send("GO", of=key("a"))
        await service.send("PAID", {"output": {"receipt": ""}}, of=key("a"))
        await service.runtime.delete_instance(DeleteInstance(key("b")), ADA)
        await watch.until(WatchDeleted)
        with pytest.raises(StopAsyncIteration):
            await watch.next()


async def test_a_watch_that_is_old_is_closed_with_a_token(make_store: StoreMaker) -> None:
    async with serving(make_store, RuntimeSettings(watch_age=timedelta(milliseconds=5))) as service:
        await service.create()
        frames: list[Any] = []
        async with watching(service, instances=(key(),)) as batches:
            async for some in batches:
                frames += some
        closing = frames[-1]
        assert isinstance(closing, WatchClosing)
        assert closing.reconnect_delay is not None
        assert timedelta() <= closing.reconnect_delay <= timedelta(seconds=1)
        await service.send("ADD")
        async with watching(service, instances=(key(),), resume_token=closing.resume_token) as batches:
            assert told([await Watching(batches).next()]) == [("Transition", "j-1", 1, True)]


async def test_a_transition_carries_the_trace_of_who_asked_for_it(service: Service) -> None:
    trace = f"00-{'ab' * 16}-{'cd' * 8}-01"
    await service.create()
    for view in (View.FULL, View.BASIC):
        async with watching(service, instances=(key(),), view=view) as batches:
            watch = Watching(batches)
            await watch.until(WatchSynced)
            await service.send("ADD", caller=Caller("ada", trace))
            (frame,) = await watch.transitions(1)
            assert frame.entry.traceparent == trace


async def test_a_token_from_before_what_retention_removed_says_where_to_begin(make_store: StoreMaker) -> None:
    async with serving(make_store, RuntimeSettings(snapshot_every=2, whole_context_bytes=0)) as service:
        await service.create()
        async with watching(service, filter=WatchFilter("", "job")) as batches:
            (_, synced) = await Watching(batches).until(WatchSynced)
        for _ in range(6):
            await service.send("ADD")
        service.clock.now += 10_000_000
        assert await service.runtime.expire("journal", timedelta(seconds=1), 100)
        with pytest.raises(WatchCompacted) as refused:
            async with watching(
                service, filter=WatchFilter("", "job"), resume_token=synced.resume_token
            ) as batches:
                await anext(batches)
        oldest = refused.value.oldest_resume_token
        async with watching(service, filter=WatchFilter("", "job"), resume_token=oldest) as batches:
            assert isinstance((await Watching(batches).until(WatchSynced))[-1], WatchSynced)


@pytest.mark.parametrize("what", [{"instances": (key(),)}, {"filter": WatchFilter("", "job")}])
async def test_a_watch_that_stands_is_told_when_what_it_has_not_read_is_removed(
    make_store: StoreMaker, what: dict[str, Any]
) -> None:
    settings = RuntimeSettings(snapshot_every=2, whole_context_bytes=0, log_entries=4, watch_pending=2)
    async with serving(make_store, settings) as service:
        await service.create()
        async with watching(service, **what) as batches:
            watch = Watching(batches)
            await watch.until(WatchSynced)
            for _ in range(20):
                await service.send("ADD")
            service.clock.now += 10_000_000
            assert await service.runtime.expire("journal", timedelta(seconds=1), 100)
            with pytest.raises(WatchCompacted) as refused:
                await watch.transitions(20)
        oldest = refused.value.oldest_resume_token
        async with watching(service, resume_token=oldest, **what) as batches:
            frames = await Watching(batches).until(WatchSynced)
        versions = [frame.state.version for frame in frames if isinstance(frame, WatchTransition)]
        assert versions == list(range(versions[0], 21))
        assert versions[0] > 1


async def test_the_interval_asked_for_is_kept_in_bounds(service: Service) -> None:
    from durachart.runtime.watch.watch import Watch

    def seconds(asked: timedelta | None) -> float:
        spec = WatchSpec(instances=(key(),), progress_interval=asked)
        return Watch(service.runtime._watches.shared, spec)._interval_s()

    assert [seconds(timedelta(seconds=asked)) for asked in (0, 0.1, 7, 61, 10**9)] == [1, 1, 7, 60, 60]
    assert seconds(None) == 15


async def test_closing_a_watch_at_any_frame_leaves_nothing(service: Service) -> None:
    await service.create()
    for spec in ({"instances": (key(),)}, {"filter": WatchFilter("", "job", tags=("resting",))}):
        async with aclosing(service.runtime.watch(WatchSpec(**spec), ADA)) as batches:  # type: ignore[arg-type]
            await anext(batches)
    watches = service.runtime._watches.shared.audience
    assert (watches.live, watches.by_key, watches.by_machine) == (set(), {}, {})
