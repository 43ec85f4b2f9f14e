"""What commands look like on a terminal: colour, tables that fit, and neither when they are not wanted."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from durachart_client import Client, GuardRejected
from tests.cli.terminal import CTRL_C, CTRL_D, on_terminal
from tests.processes import ROOT, Server, run_cli

ESCAPE = "\x1b["


async def shown(*words: str, columns: int = 100, env: dict[str, str] | None = None) -> str:
    async with on_terminal(*words, columns=columns, env=env) as terminal:
        await terminal.wait()
        await terminal.wait_for("")
        return terminal.text


async def order(server: Server, name: str) -> None:
    """An order that has refused an event."""
    async with Client(server.grpc) as client:
        await client.create("order", name, {"customer": "ada"})
        with pytest.raises(GuardRejected):
            await client.send("order", name, "SUBMIT")


def bare(text: str) -> str:
    """``text`` without escape sequences."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


async def test_colour_on_a_terminal_unless_no_color(server: Server) -> None:
    await order(server, "t-1")
    words = ("get", "order", "t-1", "-s", server.grpc)
    assert ESCAPE in await shown(*words)
    assert ESCAPE not in await shown(*words, env={"NO_COLOR": "1"})
    assert ESCAPE not in await shown(*words, env={"TERM": "dumb"})
    assert ESCAPE not in run_cli(server, "get", "order", "t-1").stdout


async def test_the_context_is_readable_on_a_terminal(server: Server) -> None:
    await order(server, "t-2")
    text = await shown("get", "order", "t-2", "-s", server.grpc, env={"NO_COLOR": "1"})
    assert '\n             "customer": "ada",\n' in text


async def test_tables_fit_the_terminal(server: Server) -> None:
    await order(server, "t-3")
    for columns in (80, 120):
        text = await shown(
            "journal", "order", "t-3", "-s", server.grpc, columns=columns, env={"NO_COLOR": "1"}
        )
        assert max(map(len, text.splitlines())) <= columns
        assert "GUARD_REJECTED" in text
    listed = await shown("machines", "-s", server.grpc, columns=80, env={"NO_COLOR": "1"})
    assert max(map(len, listed.splitlines())) <= 80


async def test_a_narrow_terminal_gets_fewer_columns_and_whole_words(server: Server) -> None:
    await order(server, "t-5")
    for words, kept, left_out in (
        ("machines", {"machine", "version"}, {"events", "description"}),
        ("instances", {"instance", "state"}, {"updated"}),
    ):
        text = await shown(words, "-s", server.grpc, columns=40, env={"NO_COLOR": "1"})
        listed = text.splitlines()
        assert max(map(len, listed)) <= 40
        headings = set(listed[0].split())
        assert kept <= headings
        assert not left_out & headings
        assert ("order/t-5" if words == "instances" else "negotiation") in text
    middle = await shown("machines", "-s", server.grpc, columns=60, env={"NO_COLOR": "1"})
    assert middle.split()[:3] == ["machine", "version", "events"]
    assert "GENERATION_STOPPED" in middle


async def test_json_on_a_terminal_is_indented(server: Server) -> None:
    await order(server, "t-4")
    text = await shown("get", "order", "t-4", "--json", "-s", server.grpc)
    assert text.startswith('{\n  "instance": {\n')
    assert ESCAPE not in text


async def test_deleting_asks_on_a_terminal(server: Server) -> None:
    await order(server, "t-6")
    for answer, code in ((b"n\n", 130), (b"y\n", 0)):
        async with on_terminal("delete", "order", "t-6", "-s", server.grpc) as terminal:
            await terminal.wait_for("Delete order/t-6, now in draft? [y/N]:")
            terminal.press(answer)
            assert await terminal.wait() == code
    assert run_cli(server, "get", "order", "t-6").returncode == 5


async def test_ctrl_c_at_the_question_leaves_the_instance_and_is_one_line(server: Server) -> None:
    await order(server, "t-7")
    for key in (CTRL_C, CTRL_D):
        async with on_terminal("delete", "order", "t-7", "-s", server.grpc) as terminal:
            await terminal.wait_for("Delete order/t-7, now in draft? [y/N]:")
            terminal.press(key)
            assert await terminal.wait() == 130
            await terminal.wait_for("is left as it is")
            after = bare(terminal.text).partition("[y/N]:")[2].splitlines()
            assert after[1:] == ["error: order/t-7 is left as it is"]
    assert run_cli(server, "get", "order", "t-7").returncode == 0


async def test_errors_are_red_on_a_terminal_only() -> None:
    text = await shown("get", "order", "x", "-s", "127.0.0.1:1")
    assert "\x1b[31;1merror:\x1b[0m no server answers" in text


async def test_a_trace_is_coloured_on_a_terminal() -> None:
    text = await shown("simulate", str(ROOT / "machines" / "order"))
    assert "\x1b[1mstart\x1b[0m" in text


async def test_help_is_framed_on_a_terminal_and_plain_in_a_pipe() -> None:
    assert "╭─ Instances" in bare(await shown("--help"))
    assert "╭" not in run_cli(None, "--help").stdout


async def test_a_list_says_on_a_terminal_that_there_is_more_or_nothing(server: Server) -> None:
    await order(server, "t-8")
    await order(server, "t-9")
    at = ("-s", server.grpc)
    assert "there are more instances: see --limit" in bare(
        await shown("instances", "order", "--limit", "1", *at)
    )
    assert "no instances" in bare(await shown("instances", "order", "--tag", "nope", *at))
    assert "no effects" in bare(await shown("effects", "list", "order", *at))
    assert "there are more attempts" in bare(await shown("journal", "order", "t-8", "--limit", "1", *at))
    whole = bare(await shown("journal", "order", "t-8", *at))
    assert "there are" not in whole


async def test_times_on_a_terminal_are_local_and_have_their_day(server: Server) -> None:
    await order(server, "t-10")
    env = {"TZ": "UTC-3"}
    for words in (("get", "order", "t-10"), ("instances", "order"), ("journal", "order", "t-10")):
        text = bare(await shown(*words, "-s", server.grpc, columns=140, env=env))
        (first, *_) = re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", text)
        ahead = datetime.fromisoformat(first) - datetime.now(UTC).replace(tzinfo=None)
        assert timedelta(hours=2) < ahead <= timedelta(hours=3)


async def test_a_deletion_in_the_journal_says_what_became_of_the_instance(server: Server) -> None:
    await order(server, "t-11")
    assert run_cli(server, "delete", "order", "t-11", "--yes").returncode == 0
    assert "draft → deleted" in bare(await shown("journal", "order", "t-11", "-s", server.grpc))
