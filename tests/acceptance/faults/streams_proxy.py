"""A TCP proxy that misbehaves when told to: it cuts its lines, says nothing, refuses, or hides doorbells."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

Pump = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_CHUNK: Final = 65_536
# What a PostgreSQL client says first when it would like to encrypt; one byte answers it.
_SSL_REQUEST: Final = struct.pack("!ii", 8, 80_877_103)
_NOTIFICATION: Final = b"A"
_LENGTH: Final = struct.Struct("!i")


class FaultProxy:
    """Stands between clients and a server, or between a server and its database.

    Attributes:
        address: Where to connect.
        target: Where new lines lead; may be changed.
        taken: Lines so far.
    """

    def __init__(self, target: str) -> None:
        self.address = ""
        self.target = target
        self.taken = 0
        self._refuses = False
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._lines: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def before(cls, target: str) -> AsyncIterator[FaultProxy]:
        """A proxy before ``target``, on a free port."""
        async with cls(target).serving() as proxy:
            yield proxy

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FaultProxy]:
        """Take connections for as long as the block runs."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        try:
            yield self
        finally:
            server.close()
            self.cut()
            if self._lines:
                await asyncio.wait(self._lines)

    # --- faults ---------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Tear all lines; new ones are taken."""
        for line in self._lines:
            line.cancel()

    def hush(self) -> None:
        """Pass nothing on, of lines that are there and of new ones, and let nobody know."""
        self._speaks.clear()

    def speak(self) -> None:
        """Pass on what was held back, and what comes."""
        self._speaks.set()

    def refuse(self) -> None:
        """Tear all lines, and every new one at once."""
        self._refuses = True
        self.cut()

    def allow(self) -> None:
        """Take new lines again."""
        self._refuses = False

    # --- lines ----------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        line = asyncio.current_task()
        assert line is not None
        self._lines.add(line)
        # The task ends by being cancelled as a matter of course; it must not look as if it had failed.
        with suppress(asyncio.CancelledError):
            await self._pass_between(reader, writer)
        self._lines.discard(line)

    async def _pass_between(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.target.rpartition(":")
        ends = [writer]
        both: list[asyncio.Future[None]] = []
        try:
            if self._refuses:
                return
            from_server, to_server = await asyncio.open_connection(host, int(port))
            ends.append(to_server)
            await self._begin(reader, writer, from_server, to_server)
            both = [
                asyncio.ensure_future(self._pass_on(reader, to_server)),
                asyncio.ensure_future(self._pass_back(from_server, writer)),
            ]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for each in both:
                each.cancel()
            for end in ends:
                end.transport.abort()
            if both:
                await asyncio.wait(both)

    async def _begin(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        """Whatever comes before both directions are independent."""

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while got := await reader.read(_CHUNK):
                await self._write(writer, got)

    async def _pass_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._pass_on(reader, writer)

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        await self._speaks.wait()
        writer.write(data)
        await writer.drain()


class BellHidingProxy(FaultProxy):
    """Stands before a PostgreSQL and knows enough of its protocol to hide notifications.

    Attributes:
        hides: Asked for every notification whether it is dropped.
        hidden: How many were.
        passed: How many were not.
    """

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.hides: Callable[[], bool] = lambda: False
        self.hidden = 0
        self.passed = 0

    async def _begin(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        """Pass the wish for encryption on, and its answer, which is no message."""
        first = await reader.readexactly(len(_SSL_REQUEST))
        await self._write(to_server, first)
        if first == _SSL_REQUEST:
            answer = await from_server.readexactly(1)
            assert answer == b"N", "what is encrypted cannot be looked into"
            await self._write(writer, answer)

    async def _pass_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(1 + _LENGTH.size)
                (length,) = _LENGTH.unpack_from(head, 1)
                body = await reader.readexactly(length - _LENGTH.size)
                if head[:1] == _NOTIFICATION:
                    if self.hides():
                        self.hidden += 1
                        continue
                    self.passed += 1
                await self._write(writer, head + body)
