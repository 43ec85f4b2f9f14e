"""Options that several commands share, and what was said before the command."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from math import isnan
from typing import Annotated, Literal

import typer

DEFAULT_SERVER = "127.0.0.1:7575"

ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        "-s",
        metavar="HOST:PORT",
        help=f"Where the server is. Also DURACHART_SERVER; {DEFAULT_SERVER} by default.",
        show_default=False,
    ),
]
NamespaceOption = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAME",
        help="Tenant or environment. Also DURACHART_NAMESPACE.",
        show_default=False,
    ),
]
LONGEST_TIMEOUT_S = 86_400.0


def require_number(seconds: float | None) -> float | None:
    """NaN is neither too small nor too large."""
    if seconds is not None and isnan(seconds):
        raise typer.BadParameter("nan is no number of seconds")
    return seconds


TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0.001,
        max=LONGEST_TIMEOUT_S,
        callback=require_number,
        help="Bound of each call. 10 by default.",
        show_default=False,
    ),
]
StateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="ID",
        help="Only with an active state of this id, as in order.confirmed; repeatable: any of them.",
        show_default=False,
    ),
]
TagOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tag", metavar="TAG", help="Only with this tag; repeatable: all of them.", show_default=False
    ),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="KEY=VALUE",
        help="Only with this label; repeatable: all of them.",
        show_default=False,
    ),
]
StatusOption = Annotated[
    Literal["active", "done"] | None,
    typer.Option("--status", help="Only with this status.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON, one value a line.")]
MachineArgument = Annotated[
    str, typer.Argument(metavar="MACHINE", help="The machine's id.", show_default=False)
]
InstanceArgument = Annotated[str, typer.Argument(metavar="ID", help="The instance's id.", show_default=False)]
EventArgument = Annotated[str, typer.Argument(metavar="EVENT", help="The event's type.", show_default=False)]
DataArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[DATA]...",
        help="The event's own keys: a JSON object, @FILE, -, or key=value pairs, values as JSON or text.",
        show_default=False,
    ),
]
ExpectedVersionOption = Annotated[
    int | None,
    typer.Option(
        "--expected-version",
        metavar="N",
        min=0,
        max=2**63 - 1,
        help="Refuse when another version is found.",
        show_default=False,
    ),
]
InputOption = Annotated[
    str | None,
    typer.Option(
        "--input", metavar="JSON", help="The machine's input; @FILE or - reads it.", show_default=False
    ),
]
PluginsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--plugins",
        metavar="MODULE",
        envvar="DURACHART_PLUGINS",
        help="Python module with trusted guards, actions, delays or effect handlers; repeatable.",
        show_default=False,
    ),
]
RequestIdOption = Annotated[
    str | None,
    typer.Option(
        "--request-id",
        metavar="ID",
        help="Idempotency key: the same key gets the original answer again. Made for you by default.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class Target:
    """Which server to ask.

    Attributes:
        server: ``HOST:PORT``.
        namespace: Tenant or environment; ``""`` is the default namespace.
        timeout: Bound of each call.
    """

    server: str = DEFAULT_SERVER
    namespace: str = ""
    timeout: timedelta = timedelta(seconds=10)

    def override(
        self, server: str | None, namespace: str | None = None, seconds: float | None = None
    ) -> Target:
        """The same with what a command's own options say."""
        said = replace(self)
        if server is not None:
            said = replace(said, server=server)
        if namespace is not None:
            said = replace(said, namespace=namespace)
        if seconds is not None:
            said = replace(said, timeout=timedelta(seconds=seconds))
        return said


def target(
    context: typer.Context, server: str | None, namespace: str | None = None, seconds: float | None = None
) -> Target:
    """Which server a command asks: by its own options, else by what was said before the command.

    Raises:
        Failure: The server's address is none.
    """
    base = context.find_object(Target) or Target()
    chosen = base.override(server, namespace, seconds)
    _check_address(chosen.server)
    return chosen


def _check_address(text: str) -> None:
    from durachart.app.cli.exits import ExitCode, Failure
    from durachart.fronts.address import parse_address

    try:
        port = parse_address(text).port
    except ValueError:
        port = 0
    if port == 0 or "/" in text:
        raise Failure(
            ExitCode.USAGE,
            f"--server: {text!r} is not the address of a server: write HOST:PORT, as in {DEFAULT_SERVER}",
        )
