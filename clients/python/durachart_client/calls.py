"""One channel, and how a call on it is made: deadline, retries, typed errors."""

# A timeout is a parameter here because it travels: the server learns each call's deadline.
# ruff: noqa: ASYNC109

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias

import grpc
import grpc.aio

from durachart_client import errors
from durachart_client.models import RetryPolicy
from durachart_client.opening import Openings
from durachart_client.rebuild import server_error

Metadata: TypeAlias = Mapping[str, str] | Callable[[], Mapping[str, str]]
"""Headers of every call, or a function asked for them anew each time (for tokens that expire)."""

_MESSAGE_LIMIT_BYTES = 64 * 1024 * 1024

# gRPC waits up to two minutes before it connects again; our own jittered waits are what spreads clients out.
_CHANNEL_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_receive_message_length", _MESSAGE_LIMIT_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_LIMIT_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


class Backoff:
    """Waits before successive attempts, each drawn evenly from zero to a bound that grows.

    Drawing from the whole range is what keeps a thousand clients from coming back in the same instant.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._bound_ms = float(policy.initial_ms)

    def next_wait(self, at_least: timedelta | None = None) -> float:
        """Seconds to wait now: at least what the server asked for, and a random while longer."""
        # Not for secrets: a shared clock is what the jitter breaks.
        wait = random.uniform(0, self._bound_ms) / 1000  # noqa: S311
        self._bound_ms = min(self._bound_ms * self._policy.multiplier, float(self._policy.maximum_ms))
        return wait + (at_least.total_seconds() if at_least is not None else 0.0)

    def reset(self) -> None:
        """Begin again with the first bound."""
        self._bound_ms = float(self._policy.initial_ms)


def is_transient(failure: errors.ServerError) -> bool:
    """Whether the same call may succeed later: nobody answered, or the server asked to come back.

    CANCELLED belongs here because grpc.aio answers it when too many calls are opened at once; a call
    cancelled by this process never arrives as an error.
    """
    if failure.code == "RESOURCE_EXHAUSTED":
        return failure.retry_after is not None
    return failure.code in ("UNAVAILABLE", "CANCELLED")


class Connection:
    """A channel to one server.

    Attributes:
        target: Where the server is, ``HOST:PORT``.
        channel: The open channel.
        timeout: Bound of a call, all its attempts together.
        policy: Waits between attempts.
        openings: The turns of streams that are begun.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None,
        metadata: Metadata,
        timeout: timedelta,
        policy: RetryPolicy,
        options: Sequence[tuple[str, Any]],
    ) -> None:
        self.target = target
        self.timeout = timeout
        self.policy = policy
        self.openings = Openings()
        self._metadata = metadata
        # A later option of the same name wins.
        merged = (*_CHANNEL_OPTIONS, *options)
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(target, options=merged)
        else:
            self.channel = grpc.aio.secure_channel(target, credentials, options=merged)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Headers for the next call."""
        current = self._metadata() if callable(self._metadata) else self._metadata
        return tuple(current.items())

    async def unary(
        self,
        method: Any,
        request: Any,
        *,
        timeout: timedelta | None,
        request_id: str = "",
        repeatable: bool = True,
    ) -> Any:
        """Make one call, again while it fails in passing and there is time.

        Args:
            method: A unary method of a generated stub.
            request: Its request; every attempt sends the same bytes, the same ``request_id`` among them.
            timeout: Bound of all attempts together; None takes the connection's.
            request_id: Kept on the error.
            repeatable: False for a write without idempotency key: one attempt.

        Returns:
            The response message.

        Raises:
            ServerError: The last attempt's error, typed.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self.timeout if timeout is None else timeout).total_seconds()
        backoff = Backoff(self.policy)
        attempt = 1
        while True:
            # gRPC takes a deadline that has passed for none at all.
            remaining = max(deadline - loop.time(), 0.001)
            try:
                return await method(request, timeout=remaining, metadata=self.metadata())
            except grpc.aio.AioRpcError as error:
                failure = server_error(error, request_id=request_id)
                if not repeatable or not is_transient(failure) or attempt == self.policy.max_attempts:
                    raise failure from error
                wait = backoff.next_wait(failure.retry_after)
                if loop.time() + wait >= deadline:
                    raise failure from error
            await asyncio.sleep(wait)
            attempt += 1

    async def close(self) -> None:
        """Close the channel; calls under way end at once."""
        await self.channel.close()
