"""The command line inside the test's process: what a process of its own would show, much sooner."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

from durachart.app.cli.application import execute
from tests.processes import Server, environment


def run_here(
    server: Server | str | None,
    *words: str,
    input: str = "",  # noqa: A002 - as subprocess has it
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run one command; arguments and result as those of ``tests.processes.run_cli``."""
    variables = environment(env)
    if server is not None:
        variables["DURACHART_SERVER"] = server if isinstance(server, str) else server.grpc
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, variables, clear=True),
        mock.patch("sys.stdin", io.StringIO(input)),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = execute(list(words))
    return subprocess.CompletedProcess(["durachart", *words], int(code), out.getvalue(), err.getvalue())
