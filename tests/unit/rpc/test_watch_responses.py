"""How a watch's frames are cut into responses, and what it says last."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from durachart.rpc.context import CallContext
from durachart.rpc.gen import state_machine_service_pb2 as pb
from durachart.rpc.gen import types_pb2 as types
from durachart.rpc.state_machine_service import StateMachineHandlers
from durachart.rpc.watch_responses import MAX_RESPONSE_BYTES, WatchResponses
from durachart.runtime.runtime import Runtime
from durachart.runtime.views import (
    InstanceState,
    JournalEntry,
    WatchFrame,
    WatchSnapshot,
    WatchSynced,
    WatchTransition,
)
from durachart.store.keys import InstanceKey

AT = datetime(2030, 1, 1, tzinfo=UTC)
REQUEST = pb.WatchStateRequest(
    instances=[types.InstanceRef(machine_id="m", instance_id="i")], resume_token="before"
)


class Batches:
    """What a runtime gives a watcher."""

    def __init__(self, *batches: Sequence[WatchFrame]) -> None:
        self._batches = batches

    async def watch(self, spec: Any, caller: Any, outlet: Any) -> AsyncGenerator[list[WatchFrame], None]:
        self.outlet = outlet
        for batch in self._batches:
            yield list(batch)


def snapshot(token: str, context_bytes: int) -> WatchSnapshot:
    state = InstanceState(
        InstanceKey("", "m", "i"),
        "u",
        0,
        1,
        '"a"',
        "x" * context_bytes,
        (),
        (),
        "",
        {},
        "active",
        "",
        (),
        AT,
        AT,
        None,
    )
    return WatchSnapshot(token, state)


def transition(token: str, context_bytes: int) -> WatchTransition:
    state = snapshot(token, context_bytes).state
    entry = JournalEntry(
        state.key,
        state.uid,
        seq=1,
        revision=1,
        cause="event",
        event_type="GO",
        data_json="",
        actor="ada",
        created_at=AT,
        outcome="accepted",
        reason="",
        message="",
        from_version=0,
        to_version=0,
        from_value_json="",
        to_value_json="",
        effects=(),
        machine_version=1,
        expected_version=None,
        request_id="",
        traceparent="",
        hash="",
    )
    return WatchTransition(token, state, entry, changed=True, matches=True)


async def responses(ctx: CallContext, *batches: Sequence[WatchFrame]) -> list[list[str]]:
    """The resume tokens in each response."""
    handlers = StateMachineHandlers(cast(Runtime, Batches(*batches)))
    return [
        [frame.resume_token for frame in response.frames]
        async for response in handlers.watch_state(REQUEST, ctx)
    ]


async def test_frames_that_come_together_travel_together() -> None:
    batch = [snapshot("1", 10), snapshot("2", 10), WatchSynced("3")]
    assert await responses(CallContext("x"), batch, [WatchSynced("4")]) == [["1", "2", "3"], ["4"]]


async def test_a_response_never_outgrows_what_clients_take() -> None:
    half = MAX_RESPONSE_BYTES // 2
    batch = [
        snapshot("1", half),
        snapshot("2", half),
        snapshot("3", 3 * half),
        snapshot("4", 10),
        WatchSynced("5"),
    ]
    assert await responses(CallContext("x"), batch) == [["1"], ["2"], ["3"], ["4", "5"]]


def test_large_batches_are_not_kept_one_beside_the_other() -> None:
    shared = WatchResponses()
    batches = [[transition(f"{n}-{m}", MAX_RESPONSE_BYTES) for m in range(4)] for n in range(3)]
    told = [shared.of(batch) for batch in batches]
    assert [len(responses) for responses in told] == [4, 4, 4]
    assert shared.of(batches[2]) is told[2], "who keeps up is told what others are"
    assert shared.of(batches[0]) is not told[0]
    small = [[transition(f"{n}", 10)] for n in range(3)]
    told = [shared.of(batch) for batch in small]
    assert all(shared.of(batch) is responses for batch, responses in zip(small, told, strict=True))


async def test_the_last_word_carries_the_token_of_the_last_frame_sent() -> None:
    ctx = CallContext("x")
    handlers = StateMachineHandlers(cast(Runtime, Batches([snapshot("1", 10)], [WatchSynced("2")])))
    watching = handlers.watch_state(REQUEST, ctx)
    said = []
    for _ in range(2):
        await anext(watching)
        assert ctx.farewell is not None
        farewell: Any = ctx.farewell()
        said.append((farewell.frames[0].resume_token, farewell.frames[0].closing.reconnect_delay.seconds))
    assert said == [("1", 1), ("2", 1)]
    await watching.aclose()


class Sent:
    """A front's outlet that keeps the tokens of each response."""

    def __init__(self) -> None:
        self.is_open = True
        self.tokens: list[list[str]] = []

    def put(self, response: pb.WatchStateResponse, *, at_once: bool) -> None:
        self.tokens.append([frame.resume_token for frame in response.frames])


async def test_what_a_watcher_is_told_while_it_waits_counts_as_told() -> None:
    sent = Sent()
    ctx = CallContext("x")
    ctx.outlet = cast(Any, sent)
    runtime = Batches([snapshot("1", 10)], [WatchSynced("9")])
    watching = StateMachineHandlers(cast(Runtime, runtime)).watch_state(REQUEST, ctx)
    await anext(watching)
    assert runtime.outlet.is_open
    half = MAX_RESPONSE_BYTES // 2
    runtime.outlet.put([snapshot("2", half), snapshot("3", half), snapshot("4", 10)], at_once=True)
    assert sent.tokens == [["2"], ["3", "4"]]
    assert ctx.farewell is not None
    farewell: Any = ctx.farewell()
    assert farewell.frames[0].resume_token == "4"
    sent.is_open = False
    assert not runtime.outlet.is_open
    await watching.aclose()


async def test_a_front_without_an_outlet_is_given_everything() -> None:
    runtime = Batches([snapshot("1", 10)])
    watching = StateMachineHandlers(cast(Runtime, runtime)).watch_state(REQUEST, CallContext("x"))
    await anext(watching)
    assert runtime.outlet is None
    await watching.aclose()
