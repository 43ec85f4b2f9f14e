"""A watch delivers each version once and in order, whatever happens to its connections."""

import asyncio
import gc
from datetime import timedelta

import grpc
import pytest

from durachart_client import (
    Client,
    InstanceRef,
    RetryPolicy,
    Snapshot,
    StreamGap,
    Synced,
    Transition,
    Unavailable,
    WatchCompacted,
)
from durachart_client import watch as watch_module
from durachart_client.gen import errors_pb2, types_pb2
from durachart_client.gen import state_machine_service_pb2 as pb
from tests.unit.client.scripted import Proxy, Server, refuse, serving, state


def snapshot(version: int, token: str = "", **fields) -> pb.WatchFrame:
    return pb.WatchFrame(resume_token=token or f"s{version}", snapshot=state(version, **fields))


def transition(version: int, token: str = "", **fields) -> pb.WatchFrame:
    body = pb.WatchTransition(state=state(version, **fields), entry=types_pb2.JournalEntry(seq=version + 1))
    return pb.WatchFrame(resume_token=token or f"t{version}", transition=body)


def synced(token: str = "sync") -> pb.WatchFrame:
    return pb.WatchFrame(resume_token=token, synced=pb.WatchSynced())


def message(*frames: pb.WatchFrame) -> pb.WatchStateResponse:
    return pb.WatchStateResponse(frames=frames)


async def forever() -> None:
    await asyncio.Event().wait()


async def collect(watch, count: int) -> list:
    return [await anext(watch) for _ in range(count)]


async def test_snapshots_then_transitions_until_the_server_ends(client: Client, server: Server) -> None:
    async def script(request, context):
        yield message(snapshot(3), synced())
        yield message(transition(4), transition(5))

    server.script["WatchState"] = script
    events = [event async for event in client.watch("order", "o-1", end_on_final=True)]
    assert [type(event) for event in events] == [Snapshot, Synced, Transition, Transition]
    assert events[-1].state.version == 5
    assert events[-1].entry.seq == 6
    request = server.requests["WatchState"][0]
    assert request.end_on_final
    assert [one.instance_id for one in request.instances] == ["o-1"]


async def test_a_machine_or_named_instances_are_watched_never_both(client: Client, server: Server) -> None:
    async def script(request, context):
        yield message(synced())
        await forever()

    server.script["WatchState"] = script
    async with client.watch("order") as all_orders:
        await anext(all_orders)
    async with client.watch(instances=[InstanceRef("a", "1"), InstanceRef("b", "2", "eu")]) as named:
        await anext(named)
    by_filter, by_name = server.requests["WatchState"]
    assert by_filter.filter.machine_id == "order"
    assert not by_name.HasField("filter")
    assert [(one.namespace, one.machine_id) for one in by_name.instances] == [("", "a"), ("eu", "b")]
    for machine_id, instances in (("", []), ("order", [InstanceRef("a", "1")])):
        with pytest.raises(ValueError, match="either a machine"):
            client.watch(machine_id, instances=instances)


async def test_a_cut_watch_goes_on_from_the_last_token(client: Client, server: Server, proxy: Proxy) -> None:
    async def script(request, context):
        if not request.resume_token:
            yield message(snapshot(0), synced())
            yield message(transition(1))
        else:
            yield message(transition(2), synced("again"))
        await forever()

    server.script["WatchState"] = script
    watch = client.watch("order", "o-1")
    assert [type(event) for event in await collect(watch, 3)] == [Snapshot, Synced, Transition]
    assert watch.resume_token == "t1"
    proxy.cut()
    resumed = await collect(watch, 2)
    assert resumed[0].state.version == 2
    assert isinstance(resumed[1], Synced)
    assert [request.resume_token for request in server.requests["WatchState"]] == ["", "t1"]
    await watch.aclose()


async def test_progress_moves_the_token_and_is_not_an_event(client: Client, server: Server) -> None:
    async def script(request, context):
        yield message(snapshot(0), pb.WatchFrame(resume_token="p9", progress=pb.WatchProgress()), synced("z"))
        await refuse(context, grpc.StatusCode.UNAVAILABLE)

    server.script["WatchState"] = script
    watch = client.watch("order", "o-1")
    events = await collect(watch, 2)
    assert [type(event) for event in events] == [Snapshot, Synced]
    await watch.aclose()


