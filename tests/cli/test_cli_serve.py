"""``durachart serve`` as an operator meets it: it starts or says why not, and ends when asked."""

import asyncio
import json
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from durachart_client import Client, PayloadInvalid
from tests.cli.in_process import run_here
from tests.processes import Server, run_cli


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        yield busy.getsockname()[1]


def refuses(*words: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """How a server that should not start ends, and its last words."""
    done = run_cli(None, "serve", *words, env=env)
    assert done.stdout == ""
    return done.returncode, done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_the_exit_code_is_0(number: signal.Signals) -> None:
    async with Server.running() as server, Client(server.grpc) as client:
        await client.create("order", "o-1")
        watch = client.watch("order", "o-1")
        await anext(watch)
        assert await server.stop(number) == 0
        await watch.aclose()


async def test_calls_under_way_are_finished_and_streams_get_a_farewell() -> None:
    async with Server.running() as server, Client(server.grpc) as client:
        interruptions: list[str] = []
        farewell = asyncio.Event()

        def interrupted(failure: Exception, wait: object) -> None:
            interruptions.append(str(failure))
            farewell.set()

        await client.create("order", "o-1")
        watch = client.watch("order", "o-1", on_interrupt=interrupted)
        await anext(watch)
        await anext(watch)
        waiting = asyncio.ensure_future(anext(watch))
        assert await server.stop() == 0
        await farewell.wait()
        waiting.cancel()
        assert "shutting down" in interruptions[0]


@asynccontextmanager
async def held_while_draining(server: Server, number: signal.Signals) -> AsyncIterator[asyncio.StreamWriter]:
    """``server`` has been sent ``number`` and drains; closing the writer ends the one call that holds it."""
    async with Client(server.grpc) as client:
        _, held = await asyncio.open_connection(*server.http.split(":"))
        # A body that never comes keeps a call open, and with it the server.
        held.write(
            b"POST /durachart.v1.StateMachineService/GetState HTTP/1.1\r\nhost: x\r\n"
            b"content-type: application/json\r\ncontent-length: 10\r\n\r\n{"
        )
        await held.drain()
        draining = asyncio.Event()
        watch = client.watch("order", on_interrupt=lambda failure, wait: draining.set())
        await anext(watch)
        waiting = asyncio.ensure_future(anext(watch))
        server.send_signal(number)
        await draining.wait()
        yield held
        waiting.cancel()
        held.close()


async def test_a_second_ctrl_c_ends_at_once() -> None:
    async with (
        Server.running("--drain-ms", "3600000") as server,
        held_while_draining(server, signal.SIGINT),
    ):
        server.send_signal(signal.SIGINT)
        assert await server.wait() == 130


async def test_sigterm_twice_still_drains() -> None:
    async with (
        Server.running("--drain-ms", "3600000") as server,
        held_while_draining(server, signal.SIGTERM) as held,
    ):
        server.send_signal(signal.SIGTERM)
        held.close()
        assert await server.wait() == 0


async def test_it_says_where_it_listens_and_three_commands_that_work() -> None:
    async with Server.running() as server:
        assert server.grpc.startswith("127.0.0.1:")
        async with httpx.AsyncClient(trust_env=False) as http:
            page = await http.get(f"http://{server.http}/")
        assert page.status_code == 200
        commands = [line.split("durachart ", 1)[1] for line in server.said if "bin/durachart " in line]
        assert len(commands) == 3
        for command in commands:
            done = run_cli(server, *_words(command))
            assert done.returncode == 0, (command, done.stderr)
        assert f"  export DURACHART_SERVER={server.grpc}" in server.said


async def test_a_model_that_has_no_key_is_noticed_at_the_start() -> None:
    async with Server.running("--llm-model", "openai/m", env={"DURACHART_OPENAI_API_KEY": ""}) as server:
        said = server.stderr
    assert "prompts that name no model will fail: There is no provider for the model 'openai/m'" in said
    assert "DURACHART_OPENAI_API_KEY" in said


def _words(command: str) -> list[str]:
    import shlex

    return shlex.split(command)


def test_a_port_in_use_is_one_sentence(taken_port: int, tmp_path: Path) -> None:
    address = f"127.0.0.1:{taken_port}"
    for option, other in (("--listen", "--http"), ("--http", "--listen")):
        data = ("--data-dir", str(tmp_path / option), other, "127.0.0.1:0")
        code, words = refuses(option, address, *data)
        assert code == 1
        assert f"cannot listen on {address}: the port is in use" in words
        assert option in words
        assert not list(tmp_path.rglob("*.db")), "nothing is published by a server that cannot listen"


async def test_a_database_in_use_is_one_sentence(tmp_path: Path) -> None:
    async with Server.running("--data-dir", str(tmp_path)):
        code, words = refuses("--data-dir", str(tmp_path), "--listen", "127.0.0.1:0", "--http", "off")
    assert code == 1
    assert words.startswith("error: ")
    assert str(tmp_path) in words


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, words = refuses("--data-dir", str(tmp_path / "file" / "data"), "--listen", "127.0.0.1:0")
    assert code == 1
    assert str(tmp_path / "file") in words


def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "durachart.db").write_text("this is a letter, and a long one at that " * 100)
    code, words = refuses("--data-dir", str(tmp_path), "--listen", "127.0.0.1:0", "--http", "off")
    assert code == 1
    assert "durachart.db" in words


