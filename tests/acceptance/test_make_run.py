"""``make run``, as a person uses it: it starts the server, and Ctrl-C ends it with 0."""

import shutil
from pathlib import Path

from tests.cli.terminal import CTRL_C, program_on_terminal

MAKE = shutil.which("make") or "make"


def arguments(data: Path) -> str:
    return f"ARGS=--listen 127.0.0.1:0 --http 127.0.0.1:0 --data-dir {data}"


async def test_make_run_serves_and_ctrl_c_exits_0(repository: Path, tmp_path: Path) -> None:
    """F7: one command runs it; Ctrl-C drains, and neither the server nor make calls that a failure."""
    async with program_on_terminal(
        MAKE, "--no-print-directory", "run", arguments(tmp_path), cwd=repository
    ) as terminal:
        await terminal.wait_for("Durachart is ready")
        terminal.press(CTRL_C)

        assert await terminal.wait() == 0
        assert "***" not in terminal.text
        assert (tmp_path / "durachart.db").exists()


async def test_make_run_tells_a_wrong_option_in_a_sentence(repository: Path, tmp_path: Path) -> None:
    async with program_on_terminal(
        MAKE, "--no-print-directory", "run", "ARGS=--port 1", cwd=repository
    ) as terminal:
        assert await terminal.wait() == 2
        await terminal.wait_for("--port")
        assert "Traceback" not in terminal.text
