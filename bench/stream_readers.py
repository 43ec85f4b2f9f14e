"""Readers of gRPC streams and of server-sent events, at the lowest cost, and a sender of events.

As in `bench.load` the client must not be what is measured: HTTP/2 frames are read by hand, and messages are
counted without being parsed unless somebody wants to.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from typing import Protocol

from bench.load import (
    CONNECTIONS,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    STREAM,
    Calls,
    Connection,
    Run,
    StreamCallers,
    enveloped,
    frame,
)
from durachart.rpc.gen import state_machine_service_pb2 as pb

WATCH = "/durachart.v1.StateMachineService/WatchState"
WATCH_TOKENS = "/durachart.v1.TokenService/WatchTokens"
ROOM_BYTES = 400
"""More than an event takes on its way."""
CANCEL = (8).to_bytes(4, "big")

OnMessage = Callable[[bytes], None]


class Readable(Protocol):
    """A socket with somebody who reads it."""

    socket: socket.socket

    def read(self) -> None:
        """Read once."""


class Poll:
    """Reads whatever can be read, until told to stop."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._readers: dict[int, Readable] = {}

    def add(self, reader: Readable) -> None:
        self._readers[reader.socket.fileno()] = reader
        self._poll.register(reader.socket, select.EPOLLIN)

    def run(
        self, until: Callable[[], bool], longest_s: float, turn: Callable[[], None] | None = None
    ) -> None:
        """Read until ``until()``; ``turn`` is called now and then, every millisecond at least."""
        end = time.perf_counter() + longest_s
        while not until():
            if time.perf_counter() > end:
                raise SystemExit("a benchmark's streams did not come to where they should")
            for file, _ in self._poll.poll(0.001 if turn is not None else 0.05):
                self._readers[file].read()
            if turn is not None:
                turn()

    def run_for(self, seconds: float, turn: Callable[[], None] | None = None) -> None:
        """Read for a while."""
        end = time.perf_counter() + seconds
        self.run(lambda: time.perf_counter() >= end, seconds + 60, turn)

    def close(self) -> None:
        """Close every connection."""
        for reader in self._readers.values():
            reader.socket.close()
        self._poll.close()


class Streams:
    """Server streams on one connection.

    Attributes:
        ended: Streams that have ended, with OK or without.
    """

    def __init__(self, address: str, path: str) -> None:
        self._connection = _Connection(address)
        self.socket = self._connection.socket
        self._calls = Calls(Run(address), path, 0)
        self._headers = self._calls.first_headers
        self._partial: dict[int, bytes] = {}
        self._on_message: dict[int, OnMessage] = {}
        self.ended = 0

    def open(self, message: bytes, on_message: OnMessage) -> int:
        """Begin a stream; what it brings goes to ``on_message``. Nothing is sent before `flush`."""
        connection = self._connection
        stream = connection.next_stream
        connection.next_stream += 2
        self._on_message[stream] = on_message
        data = enveloped(message)
        connection.spend(len(data))
        connection.out += frame(HEADERS, END_HEADERS, stream, self._headers)
        connection.out += frame(DATA, END_STREAM, stream, data)
        self._headers = self._calls.headers
        return stream

    def cancel(self, stream: int) -> None:
        """End a stream as a client does that leaves."""
        del self._on_message[stream]
        self._partial.pop(stream, None)
        self._connection.out += frame(RST_STREAM, 0, stream, CANCEL)

    def flush(self) -> None:
        self._connection.flush()

    def read(self) -> None:
        self._connection.receive(self._on_frame)
        self._connection.flush()

    def _on_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        on_message = self._on_message.get(stream)
        if on_message is None:
            return  # it was cancelled
        if kind == DATA:
            data = self._partial.pop(stream, b"") + payload
            at, end = 0, len(data)
            while end - at >= 5:
                after = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
                if after > end:
                    break
                on_message(data[at + 5 : after])
                at = after
            if at < end:
                self._partial[stream] = data[at:]
        if flags & END_STREAM:
            del self._on_message[stream]
            self.ended += 1


class _Connection(Connection):
    """One that minds only about its own end."""

    @property
    def credit(self) -> int:
        """Bytes that the server takes now."""
        return self._credit

    def _control(self, kind: int, flags: int, stream: bytes, payload: bytes) -> None:
        if kind != RST_STREAM:
            super()._control(kind, flags, stream, payload)


class ServerSentEvents:
    """One connection that reads server-sent events."""

    def __init__(self, address: str, target: str, on_events: Callable[[int], None]) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)))
        self._on_events = on_events
        self.socket.sendall(f"GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())

    def read(self) -> None:
        data = self.socket.recv(262_144)
        if not data:
            raise SystemExit("the server of server-sent events closed a connection")
        # An event ends with an empty line; those in the headers and between chunks have carriage returns.
        self._on_events(data.count(b"\n\n"))


class Events:
    """Sends events to instances by StreamEvents, when told to."""

    def __init__(self, address: str, instances: int, seed: int) -> None:
        self._connection = _Connection(address)
        self.socket = self._connection.socket
        self._stream = _Paced(self._connection, Calls(Run(address, instances=instances), STREAM, seed), 0)
        self._connection.flush()
        self.sent = 0

    def send(self, count: int) -> None:
        """Send so many more, or as many as the server has room for now."""
        count = min(count, (self._connection.credit - ROOM_BYTES) // ROOM_BYTES)
        if count <= 0:
            return
        self.sent += count
        self._stream.send(count)
        self._connection.flush()

    def read(self) -> None:
        self._connection.receive(self._stream.on_frame)
        self._connection.flush()


class _Paced(StreamCallers):
    """Callers that do not call again by themselves."""

    def send(self, count: int) -> None:
        super()._send(count)

    def _send(self, count: int) -> None:
        pass


class Stalled:
    """A connection with one stream that is never read."""

    def __init__(self, address: str, message: bytes) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect((host, int(port)))
        calls = Calls(Run(address), WATCH, 0)
        self.socket.sendall(
            PREFACE
            # Its window is as large as a client takes that says nothing about it, and no larger ever.
            + frame(SETTINGS, 0, 0, INITIAL_WINDOW.to_bytes(2, "big") + (65_535).to_bytes(4, "big"))
            + frame(SETTINGS, 1, 0)
            + frame(HEADERS, END_HEADERS, 1, calls.first_headers)
            + frame(DATA, END_STREAM, 1, enveloped(message))
        )


def watch_request(instance_id: str = "", machine_id: str = "payment", **fields: object) -> bytes:
    """The request of a watch of one instance, or of all of a machine."""
    request = pb.WatchStateRequest(**fields)  # type: ignore[arg-type]
    if instance_id:
        request.instances.add(machine_id=machine_id, instance_id=instance_id)
    else:
        request.filter.machine_id = machine_id
    return request.SerializeToString()


def count_frames(message: bytes) -> int:
    """How many frames a response has: entries of its field 1, skipped without being read."""
    at, end, count = 0, len(message), 0
    while at < end:
        size = message[at + 1]
        at += 2
        if size > 127:
            size &= 127
            shift = 7
            while True:
                more = message[at]
                at += 1
                size |= (more & 127) << shift
                if more < 128:
                    break
                shift += 7
        at += size
        count += 1
    return count


def spread(address: str, path: str, streams: int) -> list[Streams]:
    """Connections for so many streams."""
    return [Streams(address, path) for _ in range(min(CONNECTIONS, streams))]
