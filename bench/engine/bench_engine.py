"""Events per second of the interpreter, against XState and the Python libraries, in one interleaved run.

``python -m bench.engine.bench_engine`` measures whole macrosteps (selection, guards, assigns, the trace of
effects; without the list of allowed events) on a flat machine of five states and on a nested and parallel one
of twenty. Every contender is a process of its own; rounds go through all of them in turn, so that a busy
machine disturbs all alike. What counts is the median of each round's ratio to XState's ``actor.send``; the
ratio of the best rounds stands beside it, because a busy machine spares one process and slows another.

The Python libraries are measured where they are installed: ``--peers`` names the interpreter of an
environment that has requirements/bench.txt; ``make bench`` makes one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from bench.engine.machines import machine_named

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BASE = "xstate actor.send"
NODE = (BASE, "xstate transition()")
OURS = ("durachart (CEL)", "durachart (Python)")
PEERS = ("transitions", "python-statemachine", "sismic", "xstate-statemachine")
SIZES = (10, 100, 1_000, 10_000)
CHUNK_SECONDS = 0.15


class Worker:
    """A process that runs events when asked."""

    def __init__(self, command: list[str]) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "server"), str(ROOT)])}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        )
        self.counts: dict[tuple[str, str], int] = {}

    def run(self, contender: str, name: str, count: int) -> dict[str, Any]:
        machine, events = machine_named(name)
        asked = {"contender": contender, "name": name, "machine": machine, "events": events, "count": count}
        requests: IO[str] | None = self.process.stdin
        answers: IO[str] | None = self.process.stdout
        assert requests is not None
        assert answers is not None
        requests.write(json.dumps(asked) + "\n")
        requests.flush()
        answered: dict[str, Any] = json.loads(answers.readline())
        return answered

    def speed(self, contender: str, name: str) -> float:
        """Events per second over a chunk of about ``CHUNK_SECONDS``."""
        key = (contender, name)
        if key not in self.counts:
            self.counts[key] = self._calibrate(contender, name)
        count = self.counts[key]
        return count / float(self.run(contender, name, count)["seconds"])

    def _calibrate(self, contender: str, name: str) -> int:
        _, events = machine_named(name)
        count = len(events)
        while True:
            answered = self.run(contender, name, count)
            if "error" in answered:
                raise RuntimeError(f"{contender} cannot run {name}: {answered['error']}")
            if answered["seconds"] > CHUNK_SECONDS / 4:
                rounds = CHUNK_SECONDS / answered["seconds"] * count / len(events)
                return max(1, round(rounds)) * len(events)
            count *= 4

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def measure(workers: dict[str, Worker], names: list[str], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Speeds by machine and contender, one per round."""
    speeds: dict[str, dict[str, list[float]]] = {name: {key: [] for key in workers} for name in names}
    for number in range(rounds + 1):
        for name in names:
            for contender, worker in workers.items():
                speed = worker.speed(contender, name)
                if number:  # the first round warms up
                    speeds[name][contender].append(speed)
    return speeds


def show(name: str, speeds: dict[str, list[float]]) -> None:
    print(f"\n{name + ' machine':<26}{'events/s':>12}{'× actor.send':>14}{'best to best':>14}")
    base = speeds.get(BASE)
    for contender, found in speeds.items():
        ratios = ""
        if base is not None:
            ratios = f"{statistics.median(map(_divide, found, base)):>14.2f}{max(found) / max(base):>14.2f}"
        print(f"  {contender:<24}{statistics.median(found):>12,.0f}{ratios}")


def _divide(one: float, other: float) -> float:
    return one / other


def scaling(worker: Worker, rounds: int) -> None:
    """What an event costs as the machine grows, relative to the smallest."""
    print("\nstates            10       100     1,000    10,000   (time per event × that at 10)")
    for kind, meaning in (("stay", "in two states"), ("walk", "through all")):
        names = [f"{kind}-{size}" for size in SIZES]
        for name, size in zip(names, SIZES, strict=True):
            worker.run(OURS[0], name, 2 * size)  # what a state costs the first time is another question
        found: dict[str, list[float]] = {name: [] for name in names}
        for number in range(rounds + 1):
            for name in names:
                speed = worker.speed(OURS[0], name)
                if number:
                    found[name].append(speed)
        ratios = [statistics.median(map(_divide, found[names[0]], found[name])) for name in names]
        print(f"  {meaning:<14}" + "".join(f"{ratio:>6.2f}    " for ratio in ratios))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.engine.bench_engine", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--xstate", type=Path, default=ROOT / "tests" / "node" / "node_modules" / "xstate")
    parser.add_argument(
        "--peers", type=Path, default=None, help="a Python interpreter that has the libraries"
    )
    options = parser.parse_args()
    ours = Worker([sys.executable, "-m", "bench.engine.python_speed"])
    workers: dict[str, Worker] = {}
    node = None
    if options.xstate.is_dir():
        node = Worker(["node", str(HERE / "xstate_speed.mjs"), str(options.xstate)])
        workers |= dict.fromkeys(NODE, node)
    else:
        print(f"npm's xstate is not at {options.xstate}: no comparison with it", file=sys.stderr)
    workers |= dict.fromkeys(OURS, ours)
    peers = None
    if options.peers is not None:
        peers = Worker([str(options.peers), "-m", "bench.engine.python_speed"])
        workers |= dict.fromkeys(PEERS, peers)
    for name, speeds in measure(workers, ["flat", "nested"], options.rounds).items():
        show(name, speeds)
    scaling(ours, options.rounds)
    for worker in (ours, node, peers):
        if worker is not None:
            worker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
