"""durachart.v1.EffectService on the runtime's outbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Final

from durachart.rpc import convert
from durachart.rpc import convert_effects as shown
from durachart.rpc.context import CallContext
from durachart.rpc.gen import effect_service_pb2 as pb
from durachart.rpc.validation import check_first_stream_request
from durachart.runtime.commands import FailEffect, FinishEffect, ReviveEffect
from durachart.runtime.effects.stream import EffectStream, Work
from durachart.runtime.runtime import Runtime

EFFECT_SERVICE = pb.DESCRIPTOR.services_by_name["EffectService"]

# One response stays well under the 4 MiB that gRPC clients take by default, unless a single effect is larger.
MAX_RESPONSE_BYTES: Final = 1024 * 1024
# A wait for work ends this long before the caller's deadline: what is leased for a caller that has just given
# up would have to be given back.
_BEFORE_DEADLINE: Final = timedelta(milliseconds=250)


class EffectHandlers:
    """Effects for workers in any language, and for operators.

    Args:
        runtime: What keeps them.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._outbox = runtime.outbox
        self._runtime = runtime

    async def lease_effects(
        self, request: pb.LeaseEffectsRequest, ctx: CallContext
    ) -> pb.LeaseEffectsResponse:
        """Begin attempts at effects that wait."""
        wait = shown.wait_of(request.wait)
        remaining = ctx.time_remaining()
        if remaining is not None:
            wait = min(wait, max(timedelta(seconds=remaining) - _BEFORE_DEADLINE, timedelta()))
        leased = await self._outbox.take(
            request.handlers,
            request.max_effects or 1,
            request.worker_id,
            shown.lease_of(request.lease_duration, request.HasField("lease_duration")),
            wait,
        )
        fitting = next(_parts(map(shown.leased_effect, leased)), [])
        await self._outbox.give_back(leased[len(fitting) :])
        return pb.LeaseEffectsResponse(effects=fitting)

    async def stream_effects(
        self, requests: AsyncIterator[pb.StreamEffectsRequest], ctx: CallContext
    ) -> AsyncGenerator[pb.StreamEffectsResponse, None]:
        """Effects as they come, as far as there are credits, and cancellations."""
        first = await anext(requests, None)
        first = check_first_stream_request(first)
        lease = shown.lease_of(first.lease_duration, first.HasField("lease_duration"))
        stream = EffectStream(self._outbox, first.handlers, first.worker_id, lease)
        stream.add_credits(first.credits)
        reading = asyncio.create_task(_read_credits(requests, stream))
        try:
            async with aclosing(stream.work()) as works:
                async for work in works:
                    for response in _responses(work):
                        yield response
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    async def complete_effect(
        self, request: pb.CompleteEffectRequest, ctx: CallContext
    ) -> pb.CompleteEffectResponse:
        """End an effect with its output."""
        command = FinishEffect(
            convert.key_of(request.instance),
            request.effect_id,
            request.lease_token,
            "completed",
            output_json=request.output_json,
        )
        await self._outbox.finish(command, convert.caller_of(ctx))
        return pb.CompleteEffectResponse()

    async def fail_effect(self, request: pb.FailEffectRequest, ctx: CallContext) -> pb.FailEffectResponse:
        """End an attempt that did not succeed."""
        command = FailEffect(
            convert.key_of(request.instance),
            request.effect_id,
            request.lease_token,
            shown.error_of(request.error),
            shown.delay_ms_of(request.retry_delay) if request.HasField("retry_delay") else None,
            request.final,
        )
        retry_at = await self._outbox.fail(command, convert.caller_of(ctx))
        made = pb.FailEffectResponse()
        if retry_at is not None:
            made.retry_time.FromDatetime(retry_at)
        return made

    async def reject_effect(
        self, request: pb.RejectEffectRequest, ctx: CallContext
    ) -> pb.RejectEffectResponse:
        """End an effect for a reason of the business."""
        command = FinishEffect(
            convert.key_of(request.instance),
            request.effect_id,
            request.lease_token,
            "rejected",
            error=shown.error_of(request.error),
        )
        await self._outbox.finish(command, convert.caller_of(ctx))
        return pb.RejectEffectResponse()

    async def heartbeat_effect(
        self, request: pb.HeartbeatEffectRequest, ctx: CallContext
    ) -> pb.HeartbeatEffectResponse:
        """Prolong a lease, and say whether to go on."""
        expires_at = await self._outbox.extend(
            convert.key_of(request.instance),
            request.effect_id,
            request.lease_token,
            shown.lease_of(request.lease_duration, request.HasField("lease_duration")),
        )
        if expires_at is None:
            return pb.HeartbeatEffectResponse(cancelled=True)
        return pb.HeartbeatEffectResponse(lease_expire_time=convert.timestamp(expires_at))

    async def record_effect_step(
        self, request: pb.RecordEffectStepRequest, ctx: CallContext
    ) -> pb.RecordEffectStepResponse:
        """Record a step."""
        stored = await self._outbox.record_step(shown.step_of(request))
        return pb.RecordEffectStepResponse(step=shown.effect_step(stored))

    async def get_effect(self, request: pb.GetEffectRequest, ctx: CallContext) -> pb.GetEffectResponse:
        """One effect with its attempts and steps."""
        record = await self._runtime.effects.details(convert.key_of(request.instance), request.effect_id)
        return pb.GetEffectResponse(effect=shown.effect(record))

    async def list_effects(self, request: pb.ListEffectsRequest, ctx: CallContext) -> pb.ListEffectsResponse:
        """Effects, without attempts and steps."""
        page = await self._runtime.effects.list(
            request.namespace,
            machine_id=request.machine_id,
            instance_id=request.instance_id,
            handler=request.handler,
            state=shown.state_of(request.state),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListEffectsResponse(
            effects=map(shown.effect, page.items), next_page_token=page.next_page_token
        )

    async def retry_effect(self, request: pb.RetryEffectRequest, ctx: CallContext) -> pb.RetryEffectResponse:
        """Give a dead letter back for further attempts."""
        command = ReviveEffect(convert.key_of(request.instance), request.effect_id, request.request_id)
        record = await self._outbox.revive(command, convert.caller_of(ctx))
        return pb.RetryEffectResponse(effect=shown.effect(record))


async def _read_credits(requests: AsyncIterator[pb.StreamEffectsRequest], stream: EffectStream) -> None:
    try:
        async for request in requests:
            stream.add_credits(request.credits)
    except Exception as error:  # noqa: BLE001 - ends the stream, whose caller hears of it
        stream.close_credits(error)
    else:
        stream.close_credits()


def _responses(work: Work) -> Iterator[pb.StreamEffectsResponse]:
    if work.cancelled:
        cancelled = [shown.cancelled_effect(*each) for each in work.cancelled]
        yield pb.StreamEffectsResponse(cancelled=cancelled)
    for part in _parts(map(shown.leased_effect, work.effects)):
        yield pb.StreamEffectsResponse(effects=part)


def _parts(effects: Iterable[pb.LeasedEffect]) -> Iterator[Sequence[pb.LeasedEffect]]:
    """The effects in parts that fit into a response; each has at least one."""
    part: list[pb.LeasedEffect] = []
    size = 0
    for effect in effects:
        room = effect.ByteSize()
        if part and size + room > MAX_RESPONSE_BYTES:
            yield part
            part, size = [], 0
        part.append(effect)
        size += room
    if part:
        yield part
