"""Fill the last column of docs/acceptance.md from the tests, or prove that it is fresh.

A test shows an acceptance row when its docstring names the row's id (``A13``). The table names the tests, so
that a reader of either finds the other, and neither can go stale alone.

Usage: ``python tools/acceptance.py`` writes; with ``--check`` it writes nothing and exits with 1 when the
table is stale. An id that is in no table is an error either way.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "acceptance.md"
TESTS = ROOT / "tests"

ROW = re.compile(r"^\| ([A-F]\d+) \| (.*) \|([^|]*)\|$")
ROW_ID = re.compile(r"\b[A-F]\d{1,2}\b")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the column, or with ``--check`` compare it; the return value is the exit code."""
    parser = argparse.ArgumentParser(description="Name the tests that show each acceptance row.")
    parser.add_argument("--check", action="store_true", help="only say whether the table is stale")
    check = parser.parse_args(argv).check
    shown: dict[str, list[str]] = {}
    for row_id, test in sorted(shown_rows()):
        shown.setdefault(row_id, []).append(test)
    old = TABLE.read_text(encoding="utf-8")
    new = fill(old, shown)
    if shown:
        for row_id, tests in shown.items():
            print(f"{', '.join(tests)}: no row {row_id} in docs/acceptance.md.", file=sys.stderr)
        return 1
    if new == old:
        return 0
    if check:
        print("stale: docs/acceptance.md. Run `make generate` and commit the result.", file=sys.stderr)
        return 1
    TABLE.write_text(new, encoding="utf-8")
    print("written: docs/acceptance.md")
    return 0


def shown_rows() -> Iterator[tuple[str, str]]:
    """Each (row id, test) that a docstring claims; a test is named as pytest names it."""
    for path in sorted(TESTS.rglob("test_*.py")):
        if "node_modules" in path.parts:
            continue
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for row_id in ROW_ID.findall(ast.get_docstring(node) or ""):
                    yield row_id, f"`{name}::{node.name}`"


def fill(text: str, shown: dict[str, list[str]]) -> str:
    """The table with its last column made anew; takes from ``shown`` what it used."""
    lines = []
    for line in text.splitlines():
        if row := ROW.match(line):
            tests = ", ".join(dict.fromkeys(shown.pop(row[1], [])))
            lines.append(f"| {row[1]} | {row[2]} | {tests} |")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
