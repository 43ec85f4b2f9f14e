"""uvicorn inside our event loop: it never touches signals, says where it listens, and stops when asked.

Its parser bounds neither the size of a request's head nor the number of headers; here the head is bounded.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from durachart.fronts.address import HTTP_DEFAULT, Address, listen

_MAX_HEAD_BYTES = 64 * 1024
_HEAD_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How the HTTP front listens.

    Attributes:
        address: Where; port 0 lets the system choose.
        cors_origins: Pages that may call, as `durachart.fronts.cors.Cors` takes them.
        keepalive_s: Seconds that an idle connection is kept.
        stop_grace_s: Whole seconds that calls under way get when the front stops; the core has drained them
            before.
        stalled_s: Seconds that a response of a stream may wait for its reader; then the connection is cut.
    """

    address: Address = HTTP_DEFAULT
    cors_origins: tuple[str, ...] = ()
    keepalive_s: int = 75
    stop_grace_s: int = 1
    stalled_s: float = 60.0


@asynccontextmanager
async def serve_http(app: Any, settings: HttpSettings) -> AsyncIterator[Address]:
    """Serve an ASGI application for as long as the context lasts.

    Yields:
        The address that is really listened on.

    Raises:
        CannotListen: The port is in use, or the address cannot be had.
    """
    sock = listen(settings.address, "--http")
    address = Address(settings.address.host, sock.getsockname()[1])
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        workers=1,
        timeout_keep_alive=settings.keepalive_s,
        timeout_graceful_shutdown=settings.stop_grace_s,
    )
    server = _Embedded(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    listening = asyncio.create_task(server.listening.wait())
    await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
    try:
        if serving.done():
            listening.cancel()
            serving.result()
            raise RuntimeError("the HTTP server ended before it listened")
        yield address
    finally:
        server.should_exit = True
        await serving


class _Embedded(uvicorn.Server):
    """Leaves signals to whoever owns the process, and tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


CUT = "durachart.cut"
"""Where the scope of a request has a function that ends its connection at once."""


class _Protocol(HttpToolsProtocol):
    """Refuses a request whose head does not end, and lets a connection be cut.

    A connection that is closed first sends what it has, for which a reader that has stopped lets it wait.
    """

    _in_head = False
    _head_bytes = 0

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope[CUT] = self.transport.abort

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                self.transport.write(_HEAD_TOO_LARGE)
                self.transport.close()
