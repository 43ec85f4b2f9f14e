"""The Makefile: it lists its tasks, and says in a sentence what a machine lacks."""

import re
import subprocess
from pathlib import Path


def test_help_lists_every_task(repository: Path) -> None:
    text = (repository / "Makefile").read_text(encoding="utf-8")
    tasks = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split()) - {"again"}  # type: ignore[index]

    done = subprocess.run(["make", "help"], cwd=repository, capture_output=True, text=True, check=True)

    assert tasks == set(re.findall(r"^  ([a-z-]+) +\S", done.stdout, re.MULTILINE))


def test_make_alone_shows_the_help(repository: Path) -> None:
    alone, asked = (
        subprocess.run(["make", *task], cwd=repository, capture_output=True, text=True, check=True).stdout
        for task in ([], ["help"])
    )

    assert alone == asked


def test_old_python_is_refused_in_one_sentence(repository: Path, tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements/runtime.txt", "clients/python/pyproject.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((repository / name).read_bytes())
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)

    done = subprocess.run(["make", "run", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        f"Durachart needs Python 3.11 or newer, and none of these is: {old}. "
        "Install one, or name it: make run PYTHON=/path/to/python3"
    )
