"""Run a program as the terminal's foreground job, so that Ctrl-C reaches it and not the `make` that runs it.

A terminal sends Ctrl-C to every process of its foreground group. `make` is in that group, and make ends by
that signal whatever its recipe does: the server would drain and exit 0, and `make run` would still report
an interrupt. So, on a terminal, the program gets a process group of its own and the terminal with it, as a
shell does for its jobs; make waits, sees the program's own exit code, and passes it on. Ctrl-Z and `fg` are
passed between the two groups. SIGTERM, SIGHUP and SIGINT sent to this process go to the program.

Without a terminal there is nothing to hand over, and this process simply becomes the program.

Usage: ``python tools/foreground.py PROGRAM [ARGUMENT ...]``
"""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

# 127 and 128 + N are what a shell answers for a program that is missing and one that a signal ended.
NOT_FOUND = 127
BY_SIGNAL = 128


def main(command: Sequence[str]) -> int:
    """Run ``command`` to its end; the return value is its exit code."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        become(command)
    if os.tcgetpgrp(terminal) != os.getpgrp():
        become(command)
    return supervise(command, terminal)


def become(command: Sequence[str]) -> NoReturn:
    """Replace this process by the program."""
    try:
        os.execvp(command[0], list(command))
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(NOT_FOUND)


def supervise(command: Sequence[str], terminal: int) -> int:
    """Start the program in a group of its own, give it the terminal, and wait until it ends."""
    own_group = os.getpgrp()
    # Without this, handing the terminal over from the background would stop this process.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        # The end of the pipe comes when the parent has arranged group and terminal.
        os.read(ready, 1)
        os.close(ready)
        os.close(terminal)
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        become(command)
    os.close(ready)
    os.setpgid(child, child)

    def forward(number: int, _frame: FrameType | None) -> None:
        os.killpg(child, number)

    def resume(_number: int, _frame: FrameType | None) -> None:
        # After `fg` the shell has given the terminal to this group; after `bg` it has not.
        if os.tcgetpgrp(terminal) == own_group:
            os.tcsetpgrp(terminal, child)
        os.killpg(child, signal.SIGCONT)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, forward)
    signal.signal(signal.SIGCONT, resume)
    os.tcsetpgrp(terminal, child)
    os.close(go)
    while True:
        _, status = os.waitpid(child, os.WUNTRACED)
        os.tcsetpgrp(terminal, own_group)
        if not os.WIFSTOPPED(status):
            break
        # Ctrl-Z: stop this group too, make included, so that the shell sees the whole job stop.
        os.killpg(own_group, signal.SIGTSTP)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else BY_SIGNAL - code


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("Usage: python tools/foreground.py PROGRAM [ARGUMENT ...]")
    sys.exit(main(sys.argv[1:]))
