"""A watch delivers each version once and in order, whatever happens to its connections."""

import asyncio
import gc
from datetime import timedelta

import grpc
import pytest

from durachart_client import (
    AttemptStarted,
    Client,
    Gap,
    GenerationEnd,
    InstanceRef,
    RetryPolicy,
    Snapshot,
    StreamClosing,
    StreamGap,
    Synced,
    Text,
    Tokens,
    Transition,
    Unauthenticated,
    Unavailable,
    WatchCompacted,
)
from durachart_client import opening as opening_module
from durachart_client import seen as seen_module
from durachart_client.gen import errors_pb2, token_service_pb2, types_pb2
from durachart_client.gen import state_machine_service_pb2 as pb
from tests.unit.client.scripted import Proxy, Server, refuse, serving, state
from tests.virtual_time import settle


def snapshot(version: int, token: str = "", **fields) -> pb.WatchFrame:
    return pb.WatchFrame(resume_token=token or f"s{version}", snapshot=state(version, **fields))


def transition(version: int, token: str = "", *, matches: bool = True, **fields) -> pb.WatchFrame:
    after = state(version, **fields)
    entry = types_pb2.JournalEntry(seq=version + 1, create_time=after.update_time)
    body = pb.WatchTransition(state=after, entry=entry, matches=matches)
    return pb.WatchFrame(resume_token=token or f"t{version}", transition=body)


def synced(token: str = "sync") -> pb.WatchFrame:
    return pb.WatchFrame(resume_token=token, synced=pb.WatchSynced())


def gap(version: int, previous: int, *, matches: bool = True, **fields) -> pb.WatchFrame:
    body = pb.WatchGap(state=state(version, **fields), previous_version=previous, matches=matches)
    return pb.WatchFrame(resume_token=f"g{version}", gap=body)


def text(offset: int, words: str, attempt: int = 1, effect_id: str = "e1") -> token_service_pb2.TokenFrame:
    return token_service_pb2.TokenFrame(effect_id=effect_id, attempt=attempt, offset=offset, text=words)


def started(attempt: int = 1) -> token_service_pb2.TokenFrame:
    begun = token_service_pb2.TokenAttemptStarted(model="m")
    return token_service_pb2.TokenFrame(effect_id="e1", attempt=attempt, started=begun)


def ended(attempt: int = 1) -> token_service_pb2.TokenFrame:
    end = token_service_pb2.TokenEnd(outcome=token_service_pb2.TokenEnd.OUTCOME_COMPLETED)
    return token_service_pb2.TokenFrame(effect_id="e1", attempt=attempt, end=end)


def tokens(token: str, *frames: token_service_pb2.TokenFrame, instance_id: str = "o-1") -> pb.WatchFrame:
    instance = types_pb2.InstanceRef(machine_id="order", instance_id=instance_id)
    return pb.WatchFrame(resume_token=token, tokens=pb.WatchTokenFrames(instance=instance, frames=frames))


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


async def test_a_machine_is_narrowed_named_instances_are_not(client: Client, server: Server) -> None:
    async def script(request, context):
        yield message(synced())
        await forever()

    server.script["WatchState"] = script
    async with client.watch(
        "order",
        state_ids=["order.paid"],
        tags=["open", "urgent"],
        labels={"tenant": "acme"},
        status="active",
        conflate=True,
        include_tokens=True,
    ) as watch:
        await anext(watch)
    (request,) = server.requests["WatchState"]
    wanted = request.filter
    assert (list(wanted.state_ids), list(wanted.tags)) == (["order.paid"], ["open", "urgent"])
    assert dict(wanted.labels) == {"tenant": "acme"}
    assert wanted.status == types_pb2.INSTANCE_STATUS_ACTIVE
    assert request.conflate
    assert request.include_tokens
    with pytest.raises(ValueError, match="narrow a machine"):
        client.watch("order", "o-1", tags=["open"])


