"""durachart.v1.TokenService on the runtime and its token relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from google.protobuf.message import Message

from durachart.rpc import convert
from durachart.rpc.context import CallContext
from durachart.rpc.gen import token_service_pb2 as pb
from durachart.rpc.relay import APPEND, WATCH, NodeRelay, RelaySigner
from durachart.rpc.validation import check_first_append
from durachart.runtime.commands import StopEffect
from durachart.runtime.errors import LeaseLost, RelayUnavailable
from durachart.runtime.generation.feeds import Feed, Feeds
from durachart.runtime.generation.frames import TokenFrame
from durachart.runtime.generation.tokens import TokenRelay
from durachart.runtime.outlet import Outlet
from durachart.runtime.runtime import Runtime
from durachart.runtime.views import View
from durachart.store.keys import InstanceKey

TOKEN_SERVICE = pb.DESCRIPTOR.services_by_name["TokenService"]


class TokenHandlers:
    """The text of generations, and their Stop.

    Args:
        runtime: What stops them.
        tokens: What relays their text.
        feeds: What takes text of workers.
        signer: Tells other nodes from clients.
        others: The other nodes; None: there are none.
    """

    def __init__(
        self,
        runtime: Runtime,
        tokens: TokenRelay,
        feeds: Feeds,
        signer: RelaySigner,
        others: NodeRelay | None = None,
    ) -> None:
        self._runtime = runtime
        self._tokens = tokens
        self._feeds = feeds
        self._signer = signer
        self._others = others

    async def watch_tokens(
        self, request: pb.WatchTokensRequest, ctx: CallContext
    ) -> AsyncGenerator[pb.WatchTokensResponse, None]:
        """What there is so far, what comes, and the end. Ending this stream stops nothing."""
        key = convert.key_of(request.instance)
        is_node = self._signer.is_node(ctx, WATCH, request.effect_id)
        position = (key, request.effect_id, request.attempt, request.offset)
        if is_node:
            watching = self._tokens.watch_here(*position)
        else:
            outlet = None if ctx.outlet is None else _Outlet(ctx.outlet)
            watching = self._tokens.watch(*position, outlet)
        async with aclosing(watching) as batches:
            async for batch in batches:
                yield convert.token_response(batch)

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

    async def append_tokens(
        self, requests: AsyncIterator[pb.AppendTokensRequest], ctx: CallContext
    ) -> pb.AppendTokensResponse:
        """Take text of an attempt until the worker ends the stream, or its lease is lost."""
        first = check_first_append(await anext(requests, None))
        key = convert.key_of(first.instance)
        is_node = self._signer.is_node(ctx, APPEND, first.effect_id)
        feed = await self._feeds.open(key, first.effect_id, first.lease_token, first.model)
        if feed is None:
            if self._others is None or is_node:
                raise RelayUnavailable
            return await self._pass_on(self._others, key, first, requests)
        feed.append(first.text)
        reading = asyncio.create_task(_read(requests, feed))
        losing = asyncio.create_task(feed.lost.wait())
        try:
            await asyncio.wait({reading, losing}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                raise LeaseLost(key, first.effect_id)
            reading.result()
        finally:
            reading.cancel()
            losing.cancel()
            await asyncio.wait({reading, losing})
        return pb.AppendTokensResponse(length=feed.length)

    async def _pass_on(
        self,
        others: NodeRelay,
        key: InstanceKey,
        first: pb.AppendTokensRequest,
        requests: AsyncIterator[pb.AppendTokensRequest],
    ) -> pb.AppendTokensResponse:
        try:
            return await others.append(key, first.effect_id, first, requests)
        except RelayUnavailable:
            # It may be that the other node has heard of the lease's end, as this one can.
            await self._runtime.outbox.running(key, first.effect_id, first.lease_token)
            raise


class _Outlet:
    """Puts frames of a generation where its responses go."""

    __slots__ = ("_responses",)

    def __init__(self, responses: Outlet[Message]) -> None:
        self._responses = responses

    @property
    def is_open(self) -> bool:
        return self._responses.is_open

    def put(self, response: list[TokenFrame], *, at_once: bool) -> None:
        self._responses.put(convert.token_response(response), at_once=at_once)


async def _read(requests: AsyncIterator[pb.AppendTokensRequest], feed: Feed) -> None:
    async for request in requests:
        feed.append(request.text)