async def test_only_progress_before_a_cut_is_enough_to_resume(client: Client, server: Server) -> None:
    async def script(request, context):
        if request.resume_token != "p9":
            yield message(pb.WatchFrame(resume_token="p9", progress=pb.WatchProgress()))
            await refuse(context, grpc.StatusCode.UNAVAILABLE)
        yield message(synced())
        await forever()

    server.script["WatchState"] = script
    async with client.watch("order") as watch:
        assert await anext(watch) == Synced("sync")
    assert [request.resume_token for request in server.requests["WatchState"]] == ["", "p9"]


async def test_repeated_versions_are_dropped(client: Client, server: Server) -> None:
    async def script(request, context):
        yield message(snapshot(3), snapshot(3), transition(3), transition(4), transition(4), transition(5))
        await forever()

    server.script["WatchState"] = script
    async with client.watch("order", "o-1") as watch:
        assert [event.state.version for event in await collect(watch, 3)] == [3, 4, 5]


async def test_a_skipped_version_is_an_error_with_both_versions(client: Client, server: Server) -> None:
    async def script(request, context):
        yield message(snapshot(3), transition(5))
        await forever()

    server.script["WatchState"] = script
    watch = client.watch("order", "o-1")
    await anext(watch)
    with pytest.raises(StreamGap) as caught:
        await anext(watch)
    assert (caught.value.expected, caught.value.received) == (4, 5)
    await server.wait_streams(0)
    with pytest.raises(StopAsyncIteration):
        await anext(watch)


async def test_a_new_incarnation_and_other_instances_count_on_their_own(
    client: Client, server: Server
) -> None:
    async def script(request, context):
        yield message(
            snapshot(7),
            transition(0, "n0", uid="u2"),
            transition(4, "o4", instance_id="o-2"),
            transition(1, "n1", uid="u2"),
            transition(5, "o5", instance_id="o-2"),
        )
        await forever()

    server.script["WatchState"] = script
    async with client.watch("order") as watch:
        assert [event.state.version for event in await collect(watch, 5)] == [7, 0, 4, 1, 5]


async def test_memory_of_versions_is_bounded(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "_REMEMBERED_INSTANCES", 10)

    async def script(request, context):
        for number in range(50):
            yield message(transition(number, instance_id=f"o-{number}"))
        await forever()

    server.script["WatchState"] = script
    async with client.watch("order") as watch:
        await collect(watch, 50)
        assert len(watch._versions._last) == 10


async def test_an_announced_end_is_waited_out_and_resumed(client: Client, server: Server) -> None:
    reasons: list[str] = []

    async def script(request, context):
        if not request.resume_token:
            yield message(snapshot(0))
            closing = pb.WatchClosing(message="the server is shutting down")
            closing.reconnect_delay.FromMilliseconds(5)
            yield message(pb.WatchFrame(resume_token="c", closing=closing))
            return
        yield message(transition(1))
        await forever()

    server.script["WatchState"] = script
    heard: list[timedelta] = []

    def interrupted(failure, wait):
        reasons.append(str(failure))
        heard.append(wait)

    async with client.watch("order", "o-1", end_on_final=True, on_interrupt=interrupted) as watch:
        assert [event.state.version for event in await collect(watch, 2)] == [0, 1]
    assert reasons == ["the server is shutting down"]
    assert heard[0] >= timedelta(milliseconds=5)
    assert server.requests["WatchState"][1].resume_token == "c"


async def test_silence_replaces_the_connection(client: Client, server: Server, proxy: Proxy) -> None:
    async def script(request, context):
        yield message(transition(2) if request.resume_token else snapshot(1))
        await forever()

    server.script["WatchState"] = script
    reasons: list[str] = []
    async with client.watch(
        "order", "o-1", on_interrupt=lambda failure, wait: reasons.append(str(failure))
    ) as watch:
        await anext(watch)
        watch._silence = timedelta(
            milliseconds=20
        )  # 2.5 of the shortest interval a server grants would be long here
        assert (await anext(watch)).state.version == 2
    assert "silent" in reasons[0]
    await server.wait_streams(0)


@pytest.mark.parametrize(
    ("asked", "granted"), [(timedelta(0), 1), (timedelta(seconds=15), 15), (timedelta(hours=1), 60)]
)
async def test_the_watchdog_follows_the_interval_the_server_grants(
    client: Client, asked: timedelta, granted: int
) -> None:
    watch = client.watch("order", progress_interval=asked)
    assert watch._request.progress_interval.seconds == granted
    assert watch._silence == timedelta(seconds=2.5 * granted)


async def test_a_watch_refused_with_cancelled_opens_again(client: Client, server: Server) -> None:
    async def script(request, context):
        if len(server.requests["WatchState"]) < 3:
            await refuse(context, grpc.StatusCode.CANCELLED)
        yield message(synced())
        await forever()

    server.script["WatchState"] = script
    async with client.watch("order") as watch:
        assert isinstance(await anext(watch), Synced)


