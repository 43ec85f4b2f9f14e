"""The lock files: every package pinned and hashed, and no word of where it comes from."""

import json
import re
from pathlib import Path

import pytest

LOCKS = ["requirements/runtime.txt", "requirements/dev.txt", "requirements/bench.txt"]
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s;]+)(?: ; .*?)?((?: --hash=sha256:[0-9a-f]{64})+)$")


def requirements(text: str) -> list[str]:
    """The logical lines of a requirements file, without comments."""
    return [
        re.sub(r"\s+", " ", line).strip()
        for line in re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
        if line.strip()
    ]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_and_hashed(repository: Path, lock: str) -> None:
    lines = requirements((repository / lock).read_text(encoding="utf-8"))

    assert len(lines) >= 4
    assert [line for line in lines if not PIN.match(line)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_python_lock_names_no_address(repository: Path, lock: str) -> None:
    text = (repository / lock).read_text(encoding="utf-8")

    assert "://" not in text
    assert "--index-url" not in text
    assert "--find-links" not in text


def test_dev_lock_holds_the_runtime_lock(repository: Path) -> None:
    runtime, dev = (
        {
            found[1]: found[2]
            for line in requirements((repository / lock).read_text(encoding="utf-8"))
            if (found := PIN.match(line))
        }
        for lock in LOCKS[:2]
    )

    assert runtime.items() <= dev.items()


def test_node_lock_names_no_download_address(repository: Path) -> None:
    packages = json.loads((repository / "tests/node/package-lock.json").read_text(encoding="utf-8"))[
        "packages"
    ]

    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if name and "integrity" not in package] == []


def test_node_dependencies_are_exact(repository: Path) -> None:
    wanted = json.loads((repository / "tests/node/package.json").read_text(encoding="utf-8"))["dependencies"]

    assert [version for version in wanted.values() if not re.fullmatch(r"\d+\.\d+\.\d+", version)] == []
