"""``durachart effects`` against a real server process: dead letters are found, looked at and given back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.in_process import run_here
from tests.processes import Server, run_cli

JOB = {
    "machine": {
        "id": "job",
        "initial": "logging",
        "states": {
            "logging": {"entry": "note", "on": {"FAILED": "stuck", "DONE": "done"}},
            "stuck": {},
            "done": {},
        },
    },
    # The level does not exist, so the handler rejects it at once.
    "implementations": {"actions": {"note": {"params": {"level": "'no such level'"}}}},
    "effects": {"note": {"handler": "log", "done": "DONE", "rejected": "FAILED"}},
}


def lines(*words: str, server: Server) -> list[str]:
    done = run_here(server, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("job") / "machine.json"
    path.write_text(json.dumps(JOB))
    return path


def dead_letter(server: Server, job: Path, name: str) -> dict[str, Any]:
    """An instance's effect that was rejected."""
    lines("publish", str(job), server=server)
    lines("create", "job", name, server=server)
    while True:
        found = lines("effects", "list", "job", name, "--state", "discarded", "--json", server=server)
        if found:
            return dict(json.loads(found[0]))


def test_a_dead_letter_is_listed_shown_and_given_back(server: Server, job: Path) -> None:
    """D4, D10: an operator sees why, and retries."""
    record = dead_letter(server, job, "a-1")
    effect = record["effect_id"]
    assert record["error"]["reason"] == "PARAMS_INVALID"
    (row,) = lines("effects", "list", "job", "a-1", "--handler", "log", server=server)
    cells = row.split("\t")
    assert cells[:6] == ["job/a-1", effect, "note", "log", "discarded", "1/3"]
    assert cells[6].startswith("PARAMS_INVALID: ")

    shown = lines("effects", "show", "job", "a-1", effect, server=server)
    assert any(line.split() == ["state", "discarded"] for line in shown)
    (attempt,) = [line.split("\t") for line in shown if line.startswith("attempt 1")]
    assert attempt[1] == "rejected"
    assert attempt[4].startswith("server/")

    retried = lines("effects", "retry", "job", "a-1", effect, "--request-id", "r-1", server=server)
    assert retried == ["given back job/a-1: note (log), 3 more attempts"]
    journal = lines("journal", "job", "a-1", "--json", server=server)
    assert [json.loads(row)["cause"] for row in journal][:3] == ["create", "effect", "effect"]


def test_what_cannot_be_retried_or_is_not_there_has_an_exit_code(server: Server, job: Path) -> None:
    effect = dead_letter(server, job, "b-1")["effect_id"]
    for code, reason, words in (
        (5, "EFFECT_NOT_FOUND", ["show", "job", "b-1", "nobody"]),
        (5, "EFFECT_NOT_FOUND", ["retry", "job", "b-1", "nobody"]),
        (5, "MACHINE_NOT_FOUND", ["list", "nothing"]),
    ):
        failed = run_here(server, "effects", *words, "--json")
        assert failed.returncode == code, failed.stderr
        assert json.loads(failed.stderr)["error"]["reason"] == reason
    lines("create", "job", "c-1", server=server)
    other = run_here(server, "effects", "retry", "job", "c-1", effect, "--json")
    assert other.returncode == 5
    assert lines("effects", "list", "job", "nobody", server=server) == []


def test_effects_alone_shows_its_help_and_no_error() -> None:
    done = run_cli(None, "effects")
    assert (done.returncode, done.stderr) == (2, "")
    assert "retry" in done.stdout
