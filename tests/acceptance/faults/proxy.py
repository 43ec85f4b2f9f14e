"""A TCP proxy that loses answers: it lets a request through, and cuts the line when the answer comes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

_FRAME_HEAD: Final = 9
_HEADERS: Final = 1


class AnswerLosingProxy:
    """Stands between gRPC clients and a server.

    Attributes:
        address: Where clients connect.
        lost: Answers that were not passed on.
    """

    def __init__(self, target: str, loses: Callable[[], bool]) -> None:
        self.address = ""
        self.lost = 0
        self._target = target
        self._loses = loses

    @classmethod
    @asynccontextmanager
    async def before(cls, target: str, loses: Callable[[], bool]) -> AsyncIterator[AnswerLosingProxy]:
        """A proxy before ``target``; ``loses`` is asked for every answer whether it is lost."""
        proxy = cls(target, loses)
        server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        proxy.address = f"{host}:{port}"
        try:
            yield proxy
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._target.rpartition(":")
        try:
            from_server, to_server = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        both = [
            asyncio.create_task(self._pass_on(reader, to_server)),
            asyncio.create_task(self._pass_answers(from_server, writer)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in both:
                each.cancel()
            await asyncio.wait(both)
            for end in (writer, to_server):
                end.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while got := await reader.read(65536):
                writer.write(got)
                await writer.drain()

    async def _pass_answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass HTTP/2 frames on, until one that begins an answer is to be lost."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(_FRAME_HEAD)
                body = await reader.readexactly(int.from_bytes(head[:3], "big"))
                if head[3] == _HEADERS and self._loses():
                    self.lost += 1
                    return
                writer.write(head + body)
                await writer.drain()


def now_and_then(seed: int, share: float) -> Callable[[], bool]:
    """Loses this share of all answers."""
    chance = random.Random(seed)
    return lambda: chance.random() < share
