"""Calls of other servers over gRPC. Messages are bytes: what they mean is for ``rpc`` to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import grpc

_OPTIONS: Final = (
    # A node that comes back is found at once.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # One that went away without a word is noticed.
    ("grpc.keepalive_time_ms", 15_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_receive_message_length", -1),
    # Nodes are neighbours: what the environment says of proxies is meant for others.
    ("grpc.enable_http_proxy", 0),
)
_MOST_IDLE: Final = 32


class GrpcCaller:
    """Connections to other servers, made when needed and kept while they may be needed again."""

    def __init__(self) -> None:
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._used: dict[str, int] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Close all connections; calls under way fail."""
        channels, self._channels = list(self._channels.values()), {}
        for channel in channels:
            await channel.close()
        if self._closing:
            await asyncio.wait(self._closing)

    async def stream(
        self, address: str, path: str, request: bytes, metadata: Sequence[tuple[str, str | bytes]]
    ) -> AsyncGenerator[bytes, None]:
        """Call a method with one request and any number of responses; closing ends the call.

        Raises:
            ConnectionError: The server cannot be called, or the call failed.
        """
        with self._channel(address) as channel:
            # Any: the type stubs know calls with serialisers only.
            method: Any = channel.unary_stream(path)
            call = method(request, metadata=tuple(metadata))
            try:
                async for message in call:
                    yield message
            except grpc.aio.AioRpcError as error:
                raise _broken(address, error) from None
            finally:
                call.cancel()

    async def send(
        self,
        address: str,
        path: str,
        requests: AsyncIterable[bytes],
        metadata: Sequence[tuple[str, str | bytes]],
    ) -> bytes:
        """Call a method with any number of requests and one response.

        Raises:
            ConnectionError: The server cannot be called, or the call failed.
        """
        with self._channel(address) as channel:
            method: Any = channel.stream_unary(path)
            call = method(requests, metadata=tuple(metadata))
            try:
                response: bytes = await call
            except grpc.aio.AioRpcError as error:
                raise _broken(address, error) from None
            finally:
                call.cancel()
            return response

    @contextmanager
    def _channel(self, address: str) -> Iterator[grpc.aio.Channel]:
        channel = self._channels.pop(address, None) or grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._channels[address] = channel  # used last
        self._used[address] = self._used.get(address, 0) + 1
        try:
            yield channel
        finally:
            self._used[address] -= 1
            if not self._used[address]:
                del self._used[address]
            self._close_idle()

    def _close_idle(self) -> None:
        idle = [address for address in self._channels if address not in self._used]
        for address in idle[: max(len(idle) - _MOST_IDLE, 0)]:
            closing = asyncio.create_task(self._channels.pop(address).close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


def _broken(address: str, error: grpc.aio.AioRpcError) -> ConnectionError:
    return ConnectionError(f"{address}: {error.code().name}: {error.details()}")
