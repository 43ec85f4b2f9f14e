"""Text of a generation as a worker makes it, brought to the server while it comes."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Any, Final, Self

import grpc.aio

from durachart_client import convert, errors
from durachart_client.effect_models import LeasedEffect
from durachart_client.gen import token_service_pb2 as pb
from durachart_client.rebuild import server_error
from durachart_client.stubs import Stubs

_log = logging.getLogger("durachart_client.worker")

_CLOSING_S: Final = 5.0


class TokenWriter:
    """Shows viewers a text while it comes; the result is what the effect is completed with.

    Text is not stored, and nothing depends on it: when the server cannot be reached, or takes no more, that
    is logged, what follows is dropped, and viewers are shown the whole result at its end. Only a lease that
    is lost is raised: nobody wants the rest.
    """

    def __init__(self, stubs: Stubs, leased: LeasedEffect, model: str = "") -> None:
        """Bring the text of an attempt; the server hears of it with the first `write`.

        Args:
            stubs: Of the server.
            leased: The attempt, an effect of the handler ``llm.generate``.
            model: Model that answers; ``""`` when unknown.
        """
        self._stubs = stubs
        self._leased = leased
        self._model = model
        self._call: Any = None
        self._over = False

    async def write(self, text: str) -> None:
        """Add to the text; waits while the server takes no more.

        Raises:
            LeaseLost: The generation was stopped, or is another worker's.
        """
        if self._over or not text:
            return
        request = pb.AppendTokensRequest(text=text)
        if self._call is None:
            self._call = self._stubs.tokens.AppendTokens(metadata=self._stubs.connection.metadata())
            request.MergeFrom(self._first())
        try:
            await self._call.write(request)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._end()

    async def close(self) -> None:
        """Bring what was written; the text stays until the attempt ends. May be called again.

        Raises:
            LeaseLost: The generation was stopped, or is another worker's.
        """
        if self._call is None or self._over:
            return
        try:
            await self._call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            _log.debug("text was refused effect_id=%s", self._leased.effect_id)
        await self._end()

    async def _end(self) -> None:
        """Hear how the call ended."""
        self._over = True
        call = self._call
        try:
            async with asyncio.timeout(_CLOSING_S):
                await call
        except TimeoutError:
            _log.warning("text not confirmed effect_id=%s", self._leased.effect_id)
        except grpc.aio.AioRpcError as error:
            failure: errors.ServerError | None = server_error(error)
            if failure is not None and not failure.reason:
                failure = await self._ask_why() or failure
            if isinstance(failure, errors.LeaseLost):
                raise failure from None
            _log.warning("text not shown effect_id=%s error=%s", self._leased.effect_id, failure)
        finally:
            call.cancel()

    async def _ask_why(self) -> errors.ServerError | None:
        """Why text is not taken; None: it is, now. In the middle of a write grpc.aio may lose the words."""
        call = self._stubs.tokens.AppendTokens(
            iter([self._first()]), metadata=self._stubs.connection.metadata(), timeout=_CLOSING_S
        )
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return server_error(error)
        return None

    def _first(self) -> pb.AppendTokensRequest:
        return pb.AppendTokensRequest(
            instance=convert.instance_message(self._leased.instance),
            effect_id=self._leased.effect_id,
            lease_token=self._leased.lease_token,
            model=self._model,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is None:
            await self.close()
        elif self._call is not None:
            self._over = True
            self._call.cancel()
