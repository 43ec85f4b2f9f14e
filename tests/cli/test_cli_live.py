"""``watch`` and ``generate``: output as it happens, and Ctrl-C."""

import asyncio
import json
import signal
import socket
from pathlib import Path
from typing import Any

from durachart_client import Client
from tests.cli.terminal import CTRL_C, on_terminal
from tests.processes import PATIENCE_S, Server, run_cli, start_cli


async def next_json(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        line = await process.stdout.readline()
    assert line, "the command ended"
    return json.loads(line)


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_watch_shows_what_is_and_then_each_change_as_it_is_committed(server: Server) -> None:
    async with Client(server.grpc) as client:
        await client.create("order", "w-1")
        process = await start_cli(server, "watch", "order", "w-1", "--json")
        snapshot = await next_json(process)
        assert (snapshot["kind"], snapshot["state"]["value"]) == ("snapshot", "draft")
        assert (await next_json(process))["kind"] == "synced"
        await client.send("order", "w-1", "CANCEL", {"reason": "changed my mind"})
        change = await next_json(process)
        assert (change["kind"], change["entry"]["event_type"]) == ("transition", "CANCEL")
        assert change["state"]["value"] == "cancelled"
        process.send_signal(signal.SIGINT)
        code, out, err = await ended(process)
        assert (code, out, err) == (130, "", "")
        again = await start_cli(
            server, "watch", "order", "w-1", "--json", "--resume", snapshot["resume_token"]
        )
        assert (await next_json(again))["state"]["version"] == 1, "a watch goes on where another ended"
        again.kill()
        await again.wait()


async def test_watch_can_be_narrowed_to_states_and_labels(server: Server) -> None:
    async with Client(server.grpc) as client:
        for name, tier in (("n-1", "gold"), ("n-2", "iron")):
            await client.create("order", name, labels={"narrow": tier})
        narrowed = ("--state", "order.draft", "--label", "narrow=gold", "--status", "active", "--conflate")
        process = await start_cli(server, "watch", "order", *narrowed, "--json")
        snapshot = await next_json(process)
        assert (snapshot["kind"], snapshot["state"]["instance"]["instance_id"]) == ("snapshot", "n-1")
        assert (await next_json(process))["kind"] == "synced"
        await client.send("order", "n-2", "CANCEL")
        await client.send("order", "n-1", "CANCEL")
        left = await next_json(process)
        assert (left["kind"], left["matches"]) == ("transition", False)
        assert left["state"]["instance"]["instance_id"] == "n-1"
        process.kill()
        await process.wait()


async def test_watch_says_what_is_missing_and_shows_its_creation(server: Server) -> None:
    async with Client(server.grpc) as client:
        process = await start_cli(server, "watch", "order", "w-5", "--json")
        assert (await next_json(process))["kind"] == "synced"
        await client.create("order", "w-5")
        created = await next_json(process)
        assert (created["kind"], created["state"]["version"]) == ("transition", 0)
        process.send_signal(signal.SIGINT)
        code, _, err = await ended(process)
        assert (code, err) == (130, "order/w-5 does not exist yet; its creation will be shown\n")


async def test_watch_ends_by_itself_when_asked_to(server: Server) -> None:
    async with Client(server.grpc) as client:
        await client.create("order", "w-2")
        process = await start_cli(server, "watch", "order", "w-2", "--until-done")
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            first = (await process.stdout.readline()).decode()
        assert first.rstrip("\n").split("\t")[1:] == ["order/w-2", "v0", "", "draft"]
        await client.send("order", "w-2", "CANCEL")
        code, out, _ = await ended(process)
        assert code == 0
        assert out.rstrip("\n").split("\t")[1:] == ["order/w-2", "v1", "CANCEL", "draft → cancelled"]


async def test_watch_survives_a_restart_of_the_server(tmp_path: Any) -> None:
    options = ["--data-dir", str(tmp_path)]
    async with Server.running(*options) as first:
        async with Client(first.grpc) as client:
            await client.create("order", "w-3")
        process = await start_cli(first, "watch", "order", "w-3", "--json")
        assert (await next_json(process))["state"]["version"] == 0
        assert (await next_json(process))["kind"] == "synced"
        address = first.grpc
        assert await first.stop() == 0
    async with Server.running(*options, "--listen", address) as second:
        async with Client(second.grpc) as client:
            await client.send("order", "w-3", "CANCEL")
        kinds = []
        while not kinds or kinds[-1] != "transition":
            kinds.append((await next_json(process))["kind"])
        assert kinds.count("transition") == 1
    process.kill()
    await process.wait()


async def said(process: asyncio.subprocess.Process) -> str:
    """The next line on standard error."""
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE_S):
        return (await process.stderr.readline()).decode()


