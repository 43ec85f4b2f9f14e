"""How a watch's frames are cut into responses, and what it says last."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from durachart.rpc.context import CallContext
from durachart.rpc.gen import state_machine_service_pb2 as pb
from durachart.rpc.gen import types_pb2 as types
from durachart.rpc.state_machine_service import StateMachineHandlers
from durachart.rpc.watch_responses import MAX_RESPONSE_BYTES
from durachart.runtime.runtime import Runtime
from durachart.runtime.views import InstanceState, WatchFrame, WatchSnapshot, WatchSynced
from durachart.store.keys import InstanceKey

AT = datetime(2030, 1, 1, tzinfo=UTC)
REQUEST = pb.WatchStateRequest(
    instances=[types.InstanceRef(machine_id="m", instance_id="i")], resume_token="before"
)


class Batches:
    """What a runtime gives a watcher."""

    def __init__(self, *batches: Sequence[WatchFrame]) -> None:
        self._batches = batches

    async def watch(self, spec: Any, caller: Any) -> AsyncGenerator[list[WatchFrame], None]:
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
