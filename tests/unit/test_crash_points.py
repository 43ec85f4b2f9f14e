"""Crash points: silent unless armed, and then exactly there."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys

import pytest

from durachart import crash_points
from tests.processes import ROOT, run_cli

REACHING = "from durachart import crash_points\ncrash_points.arm({asked!r})\n"
REACHING += "for n in range(1, 6):\n    crash_points.reach('commit.before')\n"
REACHING += "    crash_points.reach('commit.after')\n    print(n, flush=True)\n"


def reaching(asked: str) -> subprocess.Popen[str]:
    """A process that passes two places five times and counts aloud."""
    words = [sys.executable, "-c", REACHING.format(asked=asked)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("asked", "said"), [("", "12345"), ("commit.after:6", "12345"), ("timer.after:1", "12345")]
)
def test_a_place_that_is_not_reached_often_enough_changes_nothing(asked: str, said: str) -> None:
    with reaching(asked) as process:
        assert process.communicate()[0].split() == list(said)
    assert process.returncode == 0


def test_the_process_is_killed_when_a_place_is_reached_for_that_time() -> None:
    with reaching("commit.after:3") as process:
        assert process.communicate()[0].split() == ["1", "2"]
    assert process.returncode == -signal.SIGKILL


def test_a_halted_process_goes_on_when_it_is_told_to() -> None:
    with reaching("commit.after:3:stop") as process:
        assert process.stdout is not None
        assert [process.stdout.readline().strip() for _ in range(2)] == ["1", "2"]
        process.send_signal(signal.SIGCONT)
        # The signal may have come before the halt.
        while process.poll() is None:
            process.send_signal(signal.SIGCONT)
        assert process.stdout.read().split() == ["3", "4", "5"]
    assert process.returncode == 0


@pytest.mark.parametrize(
    "asked", ["commit.afer:1", "commit.after", "commit.after:0", "commit.after:x", "commit.after:1:go"]
)
def test_what_names_no_place_is_refused_with_the_list(asked: str) -> None:
    with pytest.raises(crash_points.CrashPointUnknown) as refused:
        crash_points.arm(asked)
    assert repr(asked) in str(refused.value)
    assert all(point in str(refused.value) for point in crash_points.POINTS)


def test_a_server_does_not_start_with_a_place_that_does_not_exist() -> None:
    ended = run_cli(None, "serve", env={crash_points.VARIABLE: "nowhere:1"})
    assert (ended.returncode, "nowhere:1" in ended.stderr) == (2, True)


def test_every_place_in_the_code_has_a_name() -> None:
    """A misspelt name would never be reached."""
    reached = set()
    for path in (ROOT / "server" / "durachart").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "reach":
                (name,) = node.args
                assert isinstance(name, ast.Constant), path
                reached.add(name.value)
    assert reached <= crash_points.POINTS.keys()