async def test_what_retention_removed_is_a_typed_error(client: Client, server: Server) -> None:
    async def script(request, context):
        compacted = errors_pb2.WatchCompacted(oldest_resume_token="old")
        await refuse(context, grpc.StatusCode.OUT_OF_RANGE, "WATCH_COMPACTED", compacted)
        yield

    server.script["WatchState"] = script
    with pytest.raises(WatchCompacted) as caught:
        await anext(client.watch("order", resume_token="x"))
    assert caught.value.oldest_resume_token == "old"
    assert len(server.requests["WatchState"]) == 1


async def test_a_watch_that_never_opened_gives_up_one_that_did_does_not(server: Server) -> None:
    async def script(request, context):
        yield message(synced() if not request.resume_token else transition(1))
        await forever()

    server.script["WatchState"] = script
    retry = RetryPolicy(initial_ms=1, maximum_ms=5, max_attempts=2)
    outages: list[str] = []
    many = asyncio.Event()

    def interrupted(failure, wait):
        outages.append(failure.code)
        if len(outages) == 2 * retry.max_attempts:
            many.set()

    async with serving(server) as (_, port):
        client = Client(f"127.0.0.1:{port}", retry=retry)
        await client.__aenter__()
        watch = client.watch("order", on_interrupt=interrupted)
        await anext(watch)
    waiting = asyncio.ensure_future(anext(watch))
    await many.wait()
    with pytest.raises(Unavailable):
        await anext(client.watch("order"))
    async with serving(server, port):
        assert (await waiting).state.version == 1
        await client.close()


async def test_break_cancels_the_call(client: Client, server: Server) -> None:
    async def script(request, context):
        yield message(snapshot(0))
        await forever()

    server.script["WatchState"] = script
    async for _ in client.watch("order", "o-1"):
        break
    await server.wait_streams(0)


async def test_a_cancelled_task_cancels_the_call_and_the_watch_can_go_on(
    client: Client, server: Server
) -> None:
    async def script(request, context):
        yield message(transition(1) if request.resume_token else snapshot(0))
        await forever()

    server.script["WatchState"] = script
    watch = client.watch("order", "o-1")
    await anext(watch)
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await server.wait_streams(0)
    assert (await anext(watch)).state.version == 1, "an abandoned wait loses nothing"
    await watch.aclose()
    await server.wait_streams(0)


async def test_closing_the_client_ends_iteration_without_an_error(client: Client, server: Server) -> None:
    async def script(request, context):
        yield message(snapshot(0))
        await forever()

    server.script["WatchState"] = script
    seen = []
    begun = asyncio.Event()

    async def read() -> None:
        async for event in client.watch("order", "o-1"):
            seen.append(event)
            begun.set()

    reading = asyncio.ensure_future(read())
    await begun.wait()
    await client.close()
    await reading
    assert len(seen) == 1
    await server.wait_streams(0)


async def test_closing_during_a_wait_for_the_server_ends_iteration_at_once(server: Server) -> None:
    async def script(request, context):
        yield message(synced())
        await refuse(context, grpc.StatusCode.UNAVAILABLE)

    server.script["WatchState"] = script
    waiting = asyncio.Event()
    retry = RetryPolicy(initial_ms=3_600_000, maximum_ms=3_600_000)
    async with serving(server) as (_, port), Client(f"127.0.0.1:{port}", retry=retry) as client:
        watch = client.watch("order", on_interrupt=lambda failure, wait: waiting.set())
        await anext(watch)
        last = asyncio.ensure_future(anext(watch))
        await waiting.wait()
        await watch.aclose()
        with pytest.raises(StopAsyncIteration):
            await last


async def test_two_tasks_cannot_share_one_watch(client: Client, server: Server) -> None:
    async def script(request, context):
        await forever()
        yield

    server.script["WatchState"] = script
    watch = client.watch("order")
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another task"):
        await anext(watch)
    waiting.cancel()


async def test_a_dropped_watch_leaves_no_call_behind(client: Client, server: Server) -> None:
    async def script(request, context):
        yield message(synced())
        await forever()

    server.script["WatchState"] = script
    watches = [client.watch("order") for _ in range(20)]
    for watch in watches:
        await anext(watch)
    await server.wait_streams(20)
    del watch, watches
    gc.collect()
    await server.wait_streams(0)
    calls = [one for one in gc.get_objects() if type(one) is grpc.aio.UnaryStreamCall]
    assert calls == []