async def test_watch_says_once_that_the_server_is_gone_and_once_that_it_is_back(tmp_path: Path) -> None:
    options = ["--data-dir", str(tmp_path)]
    async with Server.running(*options) as first:
        async with Client(first.grpc) as client:
            await client.create("order", "w-6")
        process = await start_cli(first, "watch", "order", "w-6", "--json")
        await next_json(process)
        assert (await next_json(process))["kind"] == "synced"
        first.kill()
        assert (await said(process)).startswith("connection lost, trying again: ")
    async with Server.running(*options, "--listen", first.grpc) as second:
        assert await said(process) == "connected again\n"
        async with Client(second.grpc) as client:
            await client.send("order", "w-6", "CANCEL")
        while (change := await next_json(process))["kind"] != "transition":
            pass
        assert change["state"]["value"] == "cancelled"
        process.send_signal(signal.SIGINT)
        code, out, err = await ended(process)
        assert (code, out, err) == (130, "", "")


async def test_watch_says_nothing_when_the_server_only_asks_for_another_stream() -> None:
    async with Server.running("--watch-age", "1s") as server:
        async with Client(server.grpc) as client:
            await client.create("order", "w-7")
        process = await start_cli(server, "watch", "order", "w-7", "--json")
        kinds = [(await next_json(process))["kind"] for _ in range(3)]
        assert kinds == ["snapshot", "synced", "synced"], "a second stream goes on"
        process.send_signal(signal.SIGINT)
        assert (await ended(process))[2] == ""


async def test_watch_on_a_terminal_is_for_people(server: Server) -> None:
    async with Client(server.grpc) as client:
        await client.create("order", "w-4")
        async with on_terminal("watch", "order", "w-4", "-s", server.grpc) as terminal:
            await terminal.wait_for("watching for changes")
            await client.send("order", "w-4", "CANCEL")
            await terminal.wait_for("\x1b[1mcancelled\x1b[0m")
            terminal.press(CTRL_C)
            assert await terminal.wait() == 130
            assert "Traceback" not in terminal.text


def generated(out: str) -> str:
    return "".join(one["text"] for one in map(json.loads, out.splitlines()) if one["kind"] == "text")


async def test_generate_writes_the_answer_and_stores_it(server: Server) -> None:
    process = await start_cli(
        server, "generate", "canvas", "g-1", "Explain statecharts.", "--eval", "Be brief.", "--model", "local"
    )
    code, out, err = await ended(process)
    assert (code, err) == (0, "")
    async with Client(server.grpc) as client:
        state = await client.get("canvas", "g-1")
    assert state.context is not None
    assert out == state.context["response"] + "\n"
    assert state.context["evals"] == ["Be brief."]
    assert state.context["model"] == "local"
    second = await start_cli(server, "generate", "canvas", "g-1", "Again.", "--eval", "Be bold.", "--json")
    code, out, _ = await ended(second)
    assert code == 0
    async with Client(server.grpc) as client:
        state = await client.get("canvas", "g-1")
    assert state.context is not None
    assert generated(out) == state.context["response"]
    assert state.context["evals"] == ["Be bold."]
    end = json.loads(out.splitlines()[-1])
    assert (end["kind"], end["outcome"]) == ("generation_end", "completed")
    journal = run_cli(server, "journal", "canvas", "g-1", "--json").stdout.splitlines()
    assert {json.loads(line)["outcome"] for line in journal} == {"accepted"}, "generate leaves no refusals"


async def test_watch_shows_the_text_between_the_states_it_belongs_to(server: Server) -> None:
    assert run_cli(server, "create", "canvas", "g-9").returncode == 0
    process = await start_cli(server, "watch", "canvas", "g-9", "--tokens")
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        assert "canvas/g-9" in (await process.stdout.readline()).decode(), "the watch has begun"
    generated = await asyncio.to_thread(run_cli, server, "generate", "canvas", "g-9", "Tell me.")
    assert generated.returncode == 0
    words: list[list[str]] = []
    async with asyncio.timeout(PATIENCE_S):
        while not words or words[-1][1] != "ends":
            words.append((await process.stdout.readline()).decode().rstrip("\n").split("\t"))
        done = (await process.stdout.readline()).decode()
    asked = [row[1] for row in words].index("begins")
    assert "canvas/g-9" in words[asked - 1], "the state that asks for text comes first"
    text = "".join(json.loads(row[2]) for row in words if row[1] == "text")
    assert text.strip() == generated.stdout.strip()
    assert words[-1] == ["canvas/g-9", "ends", "completed"]
    assert "canvas/g-9" in done, "the state that it leads to comes after it"
    process.kill()
    await process.wait()


