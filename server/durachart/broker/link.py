"""The connection to NATS: made in the background, kept for ever, never waited for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

_log = logging.getLogger(__name__)

_PAUSE_S: Final = 0.2
_MOST_PENDING_MESSAGES: Final = 512
_MOST_PENDING_BYTES: Final = 8 * 1024 * 1024
_CLOSING_S: Final = 2.0

FAILURES: Final = (NatsError, OSError, asyncio.TimeoutError)
OnMessage = Callable[[bytes], None]
OnRequest = Callable[[bytes, Mapping[str, str]], Awaitable[bytes | None]]


class NatsLink:
    """One connection, shared by everything here that uses NATS."""

    def __init__(self, url: str) -> None:
        """Connect to ``url`` once `running` is entered."""
        self._url = url
        self._client = Client()
        self._on_connect: list[Callable[[], None]] = []
        # It was there once; from then on the client looks after the connection.
        self._there = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether the broker is there now, as far as is known."""
        return bool(self._client.is_connected)

    def on_connect(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` on the loop each time the connection is there again: messages may be missing."""
        self._on_connect.append(listener)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Be connected as far as possible while the block runs. A broker that is not there is waited for."""
        connecting = asyncio.create_task(self._connect(), name="durachart-nats")
        try:
            yield
        finally:
            connecting.cancel()
            await asyncio.wait({connecting})
            with suppress(*FAILURES):
                async with asyncio.timeout(_CLOSING_S):
                    await self._client.close()

    async def publish(self, subject: str, data: bytes) -> None:
        """Send to whoever listens; where the broker is not there nobody hears it."""
        if self.connected:
            with suppress(*FAILURES):
                await self._client.publish(subject, data)

    async def ask(
        self, subject: str, data: bytes, headers: Mapping[str, str], timeout_s: float
    ) -> bytes | None:
        """Send, and wait for one answer; None: none came."""
        if not self.connected:
            return None
        try:
            answer = await self._client.request(subject, data, timeout=timeout_s, headers=dict(headers))
        except FAILURES:
            return None
        return bytes(answer.data)

    async def listen(self, subject: str, on_message: OnMessage) -> None:
        """Call ``on_message`` on the loop with each message, from when the broker is there, for ever."""

        async def take(message: Msg) -> None:
            on_message(message.data)

        await self._subscribe_for_ever(subject, take)

    async def answer(self, subject: str, on_request: OnRequest) -> None:
        """Answer requests with what ``on_request`` returns; None: with nothing."""

        async def take(message: Msg) -> None:
            answer = await on_request(message.data, message.headers or {})
            if answer is not None:
                with suppress(*FAILURES):
                    await message.respond(answer)

        await self._subscribe_for_ever(subject, take)

    @asynccontextmanager
    async def messages(self, subject: str) -> AsyncIterator[Messages]:
        """What comes on a subject while the block runs; of what is not taken in time a part is dropped.

        Raises:
            ConnectionError: The broker is not there.
        """
        try:
            subscription = await self._client.subscribe(
                subject,
                pending_msgs_limit=_MOST_PENDING_MESSAGES,
                pending_bytes_limit=_MOST_PENDING_BYTES,
            )
        except FAILURES as error:
            raise ConnectionError("the broker is not there") from error
        try:
            yield Messages(subscription)
        finally:
            with suppress(*FAILURES):
                await subscription.unsubscribe()

    async def _subscribe_for_ever(self, subject: str, take: Callable[[Msg], Awaitable[None]]) -> None:
        await self._there.wait()
        # The client subscribes again by itself whenever it has connected again.
        await self._client.subscribe(subject, cb=take)

    async def _connect(self) -> None:
        async def told(error: Exception) -> None:
            _log.info("broker said error=%r", error)

        async def lost() -> None:
            _log.warning("broker is not there; nodes look by themselves until it is")

        async def back() -> None:
            _log.info("broker is there again")
            self._ring()

        while not self.connected:
            try:
                await self._client.connect(
                    self._url,
                    name="durachart",
                    connect_timeout=2,
                    allow_reconnect=True,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=_PAUSE_S,  # type: ignore[arg-type]  # it is slept for
                    ping_interval=5,
                    error_cb=told,
                    disconnected_cb=lost,
                    reconnected_cb=back,
                )
            except FAILURES as error:
                _log.warning("broker not reached error=%r", error)
                await asyncio.sleep(_PAUSE_S)
        self._there.set()
        self._ring()

    def _ring(self) -> None:
        for listener in self._on_connect:
            listener()


class Messages:
    """What comes on one subject."""

    def __init__(self, subscription: Subscription) -> None:
        """Take from ``subscription``."""
        self._subscription = subscription

    async def next(self, max_wait_s: float) -> bytes | None:
        """The next message; None: there was none for so long, or the subscription is over."""
        try:
            return bytes((await self._subscription.next_msg(timeout=max_wait_s)).data)
        except FAILURES:
            return None
