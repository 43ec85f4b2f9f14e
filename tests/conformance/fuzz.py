"""Search for differences from XState for as long as told: ``python -m tests.conformance.fuzz --seconds 60``.

Exits with 1 when it found some; each is printed and, with ``--save FILE``, appended to a file of corpus rows.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

from tests.conformance.differential import Comparison, compare
from tests.conformance.generator import make_case

BATCH = 50


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.fuzz", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="how long to search (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=None, help="the first seed (default: by the clock)")
    parser.add_argument("--cases", type=int, default=None, help="stop after this many cases")
    parser.add_argument("--save", type=Path, default=None, help="append found rows to this file")
    options = parser.parse_args()
    seed = int(time.time()) * 1_000 if options.seed is None else options.seed
    print(f"seeds from {seed}")
    counts: Counter[str] = Counter()
    until = time.monotonic() + options.seconds
    while time.monotonic() < until and (options.cases is None or counts["cases"] < options.cases):
        comparison = compare(make_case(seed + index) for index in range(BATCH))
        seed += BATCH
        counts += comparison.counts
        _report(comparison, options.save)
        print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())), flush=True)
    return 1 if counts["diverge"] else 0


def _report(comparison: Comparison, save: Path | None) -> None:
    for sentence in comparison.divergences:
        print(f"DIVERGES {sentence}")
    if save is not None and comparison.diverging:
        with save.open("a", encoding="utf-8") as rows:
            rows.writelines(json.dumps(case) + "\n" for case in comparison.diverging)


if __name__ == "__main__":
    sys.exit(main())
