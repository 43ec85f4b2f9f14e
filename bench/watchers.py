"""What very many watchers cost: opened at once, beside readers that stall, and leaving without a word.

``python -m bench.watchers`` prints, each beside the same on a bare grpc.aio server (`bench.stream_server`):

- 10,000 watches opened at once by the Python client, in a few processes: how long until all are open, how
  many were lost, and the server's memory for each;
- 100 watchers of an instance, and the same beside 100 connections that ask for everything and read nothing:
  how late transitions come, and how the server's memory grows meanwhile;
- streams of which one in five is cancelled: what the server holds more of afterwards, for 10,000 cancelled
  ones: memory, tasks, objects, file handles.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import uvloop

from bench.insight import ask
from bench.load import Run, instance_id
from bench.load import measure as make_load
from bench.servers import ROOT, Server, python
from bench.stream_readers import WATCH, Events, Poll, Stalled, Streams, watch_request
from bench.watching import Late, arrivals, newest_token, stamped, transition_stamps
from durachart_client import Client, Synced, Watch

PROCESSES = 4
PATIENCE_S = 120.0


# --- opened at once -----------------------------------------------------------------------------------------


class Opened(NamedTuple):
    """How opening went.

    Attributes:
        seconds: Until the last was open.
        lost: How many never were.
        repeated: How many attempts the client had to make again.
        each_kib: The server's memory for one, in KiB.
    """

    seconds: float
    lost: int
    repeated: int
    each_kib: float


async def open_watches(address: str, count: int, machine_id: str) -> None:
    """What each client process does: open, say so, and hold until told to end."""
    repeated = 0

    def note(*_: object) -> None:
        nonlocal repeated
        repeated += 1

    async def opened(watch: Watch) -> bool:
        async for event in watch:
            if isinstance(event, Synced):
                return True
        return False

    async with Client(address) as client:
        await asyncio.to_thread(sys.stdin.readline)
        names = [instance_id(number % 1_000) for number in range(count)] if machine_id == "payment" else []
        watches = [client.watch(machine_id, name, on_interrupt=note) for name in names] or [
            client.watch(machine_id, on_interrupt=note) for _ in range(count)
        ]
        done = await asyncio.gather(*(opened(watch) for watch in watches), return_exceptions=True)
        for error in {repr(one) for one in done if one is not True}:
            print(f"a watch was lost: {error}", file=sys.stderr)
        print(json.dumps([sum(one is True for one in done), repeated]), flush=True)
        await asyncio.to_thread(sys.stdin.readline)


def open_at_once(server: Server, count: int, machine_id: str) -> Opened:
    """Open so many by a few processes in the same instant."""
    share = str(count // PROCESSES)
    command = [sys.executable, "-m", "bench.watchers", "--open", server.address, share, machine_id]
    clients = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    try:
        time.sleep(2.0)  # until all have imported what they need; what is measured begins with their word
        before, began = server.resident_mib(), time.perf_counter()
        for client in clients:
            assert client.stdin is not None
            client.stdin.write("open\n")
            client.stdin.flush()
        answers = []
        for client in clients:
            assert client.stdout is not None
            answers.append(json.loads(client.stdout.readline()))
        took = time.perf_counter() - began
        each_kib = (server.resident_mib() - before) * 1024 / count
    finally:
        for client in clients:
            client.communicate("end\n", timeout=PATIENCE_S)
    return Opened(took, count - sum(one[0] for one in answers), sum(one[1] for one in answers), each_kib)


# --- beside readers that stall ------------------------------------------------------------------------------


def beside_stalled(
    server: Server, watchers: int, stalled: int, rate: float, seconds: float
) -> tuple[Late, float]:
    """How late transitions come to those who read, and by how much memory the server grows."""
    request = watch_request(instance_id(0), resume_token=newest_token(server))
    readers = [Stalled(server.address, request) for _ in range(stalled)]
    before = server.resident_mib()
    try:
        events = Events(server.address, 1, int(time.time()))
        late = arrivals(server, [request] * watchers, WATCH, transition_stamps, seconds, events, rate)
        return late, server.resident_mib() - before
    finally:
        for reader in readers:
            reader.socket.close()


# --- cancelled ----------------------------------------------------------------------------------------------


class Grown(NamedTuple):
    """What a server holds more of, for 10,000 cancelled streams."""

    memory_mib: float
    tasks: float
    objects: float
    files: float


def cancelled(server: Server, insight: Path, request: bytes, ending: bytes, streams: int) -> Grown:
    """Open streams one after the other, and cancel every fifth when it has brought something."""
    poll = Poll()
    connection = Streams(server.address, WATCH)
    poll.add(connection)

    left = 0

    def open_one(cancel: bool) -> None:
        def take(_: bytes) -> None:
            nonlocal left
            if cancel:
                connection.cancel(stream)
                left += 1

        stream = connection.open(request if cancel else ending, take)

    def run(count: int) -> None:
        target = left + connection.ended
        for _ in range(count // 100):
            for number in range(100):
                open_one(number % 5 == 0)
            connection.flush()
            target += 100
            poll.run(partial(lambda goal: left + connection.ended >= goal, target), PATIENCE_S)
        poll.run_for(0.5)

    run(streams // 5)
    before, before_mib = ask(server.pid, insight), server.resident_mib()
    run(streams)
    after, after_mib = ask(server.pid, insight), server.resident_mib()
    poll.close()
    scale = 10_000 / (streams / 5)
    grown = [(after[name] - before[name]) * scale for name in ("tasks", "objects", "files")]
    return Grown((after_mib - before_mib) * scale, *grown)


# --- all of it ----------------------------------------------------------------------------------------------


def measure(directory: Path, stack: ExitStack, given: argparse.Namespace) -> None:
    """Measure everything, and print it as it comes."""
    insight = directory / "insight"
    os.environ["BENCH_INSIGHT"] = str(insight)
    ours, bare = stamped(directory), python("bench.stream_server")
    stack.callback(ours.stop)
    stack.callback(bare.stop)
    make_load(Run(ours.address, create=True), 1)
    # What a server allocates for its first streams is not what each of them costs.
    for server, machine in ((bare, "quiet"), (ours, "payment")):
        open_at_once(server, 400, machine)

    bare_open, own_open = (
        open_at_once(bare, given.watchers, "quiet"),
        open_at_once(ours, given.watchers, "payment"),
    )
    print(f"{given.watchers:,} opened at once   seconds   lost   made again   KiB each")
    for name, opened in (("bare grpc.aio", bare_open), ("Durachart", own_open)):
        figures = f"{opened.seconds:>9.1f} {opened.lost:>6} {opened.repeated:>12} {opened.each_kib:>10.1f}"
        print(f"{name:<24}{figures}")
    print(f"memory: {own_open.each_kib / bare_open.each_kib:.2f} of the bare server's, goal <= 1.3\n")

    alone, grown_alone = beside_stalled(ours, 100, 0, 50, given.seconds)
    beside, grown = beside_stalled(ours, 100, 100, 50, given.seconds)
    print(f"{'50 transitions/s to 100':<34}{'p50 us':>9} {'p99 us':>9} {'MiB more':>9}")
    print(f"{'alone':<34}{alone.p50_us:>9,.0f} {alone.p99_us:>9,.0f} {grown_alone:>9.1f}")
    print(f"{'beside 100 that read nothing':<34}{beside.p50_us:>9,.0f} {beside.p99_us:>9,.0f} {grown:>9.1f}")
    print(f"p99: {beside.p99_us / alone.p99_us:.2f} of that alone, goal < 2\n")

    print(f"{'for 10,000 cancelled':<24}{'MiB':>8} {'tasks':>8} {'objects':>9} {'files':>7}")
    quiet, end = watch_request(machine_id="quiet"), watch_request(machine_id="end")
    for name, server, request, ending in (
        ("bare grpc.aio", bare, quiet, end),
        # One that ends by itself: its token was given out by nobody.
        ("Durachart", ours, watch_request(instance_id(0)), watch_request(instance_id(0), resume_token="-")),
    ):
        held = cancelled(server, insight, request, ending, given.streams)
        print(f"{name:<24}{held.memory_mib:>8.1f} {held.tasks:>8.0f} {held.objects:>9.0f} {held.files:>7.0f}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--watchers", type=int, default=10_000, help="opened at once (default 10,000)")
    arguments.add_argument("--seconds", type=float, default=10.0, help="beside stalled readers (default 10)")
    arguments.add_argument(
        "--streams", type=int, default=50_000, help="a fifth is cancelled (default 50,000)"
    )
    arguments.add_argument("--open", nargs=3, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.open:
        address, count, machine_id = given.open
        uvloop.run(open_watches(address, int(count), machine_id))
        return
    with tempfile.TemporaryDirectory(prefix="durachart-bench-") as directory, ExitStack() as stack:
        measure(Path(directory), stack, given)


if __name__ == "__main__":
    main()
