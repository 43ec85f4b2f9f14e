"""Listening for connections, and draining them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from durachart.fronts.address import Address, listen
from durachart.fronts.http2.connection import Connection
from durachart.fronts.http2.exchange import Application
from durachart.fronts.http2.settings import ConnectionSettings


@dataclass(frozen=True, slots=True)
class Http2Settings:
    """How the server listens.

    Attributes:
        address: Where; port 0 lets the system choose.
        stop_grace_s: Seconds that exchanges under way get when it stops.
        connection: Of each connection.
    """

    address: Address
    stop_grace_s: float = 1.0
    connection: ConnectionSettings = field(default_factory=ConnectionSettings)


@asynccontextmanager
async def serve_http2(
    application: Application, settings: Http2Settings, option: str
) -> AsyncIterator[Address]:
    """Serve ``application`` for as long as the context lasts.

    Leaving takes no new exchanges, gives those under way their grace and then ends them.

    Args:
        application: What answers.
        settings: Where, and within which bounds.
        option: What chose the address, for the error.

    Yields:
        The address that is really listened on.

    Raises:
        CannotListen: The port is in use, or the address cannot be had.
    """
    loop = asyncio.get_running_loop()
    connections: set[Connection] = set()
    idle = asyncio.Event()
    idle.set()

    def accept() -> Connection:
        made = Connection(application, settings.connection, lose)
        connections.add(made)
        idle.clear()
        return made

    def lose(lost: Connection) -> None:
        connections.discard(lost)
        if not connections:
            idle.set()

    listening = listen(settings.address, option)
    address = Address(settings.address.host, listening.getsockname()[1])
    server = await loop.create_server(accept, sock=listening)
    try:
        yield address
    finally:
        server.close()
        for connection in tuple(connections):
            connection.go_away()
        try:
            async with asyncio.timeout(settings.stop_grace_s):
                await idle.wait()
        except TimeoutError:
            for connection in tuple(connections):
                connection.abort()
            await idle.wait()
