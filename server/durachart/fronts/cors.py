"""Which web pages may call: the browser's same-origin rule and its exceptions."""

from __future__ import annotations

from collections.abc import Iterable

from durachart.fronts.wire import Header

EVERY_ORIGIN = "*"
_PREFLIGHT_SECONDS = 7200
# A page may read these without being allowed to.
_READABLE = frozenset({b"cache-control", b"content-type"})
# What gRPC-Web clients must be able to read where a proxy moved the trailers into the headers.
_EXPOSED = (b"grpc-status", b"grpc-message", b"grpc-status-details-bin")


class Cors:
    """Answers browsers that ask for a page of another origin.

    A request of a page that is not allowed is refused, not only hidden from the page: it could change
    something. Programs send no ``origin`` and are not concerned.

    Args:
        origins: Allowed ones as browsers write them, ``https://app.example:8443``; `EVERY_ORIGIN` allows
            every page. The server's own origin is always allowed.
    """

    def __init__(self, origins: Iterable[str] = ()) -> None:
        self._origins = frozenset(origin.rstrip("/").lower().encode() for origin in origins)
        self._every = EVERY_ORIGIN.encode() in self._origins

    def allows(self, headers: dict[bytes, bytes]) -> bool:
        """Whether the page that sent a request with these headers may call."""
        origin = headers.get(b"origin")
        if origin is None or self._every or origin.lower() in self._origins:
            return True
        return origin.partition(b"://")[2] == headers.get(b"host")

    def headers(self, request: dict[bytes, bytes], sent: Iterable[bytes] = ()) -> list[Header]:
        """The headers to add to the response of an allowed request.

        Args:
            request: Its headers.
            sent: Names of the response's own headers, which the page may then read as well.
        """
        origin = request.get(b"origin")
        if origin is None:
            return []
        exposed = b", ".join(dict.fromkeys((*_EXPOSED, *(name for name in sent if name not in _READABLE))))
        allowed: list[Header] = [(b"access-control-allow-origin", b"*" if self._every else origin)]
        return [*allowed, (b"access-control-expose-headers", exposed), (b"vary", b"origin")]

    def preflight(self, request: dict[bytes, bytes]) -> list[Header]:
        """The headers that answer an allowed preflight: the page may send whatever headers it wants to."""
        wanted = request.get(b"access-control-request-headers", b"")
        return [
            *self.headers(request),
            (b"access-control-allow-methods", b"POST, GET"),
            (b"access-control-allow-headers", wanted),
            (b"access-control-max-age", str(_PREFLIGHT_SECONDS).encode()),
        ]
