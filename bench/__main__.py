"""Every benchmark, one after the other: ``python -m bench [NAME...]``; ``python -m bench --list`` names them.

What else is given goes to the benchmark, if it is one: ``python -m bench service --rounds 10``.

Each prints ratios that it measured in one interleaved run. ``bench/README.md`` says what they mean.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / ".venv-bench" / "bin" / "python"

BENCHES = {
    "engine": ["-m", "bench.engine.bench_engine", "--peers", str(PEERS)],
    "expressions": ["-m", "bench.expressions.bench_expressions"],
    "event-path": ["-m", "bench.event_path"],
    "fronts": ["-m", "bench.fronts"],
    "service": ["-m", "bench.service"],
    "growth": ["-m", "bench.growth"],
    "watching": ["-m", "bench.watching"],
    "watchers": ["-m", "bench.watchers"],
}


def main() -> int:
    """Run what was asked for; the exit code is 1 when one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(BENCHES)}; none: all")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and end")
    options, more = parser.parse_known_args()
    if options.list:
        print("\n".join(BENCHES))
        return 0
    unknown = [name for name in options.names if name not in BENCHES]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(BENCHES)}")
    if more and len(options.names) != 1:
        parser.error(f"{more[0]} is for one benchmark: name it")
    failed = 0
    for name in options.names or BENCHES:
        print(f"\n=== {name}", flush=True)
        failed |= subprocess.run([sys.executable, *BENCHES[name], *more], cwd=ROOT).returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
