"""Events in numbers: several in a call, or a stream of them that outlives its connections."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.rpc import error_details_pb2, status_pb2

from durachart_client import (
    Accepted,
    Client,
    EventNotAllowed,
    EventToSend,
    InstanceDeleted,
    Snapshot,
    StoreUnavailable,
    Synced,
    Transition,
    Unavailable,
)
from durachart_client.gen import state_machine_service_pb2 as pb
from durachart_client.gen import types_pb2
from tests.unit.client.scripted import Proxy, Server, refuse, state


def _status(reason: str, code: grpc.StatusCode) -> status_pb2.Status:
    info = Packed()
    info.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="durachart.dev"))
    return status_pb2.Status(code=code.value[0], message="No.", details=[info])


def _answer(request: pb.SendEventRequest, version: int = 1) -> pb.SendEventResponse:
    return pb.SendEventResponse(state=state(version), changed=True)


NOT_ALLOWED = _status("EVENT_NOT_ALLOWED", grpc.StatusCode.FAILED_PRECONDITION)


def _event(kind: str = "ADD", **given: Any) -> EventToSend:
    return EventToSend("order", "o-1", kind, **given)


async def _events(requests: AsyncIterator[pb.StreamEventsRequest]) -> AsyncIterator[pb.StreamEvent]:
    """The events of a stream, however many came in a message."""
    async for request in requests:
        for event in request.events:
            yield event


def _responses(*results: pb.StreamEventsResult) -> pb.StreamEventsResponse:
    return pb.StreamEventsResponse(results=results)


async def test_each_of_several_events_has_its_own_answer(client: Client, server: Server) -> None:
    def send(request: pb.SendEventsRequest, context: Any) -> pb.SendEventsResponse:
        return pb.SendEventsResponse(
            results=[
                pb.SendEventResult(response=_answer(request.requests[0])),
                pb.SendEventResult(error=NOT_ALLOWED),
            ]
        )

    server.script["SendEvents"] = send
    good, bad = await client.send_many([_event("ADD", data={"by": 1}), _event("NOPE", request_id="r")])
    assert isinstance(good, Accepted)
    assert isinstance(bad, EventNotAllowed)
    assert (bad.code, bad.request_id, bad.message) == ("FAILED_PRECONDITION", "r", "No.")
    (sent,) = server.requests["SendEvents"]
    assert sent.requests[0].event.data_json == '{"by":1}'
    assert len(sent.requests[0].request_id) == 32


async def test_a_stream_gives_each_event_its_answer(client: Client, server: Server) -> None:
    async def stream(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[pb.StreamEventsResponse]:
        held = []
        async for event in _events(requests):
            held.append(event)
            if len(held) == 3:
                results = []
                for each in reversed(held):
                    refused = each.send_event.event.type == "NOPE"
                    result = {"error": NOT_ALLOWED} if refused else {"response": _answer(each.send_event)}
                    results.append(pb.StreamEventsResult(correlation_id=each.correlation_id, **result))
                yield _responses(*results[:2])
                yield _responses(results[2])

    server.script["StreamEvents"] = stream
    async with client.stream_events() as events:
        first, refused, last = [await events.send(_event(kind)) for kind in ("ADD", "NOPE", "ADD")]
    assert isinstance(first.result(), Accepted)
    assert isinstance(last.result(), Accepted)
    assert isinstance(refused.exception(), EventNotAllowed)
    assert events.unanswered == 0


async def test_what_a_lost_connection_left_unanswered_is_sent_again_in_order(
    client: Client, server: Server, proxy: Proxy
) -> None:
    seen: list[list[str]] = []

    async def stream(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[pb.StreamEventsResponse]:
        mine: list[str] = []
        seen.append(mine)
        async for event in _events(requests):
            mine.append(event.send_event.request_id)
            if len(seen) == 1 and len(mine) == 2:
                proxy.cut()
            elif len(seen) > 1 or event.send_event.request_id == "a":
                answer = _answer(event.send_event)
                yield _responses(pb.StreamEventsResult(correlation_id=event.correlation_id, response=answer))

    server.script["StreamEvents"] = stream
    async with client.stream_events() as events:
        assert isinstance(await (await events.send(_event(request_id="a"))), Accepted)
        once = await events.send(_event(request_id=""))
        again = [await events.send(_event(request_id=name)) for name in "bc"]
        assert [isinstance(await each, Accepted) for each in again] == [True, True]
        # What has no request id might be taken twice.
        with pytest.raises(Unavailable):
            await once
    assert seen[-1] == ["b", "c"]


async def test_a_stream_that_nobody_serves_fails_its_events(client: Client, server: Server) -> None:
    async def stream(requests: Any, context: Any) -> AsyncIterator[pb.StreamEventsResponse]:
        await refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "WHATEVER")
        yield pb.StreamEventsResponse()

    server.script["StreamEvents"] = stream
    async with client.stream_events() as events:
        answer = await events.send(_event())
        await events.wait_answers()
    failure = answer.exception()
    assert getattr(failure, "reason", "") == "WHATEVER"


async def test_a_stream_waits_for_room_in_its_window(client: Client, server: Server) -> None:
    go = asyncio.Event()

    async def stream(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[pb.StreamEventsResponse]:
        async for event in _events(requests):
            await go.wait()
            answer = _answer(event.send_event)
            yield _responses(pb.StreamEventsResult(correlation_id=event.correlation_id, response=answer))

    server.script["StreamEvents"] = stream
    with pytest.raises(ValueError, match="window"):
        client.stream_events(window=0)
    async with client.stream_events(window=2) as events:
        await events.send(_event())
        await events.send(_event())
        third = asyncio.create_task(events.send(_event()))
        await asyncio.sleep(0)
        assert not third.done()
        go.set()
        assert isinstance(await (await third), Accepted)


async def test_what_waits_to_be_sent_goes_together(client: Client, server: Server) -> None:
    async def stream(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[pb.StreamEventsResponse]:
        async for request in requests:
            yield _responses(
                *[
                    pb.StreamEventsResult(
                        correlation_id=event.correlation_id, response=_answer(event.send_event)
                    )
                    for event in request.events
                ]
            )

    server.script["StreamEvents"] = stream
    large = _event(data={"text": "x" * 700_000})
    async with client.stream_events(window=200) as events:
        answers = [await events.send(_event(request_id=str(number))) for number in range(70)]
        answers += [await events.send(large), await events.send(large)]
    assert all(isinstance(answer.result(), Accepted) for answer in answers)
    sent = server.requests["StreamEvents"]
    # As many as a message may hold; and of what is large, one.
    assert [len(request.events) for request in sent] == [64, 7, 1]
    assert [event.send_event.request_id for request in sent for event in request.events][:70] == [
        str(number) for number in range(70)
    ]


async def test_closing_a_stream_fails_what_has_no_answer(client: Client, server: Server) -> None:
    async def stream(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[pb.StreamEventsResponse]:
        async for _ in requests:
            pass
        yield pb.StreamEventsResponse()

    server.script["StreamEvents"] = stream
    events = client.stream_events()
    answer = await events.send(_event())
    await events.aclose()
    with pytest.raises(Unavailable):
        await answer
    with pytest.raises(RuntimeError):
        await events.send(_event())


async def test_a_preview_is_a_value_refused_or_not(client: Client, server: Server) -> None:
    response = pb.PreviewEventResponse(state=state(2), reason="GUARD_REJECTED", message="No.")
    response.transitions.add(
        source_state_id="order.draft", event_descriptor="ADD", target_state_ids=["order.paid"], guard="g"
    )
    response.transitions.add(source_state_id="order", event_descriptor="*", passed=False)
    server.script["PreviewEvent"] = lambda request, context: response
    shown = await client.preview("order", "o-1", "ADD", {"by": 1}, version=0)
    assert (shown.accepted, shown.reason, shown.state.version) == (False, "GUARD_REJECTED", 2)
    assert [(each.target_state_ids, each.passed) for each in shown.transitions] == [
        (("order.paid",), None),
        ((), False),
    ]
    (request,) = server.requests["PreviewEvent"]
    assert request.HasField("version")
    assert request.event.data_json == '{"by":1}'


async def test_deleting_carries_a_request_id_through_retries(client: Client, server: Server) -> None:
    async def delete(request: pb.DeleteInstanceRequest, context: Any) -> pb.DeleteInstanceResponse:
        if len(server.requests["DeleteInstance"]) == 1:
            await refuse(context, grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        return pb.DeleteInstanceResponse(state=state(3), replayed=True)

    server.script["DeleteInstance"] = delete
    deleted = await client.delete("order", "o-1", expected_version=3, purge=True)
    assert (deleted.state.version, deleted.replayed) == (3, True)
    first, second = server.requests["DeleteInstance"]
    assert first == second
    assert (first.expected_version, first.purge) == (3, True)
    server.requests.clear()
    with pytest.raises(StoreUnavailable):
        await client.delete("order", "o-1", request_id="", timeout=timedelta(seconds=5))


async def test_a_watch_tells_of_deletions_and_goes_on_with_the_next_incarnation(
    client: Client, server: Server
) -> None:
    def shown(version: int, uid: str) -> types_pb2.InstanceState:
        made = state(version)
        made.uid = uid
        return made

    async def watch(request: Any, context: Any) -> AsyncIterator[pb.WatchStateResponse]:
        gone = pb.WatchFrame(resume_token="2")
        gone.deleted.instance.CopyFrom(state(1).instance)
        gone.deleted.uid = "u1"
        gone.deleted.entry.cause = types_pb2.JOURNAL_CAUSE_DELETE
        created = pb.WatchFrame(resume_token="3")
        created.transition.state.CopyFrom(shown(0, "u2"))
        yield pb.WatchStateResponse(
            frames=[
                pb.WatchFrame(resume_token="1", snapshot=shown(7, "u1")),
                pb.WatchFrame(resume_token="1", synced=pb.WatchSynced()),
                gone,
                created,
            ]
        )
        await asyncio.get_running_loop().create_future()

    server.script["WatchState"] = watch
    async with client.watch("order", "o-1") as events:
        found = [await anext(events) for _ in range(4)]
    assert [type(each) for each in found] == [Snapshot, Synced, InstanceDeleted, Transition]
    gone = found[2]
    assert isinstance(gone, InstanceDeleted)
    assert (gone.uid, gone.entry.cause, gone.resume_token) == ("u1", "delete", "2")
