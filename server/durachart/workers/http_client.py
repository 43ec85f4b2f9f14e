"""Sends one request of ``http.request``, to where requests may go.

Made of httpcore, which lets us resolve and connect ourselves: a name is resolved once, the address is judged,
and that address is connected to, while TLS still proves the name. Redirects are not followed, proxies are not
used, and answers are asked for uncompressed, so that a small one cannot become a large one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpcore2
from httpx2 import URL

from durachart.workers.http_params import HttpRequest
from durachart.workers.http_targets import Address, HttpTargets

LIMIT_BYTES: Final = 1024 * 1024


class TargetForbidden(Exception):
    """The request would connect to an address that it may not connect to."""


class AnswerTooLarge(Exception):
    """The answer is longer than it may be."""


class NotAnswered(Exception):
    """No answer came, or not a whole one; the text says why."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back.

    Attributes:
        status: 200 to 599.
        headers: By lower-case name; of several with one name the first.
        body: Whole.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Connections, kept open for a while between requests."""

    def __init__(self, targets: HttpTargets, *, limit_bytes: int = LIMIT_BYTES) -> None:
        """Make the client; nothing is connected yet.

        Args:
            targets: Where it may connect to.
            limit_bytes: Of an answer's body.
        """
        self._limit_bytes = limit_bytes
        self._pool = httpcore2.AsyncConnectionPool(
            # Who runs effects bounds how many there are at a time.
            max_connections=None,
            max_keepalive_connections=32,
            keepalive_expiry=15.0,
            network_backend=_GuardedBackend(targets),
        )

    async def send(self, request: HttpRequest, headers: Mapping[str, str]) -> HttpAnswer:
        """Send a request and read the whole answer. Cancelling it closes its connection.

        Args:
            request: What to send.
            headers: All its headers but ``Host`` and those about its length.

        Raises:
            TargetForbidden: No address of the host may be connected to; nothing was sent.
            AnswerTooLarge: The answer is longer than it may be.
            NotAnswered: No connection, or it broke.
        """
        url = URL(request.url)
        fields = [("Host", url.netloc.decode("ascii")), *headers.items()]
        if request.content is not None or request.method in ("POST", "PUT", "PATCH"):
            fields.append(("Content-Length", str(len(request.content or b""))))
        target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        try:
            async with self._pool.stream(
                request.method, target, headers=fields, content=request.content
            ) as got:
                names = [
                    (name.decode("latin-1").lower(), text.decode("latin-1")) for name, text in got.headers
                ]
                return HttpAnswer(got.status, dict(reversed(names)), await self._read(got))
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException) as error:
            raise NotAnswered(_why(error)) from error

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def _read(self, response: Any) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_stream():
            body += chunk
            if len(body) > self._limit_bytes:
                raise AnswerTooLarge
        return bytes(body)


class _GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that were judged, never to names."""

    def __init__(self, targets: HttpTargets) -> None:
        self._targets = targets
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of the library
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        permitted = [one for one in await _resolve(host, port) if self._targets.permits(host, one)]
        if not permitted:
            raise TargetForbidden
        while True:
            address = permitted.pop(0)
            try:
                return await self._backend.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except httpcore2.ConnectError:
                if not permitted:
                    raise

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def _resolve(host: str, port: int) -> list[Address]:
    """The addresses of a name, in the system's order of preference."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore2.ConnectError(f"the name could not be resolved: {error.strerror or error}") from error
    # A scope (`%eth0`) names an interface of this machine; the address before it is what is judged.
    return [ipaddress.ip_address(str(where[0]).partition("%")[0]) for *_, where in found]


def _why(error: Exception) -> str:
    """What broke, in a few words; what the library says is about the connection and holds no data."""
    return str(error).strip().rstrip(".") or "the connection broke"
