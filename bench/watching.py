"""How fast watches and texts are, against what a team would write instead and against what they are built on.

``python -m bench.watching`` prints ratios, each of two cases of one interleaved run:

- transitions to 1, 100 and 1,000 watchers, of one instance and of a machine, against server-sent events
  (`bench.sse_server`), whose server takes no events and stores nothing;
- words of generations that make 50 a second each, to a viewer for each and to one watch of all, against
  server-sent events;
- how long a transition takes from its commit to its watchers, and a word from the model to its viewer,
  against a bare grpc.aio server that makes and streams the same (`bench.stream_server`).

A watcher never falls behind here: events are sent as fast as their transitions are read. Servers are
processes of their own; the reader is this one. Processor time is of all threads of the server, and is what
a busy machine disturbs least. `bench.watchers` measures what very many watchers cost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from google.protobuf.json_format import MessageToDict

from bench.load import Run, instance_id
from bench.load import measure as make_load
from bench.servers import MACHINES, ROOT, Server, python
from bench.stream_readers import (
    WATCH,
    WATCH_TOKENS,
    Events,
    Poll,
    ServerSentEvents,
    count_frames,
    spread,
    watch_request,
)
from bench.stream_server import transition
from durachart.rpc.gen import state_machine_service_pb2 as pb
from durachart.rpc.gen import token_service_pb2 as token_pb
from durachart.rpc.gen import types_pb2 as types
from durachart_client import Client

PEERS = ROOT / ".venv-bench" / "bin" / "python"
INSTANCES = 1_000
AHEAD = 128
"""Events that may be under way before the transitions of those before are read."""
TOGETHER = 64
"""Events that are sent in one message, at least."""
WARM_UP_S = 0.3
PATIENCE_S = 60.0


class Rate(NamedTuple):
    """How much was delivered."""

    per_second: float
    server_us: float
    client_cpu: float


def measured(
    server: Server, count: Callable[[], int], run_for: Callable[[float], None], seconds: float
) -> Rate:
    """What is delivered within some seconds, after a moment."""
    run_for(WARM_UP_S)
    before, cpu, own_cpu, began = count(), server.cpu_s(), time.process_time(), time.perf_counter()
    run_for(seconds)
    took, delivered = time.perf_counter() - began, count() - before
    if not delivered:
        raise SystemExit("nothing was delivered")
    used = server.cpu_s() - cpu
    return Rate(delivered / took, used / delivered * 1e6, (time.process_time() - own_cpu) / took)


def newest_token(server: Server) -> str:
    """Where a watch that begins now is."""
    found: list[str] = []

    def take(message: bytes) -> None:
        found.extend(frame.resume_token for frame in pb.WatchStateResponse.FromString(message).frames[-1:])

    poll = Poll()
    (stream,) = spread(server.address, WATCH, 1)
    stream.open(watch_request(instance_id(0)), take)
    stream.flush()
    poll.add(stream)
    poll.run(lambda: len(found) >= 2, PATIENCE_S)
    poll.close()
    return found[-1]


# --- transitions ----------------------------------------------------------------------------------------


def fan_out(server: Server, watchers: int, seconds: float, *, of_machine: bool, seed: int) -> Rate:
    """Transitions of one instance, or of a machine's many, to watchers that keep up."""
    poll = Poll()
    delivered = 0

    def take(message: bytes) -> None:
        nonlocal delivered
        delivered += count_frames(message)

    watched = "" if of_machine else instance_id(0)
    # From now on, so that what is measured does not begin with snapshots.
    request = watch_request(watched, resume_token=newest_token(server))
    connections = spread(server.address, WATCH, watchers)
    for number in range(watchers):
        connections[number % len(connections)].open(request, take)
    for connection in connections:
        connection.flush()
        poll.add(connection)
    opening = watchers  # each is told that it is up to date
    poll.run(lambda: delivered >= opening, PATIENCE_S)
    events = Events(server.address, INSTANCES if of_machine else 1, seed)
    poll.add(events)

    def send() -> None:
        room = AHEAD + (delivered - opening) // watchers - events.sent
        if room >= TOGETHER:
            events.send(room)

    try:
        return measured(server, lambda: delivered, lambda span: poll.run_for(span, send), seconds)
    finally:
        poll.close()


