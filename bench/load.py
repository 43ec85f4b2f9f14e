"""The load: a process that makes gRPC calls at the lowest cost, so that what is measured is the server.

``python -m bench.load`` takes one run per line of standard input, as JSON, and answers each with a line. A
client library would cost as much processor time for a call as the server, on a machine with two cores that
the server's own threads want; this one writes HTTP/2 frames by hand, some 10 us a call. What the server
receives is what a gRPC client sends: headers through HPACK's table, one DATA frame, several connections.

A caller sends its next call when its last one was answered. An answer that is an error ends the process.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from durachart.rpc.gen import state_machine_service_pb2 as pb
from durachart.rpc.gen import types_pb2 as types

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW = 4
LARGEST = 2**31 - 1
UNARY = "/durachart.v1.StateMachineService/SendEvent"
STREAM = "/durachart.v1.StateMachineService/StreamEvents"
CONNECTIONS = 4
# The entries of HPACK's static table.
FIRST_DYNAMIC_INDEX = 62


class Run(NamedTuple):
    """One measurement.

    Attributes:
        address: HOST:PORT of the server.
        seconds: How long.
        callers: How many call at the same time.
        instances: How many instances the events are spread over, by chance.
        request_ids: Whether every event has an id of its own.
        view: BASIC or FULL.
        create: Whether this makes the instances: one event for each, in turn, and then it is over.
        deadline: Whether calls carry one, of a minute.
        mode: ``unary``; or ``stream``, for as many StreamEvents as there are connections, with all callers'
            events under way on them, as the Python client sends them: those that wait go together. Or
            ``singly``, the same with one event in a message.
    """

    address: str
    seconds: float = 1.0
    callers: int = 64
    instances: int = 1_000
    request_ids: bool = True
    view: str = "BASIC"
    create: bool = False
    deadline: bool = False
    mode: str = "unary"


class Load(NamedTuple):
    """What came of a run.

    Attributes:
        calls: How many were answered.
        seconds: How long it took.
        p50_us: Of the answers' times.
        p99_us: Of the answers' times.
        client_cpu: Processor time of this process as a share of a core; near 1 it was the limit.
    """

    calls: int
    seconds: float
    p50_us: float
    p99_us: float
    client_cpu: float


def instance_id(number: int) -> str:
    """How the instances are called."""
    return f"payment-{number:07}"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def enveloped(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def _literal(name: bytes, value: bytes) -> bytes:
    """A header field that enters the table."""
    return b"\x40" + bytes((len(name),)) + name + bytes((len(value),)) + value


class Calls:
    """The headers and bodies of calls."""

    def __init__(self, run: Run, path: str, seed: int) -> None:
        fields = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", run.address.encode()),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"user-agent", b"durachart-bench/1"),
            (b"grpc-accept-encoding", b"identity, deflate, gzip"),
        ]
        if run.deadline:
            fields.append((b"grpc-timeout", b"60S"))
        self.first_headers = b"".join(_literal(name, value) for name, value in fields)
        last = FIRST_DYNAMIC_INDEX + len(fields) - 1
        self.headers = bytes(0x80 | last - position for position in range(len(fields)))
        template = pb.SendEventRequest(
            instance=types.InstanceRef(machine_id="payment", instance_id=instance_id(0)),
            event=types.Event(type="ATTEMPT", data_json='{"amount_cents":900,"reason":"CARD_DECLINED"}'),
            view=types.INSTANCE_VIEW_BASIC if run.view == "BASIC" else types.INSTANCE_VIEW_FULL,
            create_if_missing=run.create,
        )
        # Ids have one length, so that a request is made by writing another number into it.
        self._before, _, self._after = template.SerializeToString().partition(b"%07d" % 0)
        self._instances = run.instances
        self._chance = Random(seed)
        self._in_turn = run.create
        self._prefix = f"{seed:08x}-4f8a-41ee-be56-" if run.request_ids else ""
        self._count = 0

    def message(self) -> bytes:
        """The next SendEventRequest."""
        count = self._count
        self._count = count + 1
        instances = self._instances
        number = count % instances if self._in_turn else int(self._chance.random() * instances)
        body = b"%b%07d%b" % (self._before, number, self._after)
        if self._prefix:
            # A field that is appended to a message is a field of it.
            body += b"\x22\x24" + f"{self._prefix}{count:012}".encode()
        return body


class Connection:
    """One HTTP/2 connection; streams are handed bytes as they come."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.out = bytearray(PREFACE)
        self.out += frame(SETTINGS, 0, 0, INITIAL_WINDOW.to_bytes(2, "big") + LARGEST.to_bytes(4, "big"))
        self.out += frame(WINDOW_UPDATE, 0, 0, (LARGEST - 65_535).to_bytes(4, "big"))
        self.next_stream = 1
        self._received = b""
        self._unread = 0
        self._credit = 65_535

    def spend(self, size: int) -> None:
        """Account for a DATA frame; the runs here never come near the window."""
        self._credit -= size
        if self._credit < 0:
            raise SystemExit("the load outran the server's flow control")

    def flush(self) -> None:
        if self.out:
            self.socket.sendall(self.out)
            self.out = bytearray()

    def receive(self, on_frame: Callable[[int, int, int, bytes], None]) -> None:
        """Read once, and hand over frames of streams: kind, flags, stream, payload."""
        data = self.socket.recv(262_144)
        if not data:
            raise SystemExit("the server closed the connection")
        data = self._received + data if self._received else data
        at, end = 0, len(data)
        while end - at >= 9:
            after = at + 9 + int.from_bytes(data[at : at + 3], "big")
            if after > end:
                break
            kind = data[at + 3]
            if kind in (DATA, HEADERS):
                if kind == DATA:
                    self._unread += after - at - 9
                stream = int.from_bytes(data[at + 5 : at + 9], "big")
                on_frame(kind, data[at + 4], stream, data[at + 9 : after])
            else:
                self._control(kind, data[at + 4], data[at + 5 : at + 9], data[at + 9 : after])
            at = after
        self._received = data[at:]
        if self._unread > 1_000_000:
            self.out += frame(WINDOW_UPDATE, 0, 0, self._unread.to_bytes(4, "big"))
            self._unread = 0

    def _control(self, kind: int, flags: int, stream: bytes, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            self.out += frame(SETTINGS, ACK, 0)
        elif kind == PING and not flags & ACK:
            self.out += frame(PING, ACK, 0, payload)
        elif kind == WINDOW_UPDATE and not any(stream):
            self._credit += int.from_bytes(payload, "big")
        elif kind in (RST_STREAM, GOAWAY):
            raise SystemExit(f"the server ended a call or the connection: {payload!r}")

    def close(self) -> None:
        self.socket.close()


class UnaryCallers:
    """Callers on one connection, each with one call at a time."""

    path = UNARY

    def __init__(self, connection: Connection, calls: Calls, callers: int) -> None:
        self._connection = connection
        self._calls = calls
        self._headers = calls.first_headers
        self._began: dict[int, float] = {}
        self._answered: set[int] = set()
        self.latencies: list[float] = []
        for _ in range(callers):
            self._call()

    def _call(self) -> None:
        connection = self._connection
        stream = connection.next_stream
        connection.next_stream += 2
        data = enveloped(self._calls.message())
        connection.spend(len(data))
        connection.out += frame(HEADERS, END_HEADERS, stream, self._headers)
        connection.out += frame(DATA, END_STREAM, stream, data)
        self._headers = self._calls.headers
        self._began[stream] = time.perf_counter()

    def on_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == DATA:
            self._answered.add(stream)
        elif flags & END_STREAM:
            if stream not in self._answered:
                raise SystemExit(f"a call failed: {payload!r}")
            self._answered.discard(stream)
            self.latencies.append(time.perf_counter() - self._began.pop(stream))
            self._call()


class StreamCallers:
    """One StreamEvents call with as many events under way as there are callers."""

    path = STREAM
    most = 64

    def __init__(self, connection: Connection, calls: Calls, callers: int) -> None:
        self._connection = connection
        self._calls = calls
        self._count = 0
        self._began: dict[bytes, float] = {}
        self._received = b""
        self.latencies: list[float] = []
        connection.out += frame(HEADERS, END_HEADERS, 1, calls.first_headers)
        self._send(callers)

    def _send(self, count: int) -> None:
        while count > 0:
            events = b"".join(self._event() for _ in range(min(count, self.most)))
            data = enveloped(events)
            self._connection.spend(len(data))
            self._connection.out += frame(DATA, 0, 1, data)
            count -= self.most

    def _event(self) -> bytes:
        """The next event as an entry of StreamEventsRequest.events."""
        return _field(3, self._next())

    def _next(self) -> bytes:
        self._count += 1
        name = b"%08d" % self._count
        self._began[name] = time.perf_counter()
        # Field 1, correlation_id; field 2, send_event.
        return b"\x0a\x08" + name + _field(2, self._calls.message())

    def on_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == HEADERS:
            if flags & END_STREAM:
                raise SystemExit(f"the stream ended: {payload!r}")
            return
        data = self._received + payload
        at, end, answered = 0, len(data), 0
        while end - at >= 5:
            after = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
            if after > end:
                break
            at += 5
            while at < after:
                at, size = length_at(data, at + 1)
                # The result's correlation_id, and then the tag of field 2: it was accepted.
                if data[at + 10] != 0x12:
                    raise SystemExit(f"an event failed: {data[at:after]!r}")
                self.latencies.append(time.perf_counter() - self._began.pop(data[at + 2 : at + 10]))
                answered += 1
                at += size
        self._received = data[at:]
        self._send(answered)


class SingleCallers(StreamCallers):
    """The same with one event in a message."""

    most = 1

    def _event(self) -> bytes:
        return self._next()


def _field(number: int, value: bytes) -> bytes:
    """A field that holds bytes, fewer than 16,384."""
    size = len(value)
    length = bytes((size,)) if size < 128 else bytes((size & 127 | 128, size >> 7))
    return bytes((number << 3 | 2,)) + length + value


def length_at(data: bytes, at: int) -> tuple[int, int]:
    """Where the bytes of a field begin whose length stands at ``at``, and how many there are."""
    size, shift = 0, 0
    while (part := data[at]) >= 128:
        size |= (part & 127) << shift
        shift += 7
        at += 1
    return at + 1, size | part << shift


Callers = UnaryCallers | StreamCallers
MODES: dict[str, type[Callers]] = {"unary": UnaryCallers, "stream": StreamCallers, "singly": SingleCallers}


def measure(run: Run, seed: int) -> Load:
    """Run callers until the time is over; calls under way then are dropped."""
    kind = MODES[run.mode]
    calls = Calls(run, kind.path, seed)
    poll = select.epoll()
    groups: dict[int, tuple[Connection, Callers]] = {}
    connections = min(CONNECTIONS, run.callers)
    for number in range(connections):
        connection = Connection(run.address)
        share = len(range(number, run.callers, connections))
        poll.register(connection.socket, select.EPOLLIN)
        groups[connection.socket.fileno()] = connection, kind(connection, calls, share)
    began, cpu_began = time.perf_counter(), time.process_time()
    end = began + (600.0 if run.create else run.seconds)
    for connection, _ in groups.values():
        connection.flush()
    # On a machine that is busy with something else, even the first answer may take long.
    while (now := time.perf_counter()) < end or (now < began + 60.0 and not _answers(groups)):
        for file, _ in poll.poll(max(end - now, 0.1)):
            connection, group = groups[file]
            connection.receive(group.on_frame)
            connection.flush()
        if run.create and _answers(groups) >= run.instances + run.callers:
            break
    took, cpu_took = time.perf_counter() - began, time.process_time() - cpu_began
    for connection, _ in groups.values():
        connection.close()
    poll.close()
    return summary([each for _, group in groups.values() for each in group.latencies], took, cpu_took)


def _answers(groups: dict[int, tuple[Connection, Callers]]) -> int:
    return sum(len(group.latencies) for _, group in groups.values())


def summary(latencies: list[float], took: float, cpu_took: float) -> Load:
    """The figures of a run."""
    latencies.sort()
    count = len(latencies)
    if not count:
        raise SystemExit("no call was answered")
    return Load(count, took, latencies[count // 2] * 1e6, latencies[count * 99 // 100] * 1e6, cpu_took / took)


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    for line in sys.stdin:
        given: dict[str, Any] = json.loads(line)
        run = Run(**given)
        seed += 1
        print(json.dumps(measure(run, seed)._asdict()), flush=True)


if __name__ == "__main__":
    main()
