"""The program ``durachart``: its commands, what may be said before them, and how a failure leaves it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

import typer
from typer import TyperException

from durachart.app.cli import (
    effects,
    generate,
    instances,
    machines,
    preview,
    serve,
    simulate,
    verify,
    watching,
)
from durachart.app.cli.exits import MEANINGS, ExitCode, Failure, report
from durachart.app.cli.options import (
    DEFAULT_SERVER,
    LONGEST_TIMEOUT_S,
    JsonOption,
    Target,
    require_number,
)
from durachart.app.cli.terminal import OutputFailed, ReaderGone, forget_unwritten

_EXIT_CODES = "Exit codes: " + ", ".join(f"{int(code)} {meaning}" for code, meaning in MEANINGS.items()) + "."
_RUN, _USE, _DEFINE = "Run", "Instances", "Machines"

app = typer.Typer(
    name="durachart",
    help="XState-v5-compatible statecharts as the durable source of truth for entity lifecycles.",
    epilog=_EXIT_CODES,
    add_completion=True,
    # Boxes and colour are for people; a pipe gets plain help, sooner.
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def version(as_json: JsonOption = False) -> None:
    """Show the version."""
    from durachart import __version__
    from durachart.app.cli.terminal import OUT

    if as_json:
        from durachart.app.cli.jsonlines import emit

        emit({"version": __version__})
        return
    OUT.line(f"durachart {__version__}")


def _show_version(asked: bool) -> None:
    if asked:
        version()
        raise typer.Exit


@app.callback()
def before(
    context: typer.Context,
    server: Annotated[
        str,
        typer.Option(
            "--server", "-s", metavar="HOST:PORT", envvar="DURACHART_SERVER", help="Where the server is."
        ),
    ] = DEFAULT_SERVER,
    namespace: Annotated[
        str,
        typer.Option(
            "--namespace",
            "-n",
            metavar="NAME",
            envvar="DURACHART_NAMESPACE",
            help="Tenant or environment.",
            show_default=False,
        ),
    ] = "",
    seconds: Annotated[
        float,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=0.001,
            max=LONGEST_TIMEOUT_S,
            callback=require_number,
            envvar="DURACHART_TIMEOUT",
            help="Bound of each call.",
        ),
    ] = 10.0,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Show the version and exit.",
            show_default=False,
        ),
    ] = False,
) -> None:
    """Options before the command hold for it as well."""
    context.obj = Target(server, namespace, timedelta(seconds=seconds))


app.command(rich_help_panel=_RUN)(serve.serve)
app.command(rich_help_panel=_RUN)(verify.verify)
app.command(rich_help_panel=_RUN)(version)
app.command(rich_help_panel=_USE)(instances.create)
app.command(rich_help_panel=_USE)(instances.send)
app.command(rich_help_panel=_USE)(preview.preview)
app.command(rich_help_panel=_USE)(instances.get)
app.command(rich_help_panel=_USE)(watching.watch)
app.command(rich_help_panel=_USE)(instances.journal)
app.command(rich_help_panel=_USE)(instances.delete)
app.command("instances", rich_help_panel=_USE)(instances.instances)
app.add_typer(effects.effects, name="effects", rich_help_panel=_USE)
app.command(rich_help_panel=_USE)(generate.generate)
app.command(rich_help_panel=_DEFINE)(machines.publish)
app.command(rich_help_panel=_DEFINE)(machines.validate)
app.command("machines", rich_help_panel=_DEFINE)(machines.machines)
app.command(rich_help_panel=_DEFINE)(simulate.simulate)


def execute(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: The words after the program's name.

    Returns:
        The exit code; what went wrong has been said on standard error.
    """
    as_json = "--json" in arguments
    try:
        code = app(list(arguments) or ["--help"], prog_name="durachart", standalone_mode=False)
    except TyperException as error:
        report(_usage(error), as_json=as_json)
        return error.exit_code
    except Failure as failure:
        report(failure, as_json=as_json)
        return failure.code
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except ReaderGone:
        return ExitCode.OK
    except OutputFailed as error:
        report(Failure(ExitCode.UNEXPECTED, str(error)), as_json=as_json)
        return ExitCode.UNEXPECTED
    finally:
        forget_unwritten()
    if not arguments:
        return ExitCode.USAGE
    return code if isinstance(code, int) else ExitCode.OK


def _usage(error: TyperException) -> Failure:
    """A complaint about the command line as one sentence that says where help is."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "durachart"
    text = error.format_message().rstrip(".")
    return Failure(ExitCode(error.exit_code), f"{text[:1].lower()}{text[1:]}; see `{path} --help`")
