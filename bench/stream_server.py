"""A bare grpc.aio server with server streams: the ceiling of any watch in Python.

``python -m bench.stream_server`` serves WatchState and nothing behind it. What a stream does is the machine
it asks for:

- ``quiet``: says one frame, and then nothing for ever;
- ``end``: says one frame and ends;
- ``transitions RATE``: RATE transitions a second, the same for all who asked, each stamped when it was
  made;
- ``tokens RATE``: a generation of its own, RATE words a second, each stamped.

A stamp is the system's monotonic clock in nanoseconds. On SIGUSR1 it writes what it holds, see
`bench.insight`.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

import grpc
import uvloop

from bench.insight import tell_on_signal
from bench.stream_readers import WATCH
from durachart.rpc.gen import state_machine_service_pb2 as pb
from durachart.rpc.gen import token_service_pb2 as token_pb
from durachart.rpc.gen import types_pb2 as types


def transition(version: int, instance_id: str = "payment-0000000") -> pb.WatchFrame:
    """A frame of the content and size of Durachart's."""
    instance = types.InstanceRef(machine_id="payment", instance_id=instance_id)
    value = '"declined"' if version % 2 else '"pending"'
    context = (
        '{"customer":"ada","items":[{"sku":"A-1","quantity":2,"price_cents":450}],"attempts":'
        f'{version},"reason":"CARD_DECLINED"}}'
    )
    state = types.InstanceState(
        instance=instance,
        uid="0f8fad5bd9cb469fa16570867728950e",
        version=version,
        machine_version=1,
        value_json=value,
        context_json=context,
        allowed_events=["ATTEMPT"],
        status=types.INSTANCE_STATUS_ACTIVE,
    )
    state.create_time.GetCurrentTime()
    state.update_time.GetCurrentTime()
    state.evaluate_time.GetCurrentTime()
    entry = types.JournalEntry(
        instance=instance,
        uid=state.uid,
        seq=version + 1,
        revision=version * 7,
        cause=types.JOURNAL_CAUSE_EVENT,
        event_type="ATTEMPT",
        data_json='{"amount_cents":900,"reason":"CARD_DECLINED"}',
        actor="anonymous",
        create_time=state.update_time,
        outcome=types.JOURNAL_OUTCOME_ACCEPTED,
        from_version=version - 1,
        to_version=version,
        from_value_json='"pending"' if version % 2 else '"declined"',
        to_value_json=value,
        machine_version=1,
        request_id=f"00000001-4f8a-41ee-be56-{version:012}",
        traceparent=str(time.monotonic_ns()),
        hash="0f8fad5bd9cb469fa16570867728950e" * 2,
    )
    body = pb.WatchTransition(state=state, entry=entry, changed=True, matches=True)
    return pb.WatchFrame(resume_token="AAECAwQFBgcICQoLDA0ODxAREhMUFRY", transition=body)


def token(offset: int) -> token_pb.TokenFrame:
    """A word of a generation."""
    word = f"{time.monotonic_ns()} "
    return token_pb.TokenFrame(
        effect_id="e1", attempt=1, offset=offset, next_offset=offset + len(word), text=word
    )


class Broadcast:
    """The transitions of one rate, for all who ask for them."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._queues: set[asyncio.Queue[bytes]] = set()
        self._making: asyncio.Task[None] | None = None

    def join(self) -> asyncio.Queue[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._queues.add(queue)
        if self._making is None:
            self._making = asyncio.create_task(self._make())
        return queue

    def leave(self, queue: asyncio.Queue[bytes]) -> None:
        self._queues.discard(queue)
        if not self._queues and self._making is not None:
            self._making.cancel()
            self._making = None

    async def _make(self) -> None:
        version = 0
        async for _ in _ticks(self._rate):
            version += 1
            message = pb.WatchStateResponse(frames=[transition(version)]).SerializeToString()
            for queue in self._queues:
                queue.put_nowait(message)


async def _ticks(rate: float) -> Any:
    """``rate`` times a second, however late one was."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due += 1 / rate
        await asyncio.sleep(due - loop.time())
        yield


async def main() -> None:
    broadcasts: dict[float, Broadcast] = {}
    first = pb.WatchStateResponse(frames=[pb.WatchFrame(resume_token="t", synced=pb.WatchSynced())])
    first_message = first.SerializeToString()

    async def watch(request: bytes, context: Any) -> None:
        kind, _, rate = pb.WatchStateRequest.FromString(request).filter.machine_id.partition(" ")
        await context.write(first_message)
        if kind == "quiet":
            await asyncio.Event().wait()
        elif kind == "transitions":
            broadcast = broadcasts.setdefault(float(rate), Broadcast(float(rate)))
            queue = broadcast.join()
            try:
                while True:
                    await context.write(await queue.get())
            finally:
                broadcast.leave(queue)
        elif kind == "tokens":
            offset = 0
            async for _ in _ticks(float(rate)):
                frame = token(offset)
                offset = frame.next_offset
                await context.write(token_pb.WatchTokensResponse(frames=[frame]).SerializeToString())

    handler: Any = grpc.unary_stream_rpc_method_handler(watch)  # type: ignore[arg-type]
    server = grpc.aio.server(
        options=[
            ("grpc.server.max_pending_requests", 10_000),
            ("grpc.server.max_pending_requests_hard_limit", 30_000),
        ]
    )
    service, _, method = WATCH[1:].partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    tell_on_signal()
    print(f"gRPC 127.0.0.1:{port}\nCtrl-C ends it", flush=True)
    ended = asyncio.Event()
    end: Callable[[], None] = ended.set
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    await ended.wait()
    await server.stop(0)


if __name__ == "__main__":
    uvloop.run(main())