def server_sent(server: Server, target: str, readers: int, seconds: float) -> Rate:
    """Events to so many readers of a path."""
    poll = Poll()
    delivered = 0

    def take(count: int) -> None:
        nonlocal delivered
        delivered += count

    for _ in range(readers):
        poll.add(ServerSentEvents(server.address, target, take))
    try:
        poll.run(lambda: delivered > 2 * readers, PATIENCE_S)
        return measured(server, lambda: delivered, poll.run_for, seconds)
    finally:
        poll.close()


# --- words of generations -------------------------------------------------------------------------------

WORDS = 1_000_000
"""Of each generation; it is stopped long before."""


def canvases(server: Server, count: int) -> list[str]:
    """Canvases whose generations run; whoever calls this stops them."""

    async def begin() -> list[str]:
        names = [f"c-{uuid.uuid4().hex}" for _ in range(count)]
        async with Client(server.address) as client:
            for name in names:
                prompt = {"prompt": str(WORDS)}
                await client.send("canvas", name, "SUBMIT", prompt, create_if_missing=True, view="basic")
        return names

    return asyncio.run(begin())


def stop(server: Server, names: list[str]) -> None:
    """Stop the generations of canvases."""

    async def end() -> None:
        async with Client(server.address) as client:
            for name in names:
                await client.stop_generation("canvas", name)

    asyncio.run(end())


def words(server: Server, generations: int, seconds: float, *, in_one: bool) -> Rate:
    """Words to a viewer for each generation, or to one watch of the machine with all text."""
    names = canvases(server, generations)
    poll = Poll()
    delivered = 0

    def take(message: bytes) -> None:
        nonlocal delivered
        for one in token_pb.WatchTokensResponse.FromString(message).frames:
            delivered += one.text.count(" ")

    def take_woven(message: bytes) -> None:
        nonlocal delivered
        for one in pb.WatchStateResponse.FromString(message).frames:
            for text in one.tokens.frames:
                delivered += text.text.count(" ")

    connections = spread(server.address, WATCH if in_one else WATCH_TOKENS, 1 if in_one else generations)
    if in_one:
        connections[0].open(watch_request(machine_id="canvas", include_tokens=True), take_woven)
    else:
        for number, name in enumerate(names):
            instance = types.InstanceRef(machine_id="canvas", instance_id=name)
            request = token_pb.WatchTokensRequest(instance=instance)
            connections[number % len(connections)].open(request.SerializeToString(), take)
    for connection in connections:
        connection.flush()
        poll.add(connection)
    try:
        poll.run(lambda: delivered > generations, PATIENCE_S)
        return measured(server, lambda: delivered, poll.run_for, seconds)
    finally:
        poll.close()
        stop(server, names)


# --- how long it takes ----------------------------------------------------------------------------------


class Late(NamedTuple):
    """How late what was stamped arrived, in microseconds."""

    p50_us: float
    p99_us: float