async def test_generate_makes_a_canvas_of_its_own(server: Server) -> None:
    done = await asyncio.to_thread(run_cli, server, "generate", "-", input="Hello from a pipe.")
    assert done.returncode == 0
    assert "Hello from a pipe." in done.stdout
    words = await asyncio.to_thread(run_cli, server, "generate", "canvas", "two words")
    assert words.returncode == 2
    assert "MACHINE ID PROMPT" in words.stderr


async def test_ctrl_c_stops_the_generation_and_says_so(slow_server: Server) -> None:
    async with Client(slow_server.grpc) as client:
        process = await start_cli(slow_server, "generate", "canvas", "g-2", "Tell me a long story.")
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            assert await process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        code, _, err = await ended(process)
        assert code == 130
        assert err == "error: stopped; canvas/g-2 keeps the answer it had\n"
        state = await client.get("canvas", "g-2")
        assert state.value == "idle"
        assert state.context is not None
        assert state.context["response"] is None
        last = [entry async for entry in client.journal("canvas", "g-2")][-1]
        assert last.event_type == "GENERATION_STOPPED"


async def test_ctrl_c_on_a_terminal_stops_the_generation_too(slow_server: Server) -> None:
    async with on_terminal("generate", "canvas", "g-3", "A story.", "-s", slow_server.grpc) as terminal:
        await terminal.wait_for("You")
        terminal.press(CTRL_C)
        await terminal.wait_for("keeps the answer it had")
        assert await terminal.wait() == 130
        assert "Traceback" not in terminal.text


async def test_generate_says_that_the_server_is_gone_and_shows_the_answer_of_the_next(tmp_path: Path) -> None:
    options = ["--data-dir", str(tmp_path)]
    async with Server.running(*options, "--llm-token-delay-ms", "400") as first:
        process = await start_cli(first, "generate", "canvas", "g-8", "A story.", "--json")
        while (await next_json(process))["kind"] != "text":
            pass
        first.kill()
        assert (await said(process)).startswith("connection lost, trying again: ")
    async with Server.running(*options, "--llm-token-delay-ms", "1", "--listen", first.grpc):
        code, out, err = await ended(process)
        assert (code, err) == (0, "connected again\n")
        assert json.loads(out.splitlines()[-1])["outcome"] == "completed"


async def test_generate_and_watch_of_a_server_that_never_answers_end_with_exit_code_7() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        for words in (["watch", "order", "o-1"], ["generate", "A story."]):
            process = await start_cli(address, "--timeout", "0.2", *words)
            code, out, err = await ended(process)
            assert (code, out, err.count("\n")) == (7, "", 1), words


async def test_a_generation_that_somebody_else_stops_is_exit_code_8(slow_server: Server) -> None:
    async with Client(slow_server.grpc) as client:
        process = await start_cli(slow_server, "generate", "canvas", "g-4", "A story.")
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            assert await process.stdout.read(1)
        assert (await client.stop_generation("canvas", "g-4")).stopped
        code, _, err = await ended(process)
        assert code == 8
        assert "somebody else stopped the generation" in err


async def test_a_failed_generation_says_why(server: Server) -> None:
    process = await start_cli(server, "generate", "canvas", "g-5", "Hello.", "--model", "anthropic/none")
    code, out, err = await ended(process)
    assert (code, out) == (8, "")
    assert "PROVIDER_NOT_CONFIGURED" in err
    assert "canvas/g-5 keeps the answer it had" in err


async def test_an_unknown_model_is_named_with_those_there_are(server: Server) -> None:
    process = await start_cli(server, "generate", "canvas", "g-7", "Hello.", "--model", "nope/x")
    code, _, err = await ended(process)
    assert code == 8
    for part in ("'nope/x'", "`local`", "`openai/NAME`", "`anthropic/NAME`", "PROVIDER_NOT_CONFIGURED"):
        assert part in err


async def test_a_machine_that_generates_nothing_is_refused(server: Server) -> None:
    process = await start_cli(server, "generate", "order", "g-6", "Hello.")
    code, _, err = await ended(process)
    assert code != 0
    assert err.count("\n") == 1