async def test_a_gap_that_is_told_is_data_with_what_was_skipped(client: Client, server: Server) -> None:
    async def script(request, context):
        yield message(snapshot(3), gap(9, 3), gap(9, 3), transition(10), gap(4, -1, instance_id="o-2"))
        await forever()

    server.script["WatchState"] = script
    async with client.watch("order", conflate=True) as watch:
        events = await collect(watch, 4)
    assert [type(event) for event in events] == [Snapshot, Gap, Transition, Gap]
    assert (events[1].previous_version, events[1].state.version) == (3, 9)
    assert events[3].previous_version is None, "nothing was told of it before"
    assert watch.resume_token == "g4"


async def test_what_left_the_filter_may_come_back_at_any_later_version(
    client: Client, server: Server
) -> None:
    async def script(request, context):
        yield message(
            snapshot(1),
            transition(2, matches=False),
            transition(2, matches=False),
            transition(7),
            transition(9),
        )
        await forever()

    server.script["WatchState"] = script
    async with client.watch("order", tags=["open"]) as watch:
        left, back = (await collect(watch, 3))[1:]
        assert (left.state.version, left.matches) == (2, False)
        assert (back.state.version, back.matches) == (7, True)
        with pytest.raises(StreamGap) as caught:
            await anext(watch)
    assert (caught.value.expected, caught.value.received) == (8, 9)


async def test_text_that_comes_again_after_a_reconnect_is_told_once(
    client: Client, server: Server, proxy: Proxy
) -> None:
    async def script(request, context):
        if not request.resume_token:
            yield message(snapshot(0, "s"), tokens("s", started(), text(0, "Hello, ")), synced("s"))
            await forever()
        yield message(synced("s"), tokens("s", started(), text(0, "Hello, w")), tokens("s", text(8, "örld")))
        yield message(tokens("s", ended(), ended()), tokens("s", started(), text(0, "Hello")))
        yield message(tokens("s", started(2), text(0, "Bye", attempt=2), text(0, "old")))
        await forever()

    server.script["WatchState"] = script
    order = InstanceRef("order", "o-1")
    async with client.watch("order", "o-1", include_tokens=True) as watch:
        assert (await collect(watch, 3))[1] == Tokens(
            "s", order, (AttemptStarted("e1", 1, "m"), Text("e1", 1, 0, "Hello, "))
        )
        proxy.cut()
        assert (await collect(watch, 5))[1:] == [
            Tokens("s", order, (Text("e1", 1, 7, "w"),)),
            Tokens("s", order, (Text("e1", 1, 8, "örld"),)),
            Tokens("s", order, (GenerationEnd("e1", 1, "completed"),)),
            Tokens("s", order, (AttemptStarted("e1", 2, "m"), Text("e1", 2, 0, "Bye"))),
        ]


async def test_text_of_many_generations_is_counted_for_each(client: Client, server: Server) -> None:
    async def script(request, context):
        yield message(
            tokens("t", text(0, "a")),
            tokens("t", text(0, "b", effect_id="e2")),
            tokens("t", text(0, "c"), instance_id="o-2"),
            tokens("t", text(2, "x")),
        )
        await forever()

    server.script["WatchState"] = script
    watch = client.watch("order", include_tokens=True)
    assert ["".join(event.text for event in one.events) for one in await collect(watch, 3)] == ["a", "b", "c"]
    with pytest.raises(StreamGap) as caught:
        await anext(watch)
    assert (caught.value.expected, caught.value.received) == (1, 2)


