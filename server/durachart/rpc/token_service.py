"""durachart.v1.TokenService on the runtime and its token relay."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from durachart.rpc import convert
from durachart.rpc.context import CallContext
from durachart.rpc.gen import token_service_pb2 as pb
from durachart.rpc.relay import WATCH, RelaySigner
from durachart.runtime.commands import StopEffect
from durachart.runtime.runtime import Runtime
from durachart.runtime.tokens import TokenRelay
from durachart.runtime.views import View

TOKEN_SERVICE = pb.DESCRIPTOR.services_by_name["TokenService"]


class TokenHandlers:
    """The text of generations, and their Stop.

    Args:
        runtime: What stops them.
        tokens: What relays their text.
        signer: Tells other nodes from clients.
    """

    def __init__(self, runtime: Runtime, tokens: TokenRelay, signer: RelaySigner) -> None:
        self._runtime = runtime
        self._tokens = tokens
        self._signer = signer

    async def watch_tokens(
        self, request: pb.WatchTokensRequest, ctx: CallContext
    ) -> AsyncGenerator[pb.WatchTokensResponse, None]:
        """What there is so far, what comes, and the end. Ending this stream stops nothing."""
        key = convert.key_of(request.instance)
        is_node = self._signer.is_node(ctx, WATCH, request.effect_id)
        watch = self._tokens.watch_here if is_node else self._tokens.watch
        watching = watch(key, request.effect_id, request.attempt, request.offset)
        async with aclosing(watching) as batches:
            async for batch in batches:
                yield pb.WatchTokensResponse(frames=[convert.token_frame(frame) for frame in batch])

    async def stop_generation(
        self, request: pb.StopGenerationRequest, ctx: CallContext
    ) -> pb.StopGenerationResponse:
        """End a generation; idempotent."""
        command = StopEffect(
            key=convert.key_of(request.instance),
            effect_id=request.effect_id,
            request_id=request.request_id,
            view=View.FULL,
        )
        stopped = await self._runtime.stop_generation(command, convert.caller_of(ctx))
        return pb.StopGenerationResponse(
            state=convert.instance_state(stopped.state), stopped=stopped.stopped, effect_id=stopped.effect_id
        )