def test_broken_machines_are_listed_and_the_server_does_not_start(tmp_path: Path) -> None:
    for name, text in (
        ("one", "machine:\n  id: one\n  initial: nowhere\n  states:\n    a: {}\n"),
        ("two", "machine:\n  id: two\n  initial: a\n  states:\n    a:\n      invoke: {src: work}\n"),
    ):
        (tmp_path / "machines" / name).mkdir(parents=True)
        (tmp_path / "machines" / name / "machine.yaml").write_text(text)
    data = ("--data-dir", str(tmp_path / "data"), "--listen", "127.0.0.1:0", "--http", "off")
    done = run_cli(None, "serve", "--machines", str(tmp_path / "machines"), *data)
    assert done.returncode == 6
    assert "the server did not start, because 2 machines cannot be published" in done.stderr
    assert "nowhere" in done.stderr
    assert "/machine/states/a/invoke" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--listen", "nowhere"], "--listen: 'nowhere' is not an address"),
        (["--http", "1.2.3.4:99999"], "--http"),
        (["--db", "mysql://x/y"], "--db: 'mysql' is not a database this release can use"),
        (["--db", "postgresql://x"], "--db: the URL names no database"),
        (["--db", "sqlite:///:memory:"], "would lose what was acknowledged"),
        (["--machines", "/dev/null"], "--machines: /dev/null is not a directory"),
        (["--cors-origin", "example"], "--cors-origin: 'example' is not an origin"),
        (["--otlp-endpoint", "not a url"], "--otlp-endpoint"),
        (["--openai-base-url", "ftp://x"], "--openai-base-url: 'ftp://x' is not a URL"),
        (["--lisen", "x"], "no such option: --lisen"),
        (["--max-event-bytes", "0"], "--max-event-bytes"),
        (["--log-level", "loud"], "--log-level"),
    ],
)
def test_settings_that_cannot_be_used_name_the_option(words: list[str], says: str) -> None:
    done = run_here(None, "serve", *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1, "one sentence"


def test_settings_come_from_the_environment_too() -> None:
    done = run_here(None, "serve", env={"DURACHART_LISTEN": "nowhere"})
    assert done.returncode == 2
    assert "'nowhere' is not an address" in done.stderr


async def test_machines_keep_their_version_until_their_content_changes(tmp_path: Path) -> None:
    options = ("--data-dir", str(tmp_path / "data"), "--machines", str(tmp_path / "machines"))

    def write(machine: str, description: str) -> None:
        definition = tmp_path / "machines" / machine / "machine.json"
        definition.parent.mkdir(parents=True, exist_ok=True)
        states = {"off": {"on": {"PUSH": "on"}}, "on": {}}
        body = {"id": machine, "description": description, "initial": "off", "states": states}
        definition.write_text(json.dumps(body))

    write("lamp", "a lamp")
    write("bulb", "a bulb")
    async with Server.running(*options) as server, Client(server.grpc) as client:
        assert [(one.machine_id, one.version) async for one in client.machines()] == [
            ("bulb", 1),
            ("lamp", 1),
        ]
    write("bulb", "a brighter bulb")
    async with Server.running(*options) as server, Client(server.grpc) as client:
        assert [(one.machine_id, one.version) async for one in client.machines()] == [
            ("bulb", 2),
            ("lamp", 1),
        ]


async def test_settings_are_what_the_server_goes_by(tmp_path: Path) -> None:
    """The database's place, the HTTP front, a limit, the form of logs; and no key is ever among them."""
    path = tmp_path / "elsewhere" / "states.db"
    path.parent.mkdir()
    key = "not-a-real-key-but-secret-all-the-same"
    options = ("--http", "off", "--db", f"sqlite:///{path}", "--max-event-bytes", "100")
    logs = ("--log-format", "json", "--log-level", "debug")
    async with Server.running(*options, *logs, env={"DURACHART_OPENAI_API_KEY": key}) as server:
        assert server.http == ""
        assert not any("gRPC-Web" in line for line in server.said)
        async with Client(server.grpc) as client:
            await client.create("order", "o-1")
            with pytest.raises(PayloadInvalid, match="100"):
                await client.send("order", "o-1", "ADD_ITEM", {"sku": "x" * 200})
        assert await server.stop() == 0
        log = server.stderr
    with sqlite3.connect(path) as database:
        assert database.execute("select count(*) from instances").fetchone() == (1,)
    lines = [json.loads(line) for line in log.splitlines()]
    assert any(line["message"].startswith("serving grpc=127.0.0.1:") for line in lines)
    assert {"time", "level", "logger", "message"} <= set(lines[0])
    assert key not in log


def test_a_bound_for_a_handler_that_the_server_does_not_run_is_one_sentence(tmp_path: Path) -> None:
    here = ("--data-dir", str(tmp_path), "--listen", "127.0.0.1:0", "--http", "off")
    code, words = refuses("--concurrency", "llm.generat=2", *here)
    assert code == 1
    assert "no handler 'llm.generat'; it runs http.request, llm.generate, log" in words
