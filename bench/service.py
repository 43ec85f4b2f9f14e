"""The whole service, over gRPC and with every answer on disk, against what it is built on.

``python -m bench.service`` runs, in turns, so that a busy machine disturbs all alike:

- a bare grpc.aio server, which answers without doing anything: the ceiling;
- ``durachart serve`` on SQLite: 64 callers on 1,000 instances with and without request ids, in view BASIC and
  FULL, with deadlines, on one instance; streams of events; one caller; and the same unary calls and streams
  by gRPC's own server, ``--grpc-server grpcio``;
- the design of a transaction per event (`bench.baseline`);
- ``durachart serve`` on PostgreSQL, where one can be started;
- one append of 4 KiB and fsync, on the same file system.

Servers and load are processes of their own. A ratio compares two cases of the same round; the median of all
rounds is shown, with the lowest and the highest. The servers' processor time for an event, of all their
threads, is what a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from bench.load import Load
from bench.servers import LoadProcess, Server, durachart, python
from durachart.rpc.gen import state_machine_service_pb2 as pb

STREAMS = "StreamEvents" in pb.DESCRIPTOR.services_by_name["StateMachineService"].methods_by_name
POSTGRES = find_spec("durachart.store.postgres") is not None


class Case(NamedTuple):
    """One line of the table.

    Attributes:
        name: What it is called.
        server: Whom it asks.
        against: The case it is compared with; empty: none.
        goal: The ratio to reach; 0: none is set.
        options: Of the load.
    """

    name: str
    server: str
    against: str
    goal: float
    options: dict[str, Any]


class Measured(NamedTuple):
    """One case in one round."""

    load: Load
    server_us: float

    @property
    def rate(self) -> float:
        return self.load.calls / self.load.seconds


ECHO, SPREAD, BASELINE = "bare grpc.aio echo", "SendEvent", "a transaction per event"
ON_GRPCIO, STREAM, STREAM_ON_GRPCIO = "SendEvent by grpcio", "StreamEvents", "StreamEvents by grpcio"
ECHO_ONE, ONE, POSTGRES_CASE = "echo, one caller", "SendEvent, one caller", "SendEvent on PostgreSQL"
CASES = [
    Case(ECHO, "echo", "", 0, {}),
    Case(SPREAD, "sqlite", ECHO, 0.7, {}),
    Case("  without request ids", "sqlite", ECHO, 0, {"request_ids": False}),
    Case("  view FULL", "sqlite", ECHO, 0, {"view": "FULL"}),
    Case("  with deadlines", "sqlite", ECHO, 0, {"deadline": True}),
    Case("  on one instance", "sqlite", SPREAD, 0.9, {"instances": 1}),
    Case(STREAM, "sqlite", SPREAD, 2.5, {"mode": "stream", "callers": 256}),
    Case("  one event a message", "sqlite", SPREAD, 0, {"mode": "singly", "callers": 256}),
    Case(ON_GRPCIO, "grpcio", ECHO, 0, {}),
    Case(STREAM_ON_GRPCIO, "grpcio", ON_GRPCIO, 2.5, {"mode": "stream", "callers": 256}),
    Case(POSTGRES_CASE, "postgres", SPREAD, 0.8, {}),
    Case(BASELINE, "baseline", "", 0, {}),
    Case(ECHO_ONE, "echo", "", 0, {"callers": 1}),
    Case(ONE, "sqlite", "", 0, {"callers": 1}),
]


def fsync_us(directory: Path, times: int = 200) -> float:
    """The median time of an append of one page and its fsync."""
    path = directory / "appended"
    took = []
    with path.open("ab", buffering=0) as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            took.append((time.perf_counter() - began) * 1e6)
    path.unlink()
    return statistics.median(took)


class Bench:
    """The servers, and what was measured of them."""

    def __init__(self, directory: Path, stack: ExitStack, instances: int) -> None:
        self._directory = directory
        self._instances = instances
        self._load = LoadProcess()
        stack.callback(self._load.stop)
        starts: dict[str, Callable[[], Server]] = {
            "echo": lambda: python("bench.echo_server"),
            "sqlite": lambda: durachart(str(directory / "durachart.db")),
            "grpcio": lambda: durachart(str(directory / "grpcio.db"), "--grpc-server", "grpcio"),
            "baseline": lambda: python("bench.baseline", str(directory / "baseline.db")),
        }
        if POSTGRES:
            starts["postgres"] = lambda: durachart(_postgres(stack))
        self._servers: dict[str, Server] = {}
        for name, start in starts.items():
            server = self._servers[name] = start()
            stack.callback(server.stop)
            self._load.run(server.address, create=True, instances=instances)
        self.cases = [
            case for case in CASES if case.server in self._servers and (STREAMS or "mode" not in case.options)
        ]
        self.rounds: list[dict[str, Measured]] = []
        self.fsyncs: list[float] = []

    def round(self, seconds: float, *, keep: bool = True) -> None:
        """Measure every case once; every other round backwards."""
        measured: dict[str, Measured] = {}
        self.fsyncs.append(fsync_us(self._directory))
        for case in self.cases if len(self.rounds) % 2 else reversed(self.cases):
            server = self._servers[case.server]
            before = server.cpu_s()
            load = self._load.run(
                server.address, seconds=seconds, **{"instances": self._instances, **case.options}
            )
            measured[case.name] = Measured(load, (server.cpu_s() - before) / load.calls * 1e6)
        if keep:
            self.rounds.append(measured)

    def median(self, name: str, what: Callable[[Measured], float]) -> float:
        return statistics.median(what(measured[name]) for measured in self.rounds)

    def ratios(self, one: str, other: str) -> list[float]:
        return sorted(measured[one].rate / measured[other].rate for measured in self.rounds)

    def cpu_ratio(self, one: str, other: str) -> float:
        return self.median(other, _server_us) / self.median(one, _server_us)

    def latency_ratios(self) -> list[float]:
        """One caller's median answer against the echo's and one fsync."""
        return sorted(
            measured[ONE].load.p50_us / (measured[ECHO_ONE].load.p50_us + fsync)
            for measured, fsync in zip(self.rounds, self.fsyncs, strict=True)
        )


def _server_us(measured: Measured) -> float:
    return measured.server_us


def _postgres(stack: ExitStack) -> str:
    """The URL of a database on a PostgreSQL that was started for it."""
    from tests.postgres import postgres

    server = stack.enter_context(postgres())
    return server.url(asyncio.run(server.create_database()))


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


class Ratio(NamedTuple):
    """A comparison of two cases.

    Attributes:
        name: What is compared.
        values: Of each round, sorted.
        cpu: The same by the servers' processor time for a call, the median; 0: it says nothing.
        goal: What it should be; empty: none is set.
    """

    name: str
    values: list[float]
    cpu: float
    goal: str


def compared(bench: Bench) -> list[Ratio]:
    """Every comparison there is."""
    pairs = [
        (case.name, case.against, f">= {case.goal}" if case.goal else "")
        for case in bench.cases
        if case.against
    ]
    pairs.append((STREAM, ECHO, ""))
    pairs.append((SPREAD, BASELINE, ">= 10"))
    found = []
    for name, against, goal in pairs:
        # PostgreSQL's own processes are not counted.
        by_cpu = 0.0 if name == POSTGRES_CASE else bench.cpu_ratio(name, against)
        found.append(Ratio(f"{name.strip()} / {against}", bench.ratios(name, against), by_cpu, goal))
    found.append(Ratio("one caller: p50 / (echo's p50 + one fsync)", bench.latency_ratios(), 0.0, "<= 1.3"))
    return found


def show(bench: Bench) -> None:
    """Print two tables."""
    print(f"{'':<26}{'calls/s':>9} {'server us':>10} {'p50 ms':>8} {'p99 ms':>8} {'load CPU':>9}")
    for case in bench.cases:
        median = partial(bench.median, case.name)
        print(
            f"{case.name:<26}"
            f"{median(lambda each: each.rate):>9,.0f} "
            f"{median(lambda each: each.server_us):>10.0f} "
            f"{median(lambda each: each.load.p50_us / 1e3):>8.2f} "
            f"{median(lambda each: each.load.p99_us / 1e3):>8.2f} "
            f"{median(lambda each: each.load.client_cpu):>9.2f}"
        )
    print(f"{'append and fsync':<26}{'':>20} {statistics.median(bench.fsyncs) / 1e3:>8.2f}\n")
    print(f"{'ratio, median of the rounds (lowest to highest)':<58}{'':>22} {'by CPU':>7}  goal")
    for name, values, cpu, goal in compared(bench):
        print(f"{name:<58}{_spread(values):>22} {f'{cpu:.2f}' if cpu else '':>7}  {goal}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument(
        "--seconds", type=float, default=0.6, help="of one case in one round (default 0.6)"
    )
    arguments.add_argument("--rounds", type=int, default=12, help="(default 12)")
    arguments.add_argument("--instances", type=int, default=1_000, help="(default 1,000)")
    arguments.add_argument("--json", action="store_true", help="print JSON instead of tables")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="durachart-bench-") as directory, ExitStack() as stack:
        bench = Bench(Path(directory), stack, given.instances)
        bench.round(0.3, keep=False)
        bench.fsyncs.clear()
        for _ in range(given.rounds):
            bench.round(given.seconds)
        if given.json:
            rounds = [
                {
                    name: {**each.load._asdict(), "server_us": each.server_us}
                    for name, each in measured.items()
                }
                for measured in bench.rounds
            ]
            ratios = {each.name: {"rounds": each.values, "cpu": each.cpu} for each in compared(bench)}
            print(json.dumps({"ratios": ratios, "fsync_us": bench.fsyncs, "rounds": rounds}))
        else:
            show(bench)


if __name__ == "__main__":
    main()