def late(latencies_ns: list[int]) -> Late:
    """The figures of all latencies."""
    if len(latencies_ns) < 100:
        raise SystemExit("too little arrived")
    ordered = sorted(latencies_ns)
    return Late(ordered[len(ordered) // 2] / 1e3, ordered[len(ordered) * 99 // 100] / 1e3)


def arrivals(
    server: Server,
    requests: list[bytes],
    path: str,
    stamps: Callable[[bytes], list[int]],
    seconds: float,
    events: Events | None = None,
    rate: float = 0.0,
) -> Late:
    """How late what these streams bring is, after a moment; ``events`` are sent one by one at a rate."""
    poll = Poll()
    found: list[int] = []

    def take(message: bytes) -> None:
        now = time.monotonic_ns()
        found.extend(now - stamp for stamp in stamps(message))

    connections = spread(server.address, path, len(requests))
    for number, request in enumerate(requests):
        connections[number % len(connections)].open(request, take)
    for connection in connections:
        connection.flush()
        poll.add(connection)
    began = time.perf_counter()

    def send() -> None:
        if events is not None and (due := int((time.perf_counter() - began) * rate) - events.sent) > 0:
            events.send(due)

    if events is not None:
        poll.add(events)
    step = None if events is None else send
    try:
        poll.run_for(WARM_UP_S + 0.5, step)
        found.clear()
        poll.run_for(seconds, step)
        return late(found)
    finally:
        poll.close()


def transition_stamps(message: bytes) -> list[int]:
    """When the transitions of a message were committed."""
    frames = pb.WatchStateResponse.FromString(message).frames
    return [int(one.transition.entry.traceparent) for one in frames if one.HasField("transition")]


def word_stamps(message: bytes) -> list[int]:
    """When the words of a message were made."""
    frames = token_pb.WatchTokensResponse.FromString(message).frames
    return [int(stamp) for one in frames for stamp in one.text.split()]


def bare_transitions(server: Server, watchers: int, rate: float, seconds: float) -> Late:
    """Of the bare server, at a rate."""
    request = watch_request(machine_id=f"transitions {rate:g}")
    return arrivals(server, [request] * watchers, WATCH, transition_stamps, seconds)


def transitions(server: Server, watchers: int, rate: float, seconds: float, seed: int) -> Late:
    """Of Durachart at the same rate, whose events are sent one by one."""
    request = watch_request(instance_id(0), resume_token=newest_token(server))
    events = Events(server.address, 1, seed)
    return arrivals(server, [request] * watchers, WATCH, transition_stamps, seconds, events, rate)


def bare_words(server: Server, generations: int, seconds: float) -> Late:
    """Of the bare server, 50 words a second for each generation."""
    request = watch_request(machine_id="tokens 50")
    return arrivals(server, [request] * generations, WATCH, word_stamps, seconds)


def late_words(server: Server, generations: int, seconds: float) -> Late:
    """Of Durachart."""
    names = canvases(server, generations)
    requests = [
        token_pb.WatchTokensRequest(
            instance=types.InstanceRef(machine_id="canvas", instance_id=name)
        ).SerializeToString()
        for name in names
    ]
    try:
        return arrivals(server, requests, WATCH_TOKENS, word_stamps, seconds)
    finally:
        stop(server, names)


# --- all of it ------------------------------------------------------------------------------------------


def sse_server() -> Server:
    """What a team would write; begun anew each time, as it keeps readers that left for a while."""
    return Server([str(PEERS), "bench/sse_server.py", json.dumps(MessageToDict(transition(1)))])


def stamped(directory: Path, generations: int = 64) -> Server:
    """Durachart with a clock, on a file of its own."""
    machines = directory / "machines"
    shutil.copytree(MACHINES / "payment", machines / "payment")
    shutil.copytree(ROOT / "machines" / "canvas", machines / "canvas")
    options = ["--listen", "127.0.0.1:0", "--http", "off", "--log-level", "warning"]
    options += ["--db", f"sqlite:///{directory}/durachart.db", "--llm-token-delay-ms", "20"]
    options += ["--concurrency", f"llm.generate={generations}"]
    return python("bench.stamped_server", "serve", *options, "--machines", str(machines))


class Bench:
    """The servers, and what was measured of them, by case."""

    def __init__(self, directory: Path, stack: ExitStack, generations: int) -> None:
        self._ours = stamped(directory, generations)
        stack.callback(self._ours.stop)
        self._bare = python("bench.stream_server")
        stack.callback(self._bare.stop)
        make_load(Run(self._ours.address, create=True, instances=INSTANCES), 1)
        self._seed = 1
        self.rates: dict[str, list[Rate]] = {}
        self.lates: dict[str, list[Late]] = {}

    def round(self, seconds: float, generations: int) -> None:
        """Measure every case once."""
        for watchers in FANS:
            for of_machine in (False, True):
                self._seed += 1
                name = f"{watchers:,} {'of a machine' if of_machine else 'of one instance'}"
                rate = fan_out(self._ours, watchers, seconds, of_machine=of_machine, seed=self._seed)
                self._keep(name, rate)
            self._keep(f"{watchers:,} {SSE}", self._sse(f"/transitions?of={watchers}", watchers, seconds))
        self._keep("words, a viewer each", words(self._ours, generations, seconds, in_one=False))
        self._keep("words, one watch of all", words(self._ours, generations, seconds, in_one=True))
        self._keep(f"words, {SSE}", self._sse("/tokens?delay_ms=20", generations, seconds))
        for watchers, rate in HALF_LOAD:
            self._seed += 1
            bare = bare_transitions(self._bare, watchers, rate, seconds)
            own = transitions(self._ours, watchers, rate, seconds, self._seed)
            self.lates.setdefault(f"{rate:g}/s to {watchers}, bare", []).append(bare)
            self.lates.setdefault(f"{rate:g}/s to {watchers}", []).append(own)
        self.lates.setdefault("words, bare", []).append(bare_words(self._bare, generations, seconds))
        self.lates.setdefault("words", []).append(late_words(self._ours, generations, seconds))

    def _keep(self, name: str, rate: Rate) -> None:
        self.rates.setdefault(name, []).append(rate)

    @staticmethod
    def _sse(target: str, readers: int, seconds: float) -> Rate:
        server = sse_server()
        try:
            return server_sent(server, target, readers, seconds)
        finally:
            server.stop()

    def compared(self) -> list[tuple[str, list[float], list[float], str]]:
        """Each ratio: of what, its values by the clock and by processor time in all rounds, and its goal."""
        found = []
        for one, other, goal in RATES:
            pairs = list(zip(self.rates[one], self.rates[other], strict=True))
            clock = sorted(ours.per_second / theirs.per_second for ours, theirs in pairs)
            cpu = sorted(theirs.server_us / ours.server_us for ours, theirs in pairs)
            found.append((f"{one} / {other}", clock, cpu, goal))
        for name, figure, goal in LATES:
            pairs_late = zip(self.lates[name], self.lates[f"{name}, bare"], strict=True)
            ratios = sorted(getattr(own, figure) / getattr(bare, figure) for own, bare in pairs_late)
            found.append((f"{name}: {figure[:3]} / bare stream's", ratios, [], goal))
        return found

    def show(self) -> None:
        """Print what was measured, and its ratios."""
        print(f"{'':<40}{'per second':>12} {'server us':>10} {'reader CPU':>11}")
        for name, rates in self.rates.items():
            figures = [statistics.median(each) for each in zip(*rates, strict=True)]
            print(f"{name:<40}{figures[0]:>12,.0f} {figures[1]:>10.1f} {figures[2]:>11.2f}")
        print(f"\n{'':<40}{'p50 us':>12} {'p99 us':>10}")
        for name, lates in self.lates.items():
            figures = [statistics.median(each) for each in zip(*lates, strict=True)]
            print(f"{name:<40}{figures[0]:>12,.0f} {figures[1]:>10,.0f}")
        print(
            f"\n{'ratio, median of the rounds (lowest to highest)':<62}"
            f"{'by the clock':>20}{'by CPU':>20}  goal"
        )
        for name, clock, cpu, goal in self.compared():
            print(f"{name:<62}{_spread(clock):>20}{_spread(cpu) if cpu else '':>20}  {goal}")


SSE = "server-sent events"
FANS = (1, 100, 1_000)
# Half of what a bare stream server brings to so many on a machine with two cores.
HALF_LOAD = ((1, 1_000.0), (100, 50.0))
RATES = (
    ("1 of one instance", f"1 {SSE}", ""),
    ("100 of one instance", f"100 {SSE}", ">= 1.5"),
    ("100 of a machine", f"100 {SSE}", ">= 1.5"),
    ("1,000 of one instance", f"1,000 {SSE}", ""),
    ("1,000 of a machine", f"1,000 {SSE}", ""),
    ("words, a viewer each", f"words, {SSE}", ">= 1"),
    ("words, one watch of all", f"words, {SSE}", ">= 1"),
)
LATES = (("1000/s to 1", "p99_us", "<= 3"), ("50/s to 100", "p99_us", "<= 3"), ("words", "p50_us", "<= 2"))


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=1.5, help="of one case (default 1.5)")
    arguments.add_argument("--rounds", type=int, default=5, help="(default 5)")
    arguments.add_argument("--generations", type=int, default=100, help="(default 100)")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="durachart-bench-") as directory, ExitStack() as stack:
        bench = Bench(Path(directory), stack, given.generations)
        for _ in range(given.rounds):
            bench.round(given.seconds, given.generations)
        bench.show()


if __name__ == "__main__":
    main()
