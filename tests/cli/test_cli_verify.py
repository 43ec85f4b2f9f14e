"""``durachart verify``: beside a running server, in words and in JSON, with an exit code."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from durachart.app.cli.exits import ExitCode
from durachart_client import Client, EventRefused
from tests.cli.in_process import run_here
from tests.processes import Server, run_cli


async def _live(server: Server) -> None:
    async with Client(server.grpc) as client:
        for name in ("o-1", "o-2"):
            await client.create("order", name, {"customer": "Ada"})
            await client.send("order", name, "ADD_ITEM", {"sku": "tea", "price_cents": 100})
            with pytest.raises(EventRefused):
                await client.send("order", name, "NO_SUCH_EVENT")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a server left behind after SIGKILL, which verified while it ran; not to be changed."""
    directory = tmp_path_factory.mktemp("verified")

    async def serve() -> None:
        async with Server.running("--data-dir", str(directory)) as server:
            await _live(server)
            done = run_cli(None, "verify", "--data-dir", str(directory))
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout.splitlines() == [
                "verified 2 instances, 6 journal rows; executed 4 again",
                "  2 rows not executed: refused, which changes nothing",
                "everything is as the journal says",
            ]

    asyncio.run(serve())
    return directory / "durachart.db"


@pytest.fixture
def tampered(database: Path, tmp_path: Path) -> Path:
    """A copy in which somebody gave o-2 another price."""
    for file in database.parent.glob("durachart.db*"):
        shutil.copy(file, tmp_path / file.name)
    with closing(sqlite3.connect(tmp_path / "durachart.db")) as connection:
        price = "replace(context, '\"price_cents\":100', '\"price_cents\":1')"
        connection.execute(f"UPDATE instances SET context = {price} WHERE instance_id = 'o-2'")
        connection.execute("UPDATE journal SET actor = 'eve' WHERE instance_id = 'o-2' AND seq = 2")
        connection.commit()
    return tmp_path / "durachart.db"


def test_what_a_killed_server_left_verifies(database: Path) -> None:
    """F2: every stored state is what the engine makes of the journal."""
    done = run_here(None, "verify", "--db", f"sqlite:///{database}", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "kind": "summary",
        "instances": 2,
        "wrong_instances": 0,
        "rows": 6,
        "executed": 4,
        "skipped": {},
        "refused": 2,
        "deletions": 0,
        "problems": 0,
    }


def test_a_wrong_row_is_named_with_what_is_stored_and_what_was_computed(tampered: Path) -> None:
    done = run_here(None, "verify", "--data-dir", str(tampered.parent))
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "order/o-2: journal row 2 is not what its hash was made of",
        "order/o-2: its row holds another context than journal row 2 made",
        "    /items/0/price_cents: stored 1, computed 100",
        "verified 2 instances, 6 journal rows; executed 4 again",
        "  2 rows not executed: refused, which changes nothing",
    ]
    assert "2 problems in 1 of 2 instances" in done.stderr


def test_one_line_of_json_for_each_problem(tampered: Path) -> None:
    done = run_here(None, "verify", "order", "o-2", "--db", f"sqlite:///{tampered}", "--json")
    assert done.returncode == 1
    *problems, summary = map(json.loads, done.stdout.splitlines())
    assert [(one["instance_id"], one["seq"], one["check"]) for one in problems] == [
        ("o-2", 2, "chain"),
        ("o-2", 0, "instance"),
    ]
    assert problems[1]["differences"] == [{"path": "/items/0/price_cents", "stored": "1", "computed": "100"}]
    assert (summary["problems"], summary["instances"]) == (2, 1)


def test_one_instance_is_verified_alone(tampered: Path) -> None:
    assert run_here(None, "verify", "order/o-1", "--db", f"sqlite:///{tampered}").returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["order"], ExitCode.USAGE, "name the instance as well: MACHINE ID"),
        (["order/none"], ExitCode.NOT_FOUND, "nothing is stored of an instance order/none"),
        (["order/o-1", "--namespace", "n"], ExitCode.NOT_FOUND, "n:order/o-1"),
    ],
)
def test_what_cannot_be_verified_is_said(database: Path, words: list[str], code: int, says: str) -> None:
    done = run_here(None, "verify", *words, "--data-dir", str(database.parent))
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr


async def test_every_row_is_executed_or_has_a_reason(tmp_path: Path) -> None:
    async with Server.running("--data-dir", str(tmp_path)) as server, Client(server.grpc) as client:
        for name in ("o-1", "o-2", "o-3"):
            await client.create("order", name)
        for name in ("o-1", "o-2"):
            await client.delete("order", name)
        with pytest.raises(EventRefused):
            await client.send("order", "o-3", "NO_SUCH_EVENT")
    with closing(sqlite3.connect(tmp_path / "durachart.db")) as connection:
        connection.execute(
            "UPDATE journal SET engine_version = '0.0.1' WHERE instance_id = 'o-3' AND seq = 1"
        )
        connection.commit()
    said = run_cli(None, "verify", "--data-dir", str(tmp_path)).stdout.splitlines()
    assert said[-4:] == [
        "verified 3 instances, 6 journal rows; executed 2 again",
        "  1 row not executed: refused, which changes nothing",
        "  2 rows not executed: deletion of the instance",
        "  1 row not executed: judged by release 0.0.1",
    ]


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    done = run_here(None, "verify", "--data-dir", str(tmp_path))
    assert done.returncode == ExitCode.NOT_FOUND
    assert "there is no database" in done.stderr
    assert list(tmp_path.iterdir()) == []
