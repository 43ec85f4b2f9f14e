"""What packages may import and call: the import-linter contracts, and what an import graph cannot show."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The engine is pure: beyond itself it may import these modules of the standard library and nothing else. A
# name is added for the reason that the others are here: no clock, no chance, no input or output.
ENGINE_MAY_IMPORT = {
    "__future__",
    "bisect",
    "collections",
    "copy",
    "dataclasses",
    "datetime",
    "enum",
    "functools",
    "heapq",
    "itertools",
    "json",
    "math",
    "operator",
    "re",
    "types",
    "typing",
}
# Clocks that come with a type the engine needs.
CLOCKS = {"now", "utcnow", "today"}
IO = {"open", "print", "input"}
PURE = ["engine", "expressions"]


def modules(repository: Path, package: str) -> Iterator[tuple[str, ast.Module]]:
    directory = repository / "server" / "durachart" / package
    paths = sorted(directory.rglob("*.py"))
    assert paths, f"no modules in {directory}"
    for path in paths:
        yield str(path.relative_to(repository)), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module if node.module and node.level == 0 else "durachart.engine"


def test_import_contracts_are_kept(repository: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=repository,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout


def test_engine_imports_only_pure_modules(repository: Path) -> None:
    strangers = [
        f"{path}: {name}"
        for path, tree in modules(repository, "engine")
        for name in imported(tree)
        if name.split(".")[0] not in ENGINE_MAY_IMPORT and not name.startswith("durachart.engine")
    ]

    assert strangers == []


@pytest.mark.parametrize("package", PURE)
def test_pure_package_reads_no_clock(repository: Path, package: str) -> None:
    calls = [
        f"{path}:{node.lineno}: {ast.unparse(node)}"
        for path, tree in modules(repository, package)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS
        # A clock belongs to a class (`datetime.now`); a field of a value may have any name.
        if isinstance(node.func.value, ast.Name | ast.Attribute)
        and ast.unparse(node.func.value).split(".")[-1] in {"datetime", "date"}
    ]

    assert calls == []


@pytest.mark.parametrize("package", PURE)
def test_pure_package_does_no_input_or_output(repository: Path, package: str) -> None:
    calls = [
        f"{path}:{node.lineno}: {node.func.id}"
        for path, tree in modules(repository, package)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IO
    ]

    assert calls == []
