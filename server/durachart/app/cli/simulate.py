"""``simulate``: a machine in memory, with no server and no clock."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from durachart.app.cli.options import InputOption, JsonOption, PluginsOption

if TYPE_CHECKING:
    from durachart.app.cli.trace import Record


def simulate(
    machine: Annotated[
        str | None,
        typer.Argument(
            metavar="MACHINE",
            help="A definition file, its directory, or the name of one in ./machines.",
            show_default=False,
        ),
    ] = None,
    events: Annotated[
        str | None,
        typer.Option(
            "--events",
            metavar="FILE",
            help='Events: a JSON or YAML list, or JSON lines; - reads. {"$advance_ms": N} lets time pass.',
            show_default=False,
        ),
    ] = None,
    machine_input: InputOption = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="For a refused event, say which guards were false.")
    ] = False,
    batch: Annotated[
        bool,
        typer.Option(
            "--batch",
            help="Read rows {id, machine, implementations, input, events}, write {id, expect}.",
        ),
    ] = False,
    plugins: PluginsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run MACHINE in memory, step by step, with simulated time and no server.

    Shows the states left and entered, the actions, and what changed in the context. The definition is read
    as XState would read it; effects are shown, not run.
    """
    from durachart.app.cli.exits import ExitCode, Failure

    if batch:
        if machine is not None or events is not None:
            raise Failure(
                ExitCode.USAGE, "--batch reads everything from standard input; leave MACHINE and --events out"
            )
        _batch(plugins or ())
        return
    if machine is None:
        raise Failure(ExitCode.USAGE, "name a MACHINE to simulate, or use --batch")
    _simulate(machine, events, machine_input, plugins or (), explain=explain, as_json=as_json)


def _batch(plugins: Sequence[str]) -> None:
    from durachart.app.cli.batch import run_batch
    from durachart.app.cli.documents import use_plugins
    from durachart.app.cli.exits import ExitCode, Failure
    from durachart.app.cli.terminal import OUT

    failed = run_batch(sys.stdin, OUT.write, use_plugins(plugins))
    if failed:
        rows = "1 row" if failed == 1 else f"{failed} rows"
        raise Failure(ExitCode.INVALID, f"{rows} could not be run; `error` in the output says why")


def _simulate(
    source: str,
    events: str | None,
    machine_input: str | None,
    plugins: Sequence[str],
    *,
    explain: bool,
    as_json: bool,
) -> None:
    from durachart.app.cli.arguments import json_value
    from durachart.app.cli.documents import (
        find_definition,
        input_name,
        load_machine,
        read_events,
        use_plugins,
    )
    from durachart.app.cli.exits import ExitCode, Failure
    from durachart.app.cli.jsonlines import emit
    from durachart.app.cli.trace import trace
    from durachart.app.cli.tracing_text import show_record
    from durachart.engine import InvalidEvent

    loaded = load_machine(find_definition(source), use_plugins(plugins))
    value = loaded.no_input if machine_input is None else json_value(machine_input, "--input")
    items = read_events(events) if events is not None else []
    try:
        for number, record in enumerate(trace(loaded.machine, items, value)):
            if as_json:
                emit(_as_json(record, explain=explain))
            else:
                show_record(number, record, explain=explain, expressions=loaded.guards)
    except InvalidEvent as error:
        where = input_name(events or "-")
        raise Failure(ExitCode.INVALID, f"an item of {where} cannot be run: {error}") from error


def _as_json(record: Record, *, explain: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "item": record.item,
        "outcome": record.outcome,
        "left": record.left,
        "entered": record.entered,
        "actions": record.actions,
        "effects": [{"type": one.type, "params": one.params} for one in record.effects],
        "context": {one.key: {"before": one.before, "after": one.after} for one in record.context},
        "value": record.value,
        "status": record.status,
        "can": record.can,
        "timers": record.timers,
    }
    if record.output is not None:
        body["output"] = record.output
    if record.error:
        body["error"] = record.error
    if explain and record.outcome == "refused":
        body["guards"] = [
            {
                "state": one.state,
                "event": one.event_type,
                "targets": one.targets,
                "guard": one.guard,
                "params": one.params,
                "passed": one.passed,
                "error": one.error,
                "members": dict(one.members),
            }
            for one in record.verdicts
        ]
    return body
