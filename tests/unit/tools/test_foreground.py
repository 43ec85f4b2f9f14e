"""tools/foreground.py: Ctrl-C ends the program and not the make that runs it."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# Drains on Ctrl-C and SIGTERM and exits with its argument, as a server does.
PROGRAM = """
import os, signal, sys
def drain(number, frame):
    print("drained by", signal.Signals(number).name, flush=True)
    sys.exit(int(sys.argv[1]))
signal.signal(signal.SIGINT, drain)
signal.signal(signal.SIGTERM, drain)
signal.signal(signal.SIGCONT, lambda number, frame: print("resumed", flush=True))
print("ready", os.getpid(), flush=True)
while True:
    signal.pause()
"""

# Makes the terminal on standard input the controlling one, as a login shell finds it.
LOGIN = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def makefile(tmp_path: Path, repository: Path) -> Path:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    path = tmp_path / "Makefile"
    foreground = repository / "tools" / "foreground.py"
    path.write_text(
        f"run:\n\t@exec {sys.executable} {foreground} {sys.executable} {program} $(CODE)\n", encoding="utf-8"
    )
    return path


@contextmanager
def terminal(*command: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run ``command`` as the foreground job of a terminal of its own; yields it and the other end."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", LOGIN, *command], stdin=slave, stdout=slave, stderr=slave, close_fds=True
    )
    os.close(slave)
    try:
        yield process, master
    finally:
        os.close(master)
        process.kill()
        process.wait()


def read_until(master: int, word: bytes) -> bytes:
    text = b""
    while word not in text:
        text += os.read(master, 1024)
    return text


def test_ctrl_c_drains_the_program_and_make_exits_0(makefile: Path) -> None:
    with terminal("make", "-f", str(makefile), "run", "CODE=0") as (make, master):
        read_until(master, b"ready")
        os.write(master, b"\x03")

        output = read_until(master, b"drained by SIGINT")

        assert make.wait(timeout=30) == 0
        assert b"***" not in output


def test_exit_code_of_the_program_is_reported(makefile: Path) -> None:
    with terminal("make", "-f", str(makefile), "run", "CODE=3") as (make, master):
        read_until(master, b"ready")
        os.write(master, b"\x03")

        assert b"Error 3" in read_until(master, b"Error")
        assert make.wait(timeout=30) == 2


def test_sigterm_to_make_reaches_the_program(makefile: Path) -> None:
    with terminal("make", "-f", str(makefile), "run", "CODE=0") as (make, master):
        read_until(master, b"ready")
        make.terminate()

        read_until(master, b"drained by SIGTERM")
        # make passes the signal on, waits, and then reports its own end.
        assert make.wait(timeout=30) == -signal.SIGTERM


def test_stopped_job_goes_on_where_it_was(makefile: Path) -> None:
    # A shell with job control, as a person has it: Ctrl-Z, then `fg`, then Ctrl-C.
    script = f"set -m; make -f {makefile} run CODE=0; echo stopped with $?; fg; echo ended with $?"
    with terminal("bash", "-c", script) as (_shell, master):
        read_until(master, b"ready")
        os.write(master, b"\x1a")
        read_until(master, b"stopped with")
        read_until(master, b"resumed")
        os.write(master, b"\x03")

        assert b"ended with 0" in read_until(master, b"ended with 0")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_without_a_terminal_the_program_takes_the_place_of_the_tool(
    makefile: Path, repository: Path, number: int
) -> None:
    command = [
        sys.executable,
        str(repository / "tools/foreground.py"),
        sys.executable,
        str(makefile.parent / "program.py"),
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
