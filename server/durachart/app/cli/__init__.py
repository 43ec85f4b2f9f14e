"""The command line: ``durachart``.

Each command is one function whose body imports what it needs, so that help and completion wait for neither
gRPC nor the server. Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process with its exit code.

    Args:
        arguments: The words after the program's name; None takes the process's own.
    """
    from durachart.app.cli.terminal import take_streams

    take_streams()
    from durachart.app.cli.application import execute

    sys.exit(execute(sys.argv[1:] if arguments is None else arguments))