async def test_an_identity_that_expired_is_told_anew_once(client: Client, server: Server) -> None:
    async def script(request, context):
        if len(server.requests["WatchState"]) < 3:
            yield message(synced(f"t{len(server.requests['WatchState'])}"))
        await refuse(context, grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")

    server.script["WatchState"] = script
    watch = client.watch("order")
    assert await collect(watch, 2) == [Synced("t1"), Synced("t2")]
    with pytest.raises(Unauthenticated):
        await anext(watch)
    assert len(server.requests["WatchState"]) == 3


async def test_a_stream_that_breaks_off_in_the_words_of_a_proxy_is_replaced(
    client: Client, server: Server
) -> None:
    async def script(request, context):
        if not request.resume_token:
            yield message(snapshot(1))
            await refuse(context, grpc.StatusCode.INTERNAL)
        yield message(transition(2))
        await forever()

    server.script["WatchState"] = script
    async with client.watch("order", "o-1") as watch:
        assert [event.state.version for event in await collect(watch, 2)] == [1, 2]


async def test_very_many_watches_open_in_turns_and_none_is_lost(client: Client, server: Server) -> None:
    opening = most = 0

    async def script(request, context):
        nonlocal opening, most
        opening += 1
        most = max(most, opening)
        await asyncio.sleep(0)
        opening -= 1
        if len(server.requests["WatchState"]) % 7 == 0:
            await refuse(context, grpc.StatusCode.CANCELLED)
        yield message(synced())
        await forever()

    server.script["WatchState"] = script
    watches = [client.watch("order", f"o-{number}") for number in range(400)]
    opened = await asyncio.gather(*(anext(watch) for watch in watches))
    assert opened == [Synced("sync")] * 400
    assert 0 < most <= opening_module.AT_ONCE
    assert client._stubs.connection.openings.waiting == 0


async def test_a_stream_that_says_nothing_keeps_others_from_opening_for_a_moment_only(
    client: Client, server: Server
) -> None:
    client._stubs.connection.openings = opening_module.Openings(1, timedelta(milliseconds=1))

    async def script(request, context):
        if request.filter.machine_id == "quiet":
            await forever()
        yield message(synced())
        await forever()

    server.script["WatchState"] = script
    quiet = asyncio.ensure_future(anext(client.watch("quiet")))
    await server.wait_streams(1)
    async with client.watch("order") as watch:
        assert isinstance(await anext(watch), Synced)
    quiet.cancel()


async def test_leaving_while_waiting_for_a_turn_gives_the_turn_back(client: Client, server: Server) -> None:
    openings = client._stubs.connection.openings = opening_module.Openings(1, timedelta(hours=1))
    answered = asyncio.Event()

    async def script(request, context):
        await answered.wait()
        yield message(synced())
        await forever()

    server.script["WatchState"] = script
    watches = [client.watch("order") for _ in range(4)]
    first, closed, cancelled, last = (asyncio.ensure_future(anext(watch)) for watch in watches)
    await server.wait_streams(1)
    assert openings.waiting == 3
    await watches[1].aclose()
    with pytest.raises(StopAsyncIteration):
        await closed
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    answered.set()
    assert [await first, await last] == [Synced("sync")] * 2
    assert openings.waiting == 0
    assert [len(server.requests["WatchState"]), server.open_streams] == [2, 2]


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
    monkeypatch.setattr(seen_module, "_REMEMBERED_INSTANCES", 10)

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
        assert isinstance(failure, StreamClosing), "announced, and no outage"
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


@pytest.mark.parametrize("leave", ["break", "cancel", "aclose", "block"])
async def test_leaving_leaves_no_task_and_no_call_behind(client: Client, server: Server, leave: str) -> None:
    async def script(request, context):
        yield message(synced())
        await forever()

    server.script["WatchState"] = script
    async with client.watch("order") as first:
        await anext(first)
    await server.wait_streams(0)
    before = len(asyncio.all_tasks())

    async def read(watch) -> None:
        async for _ in watch:
            if leave == "break":
                break

    watches = [client.watch("order") for _ in range(10)]
    readers = [asyncio.ensure_future(read(watch)) for watch in watches]
    if leave != "break":
        await server.wait_streams(10)
    for watch, reader in zip(watches, readers, strict=True):
        if leave == "cancel":
            reader.cancel()
        elif leave == "aclose":
            await watch.aclose()
        elif leave == "block":
            await watch.__aexit__(None, None, None)
    await asyncio.gather(*readers, return_exceptions=True)
    del watch, reader, watches, readers
    await server.wait_streams(0)
    await settle()
    gc.collect()
    assert len(asyncio.all_tasks()) <= before
    left = [one for one in gc.get_objects() if type(one) is grpc.aio.UnaryStreamCall and not one.done()]
    assert left == []
