"""A worker's stream of effects, over any number of connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio

from durachart_client import convert, effect_convert, errors
from durachart_client.calls import Backoff, Connection
from durachart_client.effect_models import LeasedEffect
from durachart_client.gen import effect_service_pb2 as pb
from durachart_client.models import InstanceRef
from durachart_client.rebuild import server_error

_log = logging.getLogger("durachart_client.worker")

# The server understood, and will say the same the next time.
_FOR_GOOD = frozenset({"INVALID_ARGUMENT", "PERMISSION_DENIED", "UNAUTHENTICATED", "UNIMPLEMENTED"})


class EffectStream:
    """Leases effects for some handlers, never more than there are free slots.

    A slot is either a credit that the server holds, or an effect that runs here. A new connection begins with
    credits for the slots that are free by then; effects that run go on meanwhile.
    """

    def __init__(
        self,
        connection: Connection,
        method: Any,
        *,
        handlers: Sequence[str],
        slots: int,
        worker_id: str,
        lease: timedelta,
        take: Callable[[LeasedEffect], None],
        cancel: Callable[[InstanceRef, str], None],
    ) -> None:
        """Prepare; nothing is asked for before ``run``.

        Args:
            connection: To the server.
            method: ``StreamEffects`` of a stub on it.
            handlers: What to lease for.
            slots: Most effects at a time, >= 1.
            worker_id: Name of the worker.
            lease: How long leases last.
            take: Called with each effect, which occupies a slot until ``free``.
            cancel: Called with what is not wanted any more.
        """
        self._connection = connection
        self._method = method
        self._handlers = handlers
        self._slots = slots
        self._worker_id = worker_id
        self._lease = lease
        self._take = take
        self._cancel = cancel
        self._running = 0
        self._credits = 0
        self._freed = asyncio.Event()

    def free(self) -> None:
        """An effect has ended; its slot may be given to another."""
        self._running -= 1
        self._freed.set()

    async def run(self) -> None:
        """Take effects until cancelled.

        Raises:
            ServerError: The server refuses, and would again.
        """
        loop = asyncio.get_running_loop()
        policy = self._connection.policy
        backoff = Backoff(policy)
        while True:
            opened_at = loop.time()
            try:
                await self._follow()
                failure: errors.ServerError = errors.Unavailable("the server ended the stream")
            except grpc.aio.AioRpcError as error:
                failure = server_error(error)
                if failure.code in _FOR_GOOD:
                    raise failure from error
            # Only a life longer than the longest wait counts as recovery.
            if loop.time() - opened_at > policy.maximum_ms / 1000:
                backoff.reset()
            wait_s = backoff.next_wait(failure.retry_after)
            _log.warning("effect stream lost handlers=%s error=%s", ",".join(self._handlers), failure)
            await asyncio.sleep(wait_s)

    async def _follow(self) -> None:
        """Take effects from one connection until it ends."""
        self._credits = 0
        call = self._method(self._requests(), metadata=self._connection.metadata())
        try:
            while (message := await call.read()) is not grpc.aio.EOF:
                for one in message.effects:
                    self._credits -= 1
                    self._running += 1
                    self._take(effect_convert.leased_effect(one))
                for one in message.cancelled:
                    self._cancel(convert.instance_ref(one.instance), one.effect_id)
        finally:
            call.cancel()

    async def _requests(self) -> AsyncIterator[pb.StreamEffectsRequest]:
        """The opening, then credits as slots become free."""
        request = pb.StreamEffectsRequest(
            handlers=self._handlers,
            lease_duration=effect_convert.duration(self._lease),
            worker_id=self._worker_id,
        )
        first = True
        while True:
            self._freed.clear()
            grant = max(self._slots - self._running - self._credits, 0)
            if grant or first:
                first = False
                self._credits += grant
                request.credits = grant
                yield request
                request = pb.StreamEffectsRequest()
            else:
                await self._freed.wait()
