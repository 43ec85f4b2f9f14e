"""tools/foreground.py: Ctrl-C ends the program and not the make that runs it."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.terminal import CTRL_C, program_on_terminal

CTRL_Z = b"\x1a"
MAKE = shutil.which("make") or "make"
BASH = shutil.which("bash") or "bash"

# Drains on Ctrl-C and SIGTERM and exits with its argument, as a server does.
PROGRAM = """
import os, signal, sys, time
def drain(number, frame):
    print("drained by", signal.Signals(number).name, flush=True)
    sys.exit(int(sys.argv[1]))
signal.signal(signal.SIGINT, drain)
signal.signal(signal.SIGTERM, drain)
signal.signal(signal.SIGCONT, lambda number, frame: print("resumed", flush=True))
print("ready", os.getpid(), flush=True)
while True:
    time.sleep(0.05)  # pause() would sleep through a signal that comes just before it
"""


@pytest.fixture
def makefile(tmp_path: Path, repository: Path) -> str:
    """A Makefile whose task `run` starts the program, as the project's starts the server."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    path = tmp_path / "Makefile"
    tool = repository / "tools" / "foreground.py"
    path.write_text(
        f"run:\n\t@exec {sys.executable} {tool} {sys.executable} {program} $(CODE)\n", encoding="utf-8"
    )
    return str(path)


async def test_ctrl_c_drains_the_program_and_make_exits_0(makefile: str) -> None:
    async with program_on_terminal(MAKE, "-f", makefile, "run", "CODE=0") as terminal:
        await terminal.wait_for("ready")
        terminal.press(CTRL_C)
        await terminal.wait_for("drained by SIGINT")

        assert await terminal.wait() == 0
        assert "***" not in terminal.text


async def test_exit_code_of_the_program_is_reported(makefile: str) -> None:
    async with program_on_terminal(MAKE, "-f", makefile, "run", "CODE=3") as terminal:
        await terminal.wait_for("ready")
        terminal.press(CTRL_C)
        await terminal.wait_for("Error 3")

        assert await terminal.wait() == 2


async def test_sigterm_to_make_reaches_the_program(makefile: str) -> None:
    async with program_on_terminal(MAKE, "-f", makefile, "run", "CODE=0") as terminal:
        await terminal.wait_for("ready")
        terminal.process.terminate()
        await terminal.wait_for("drained by SIGTERM")

        # make passes the signal on, waits, and then reports its own end.
        assert await terminal.wait() == -signal.SIGTERM


async def test_stopped_job_goes_on_where_it_was(makefile: str) -> None:
    # A shell with job control, as a person has it: Ctrl-Z, then `fg`, then Ctrl-C.
    script = f"set -m; make -f {makefile} run CODE=0; echo stopped with $?; fg; echo ended with $?"
    async with program_on_terminal(BASH, "-c", script) as terminal:
        await terminal.wait_for("ready")
        terminal.press(CTRL_Z)
        await terminal.wait_for("stopped with")
        await terminal.wait_for("resumed")
        terminal.press(CTRL_C)

        await terminal.wait_for("ended with 0")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_without_a_terminal_the_program_takes_the_place_of_the_tool(
    makefile: str, repository: Path, number: int
) -> None:
    command = [
        sys.executable,
        str(repository / "tools/foreground.py"),
        sys.executable,
        str(Path(makefile).parent / "program.py"),
        "0",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"ready {process.pid}\n"
        process.send_signal(number)
        assert process.wait(timeout=30) == 0


def test_missing_program_is_named(repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(repository / "tools/foreground.py"), str(tmp_path / "absent")]
    done = subprocess.run(command, capture_output=True, text=True, start_new_session=True)

    assert done.returncode == 127
    assert done.stderr == f"cannot run {tmp_path / 'absent'}: No such file or directory\n"
