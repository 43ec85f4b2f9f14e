"""Bounds of a connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """What one connection may do.

    Attributes:
        max_streams: Exchanges under way.
        header_list_bytes: Of the fields of one request.
        stream_window: What may come of a streamed request before its handler has taken it.
        connection_window: The same for all requests together; and what is held of requests that are collected
            and not complete, to which the oldest of them may add its rest.
        unread_s: How long what is left of a response whose handler has ended may wait without 16 KiB
            of it, or all of it, being let out.
        keepalive_s: How long the peer may be silent before it is asked whether it is there.
        keepalive_timeout_s: How long its answer may take.
    """

    max_streams: int = 100_000
    header_list_bytes: int = 64 * 1024
    stream_window: int = 256 * 1024
    connection_window: int = 64 * 1024 * 1024
    unread_s: float = 60.0
    keepalive_s: float = 60.0
    keepalive_timeout_s: float = 20.0
