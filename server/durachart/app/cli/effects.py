"""``effects list``, ``show`` and ``retry``: what machines asked for, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from durachart.app.cli.options import (
    InstanceArgument,
    JsonOption,
    MachineArgument,
    NamespaceOption,
    RequestIdOption,
    ServerOption,
    TimeoutOption,
    target,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durachart_client import Client, EffectAttempt, EffectError, EffectRecord, EffectStep

# Bodies import what they need: `durachart --help` should not wait for gRPC.

EffectArgument = Annotated[str, typer.Argument(metavar="EFFECT", help="The effect's id.", show_default=False)]

effects = typer.Typer()


@effects.callback(invoke_without_command=True)
def before(context: typer.Context) -> None:
    """List, show and retry effects: what machines asked workers to do."""
    from durachart.app.cli.exits import ExitCode
    from durachart.app.cli.terminal import OUT

    if context.invoked_subcommand is None:
        text = context.get_help()
        if text:  # what is for a terminal has been shown
            OUT.line(text)
        raise typer.Exit(ExitCode.USAGE)


@effects.command("list")
def list_effects(
    context: typer.Context,
    machine: Annotated[
        str, typer.Argument(metavar="[MACHINE]", help="Only of this machine.", show_default=False)
    ] = "",
    instance: Annotated[
        str, typer.Argument(metavar="[ID]", help="Only of this instance.", show_default=False)
    ] = "",
    state: Annotated[
        Literal["available", "running", "retryable", "completed", "discarded", "cancelled"] | None,
        typer.Option(
            "--state", help="Only in this state; discarded are the dead letters.", show_default=False
        ),
    ] = None,
    handler: Annotated[
        str, typer.Option("--handler", metavar="NAME", help="Only of this handler.", show_default=False)
    ] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most this many.")] = 100,
    as_json: JsonOption = False,
    server: ServerOption = None,
    namespace: NamespaceOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """List effects; those of one instance in the order in which they were asked for."""
    from durachart.app.cli.jsonlines import emit
    from durachart.app.cli.lookup import require_machine
    from durachart.app.cli.rendering import day_and_time
    from durachart.app.cli.session import first, run, tell
    from durachart.app.cli.terminal import OUT

    async def act(client: Client) -> None:
        listing = client.effects.list(
            machine, instance, handler=handler, state=state, page_size=min(limit + 1, 1000)
        )
        found = await first(listing, limit, "effects")
        if not found:
            if machine:
                await require_machine(client, machine)
            tell("no effects")
        if as_json:
            for record in found:
                emit(record)
            return
        OUT.table(
            ("instance", "effect", "type", "handler", "state", "attempt", "why", "asked"),
            (
                (
                    str(one.instance),
                    one.effect_id,
                    one.type,
                    one.handler,
                    one.state,
                    f"{one.attempt}/{one.max_attempts}",
                    _why(one.error),
                    day_and_time(one.created_at),
                )
                for one in found
            ),
            wrapping=("effect", "why"),
            expendable=("asked", "handler", "attempt", "type"),
        )

    run(target(context, server, namespace, timeout), act, machine)


@effects.command("show")
def show_effect(
    context: typer.Context,
    machine: MachineArgument,
    instance: InstanceArgument,
    effect: EffectArgument,
    as_json: JsonOption = False,
    server: ServerOption = None,
    namespace: NamespaceOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Show an effect with its attempts and the steps that were recorded."""
    from durachart.app.cli.jsonlines import emit
    from durachart.app.cli.session import run

    async def act(client: Client) -> None:
        record = await client.effects.get(machine, instance, effect)
        if as_json:
            emit(record)
        else:
            _show(record)

    run(target(context, server, namespace, timeout), act, machine)


@effects.command("retry")
def retry_effect(
    context: typer.Context,
    machine: MachineArgument,
    instance: InstanceArgument,
    effect: EffectArgument,
    request_id: RequestIdOption = None,
    as_json: JsonOption = False,
    server: ServerOption = None,
    namespace: NamespaceOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Give an effect that was discarded back for further attempts."""
    from durachart.app.cli.jsonlines import emit
    from durachart.app.cli.session import run
    from durachart.app.cli.terminal import OUT

    async def act(client: Client) -> None:
        record = await client.effects.retry(machine, instance, effect, request_id=request_id)
        if as_json:
            emit(record)
            return
        more = record.max_attempts - record.attempt
        OUT.line(
            f"{OUT.style('given back', 'green')} {record.instance}: {record.type} ({record.handler}), "
            f"{more} more attempt{'' if more == 1 else 's'}"
        )

    run(target(context, server, namespace, timeout), act, machine)


def _show(record: EffectRecord) -> None:
    from durachart.app.cli.rendering import compact, day_and_time, facts
    from durachart.app.cli.terminal import OUT

    facts(
        [
            ("instance", str(record.instance)),
            ("effect", record.effect_id),
            ("type", f"{record.type} (machine version {record.machine_version})"),
            ("handler", f"{record.handler}, priority {record.priority}"),
            ("state", OUT.style(record.state, "bold")),
            ("attempts", f"{record.attempt} of {record.max_attempts}"),
            ("worker", record.worker_id),
            ("params", "" if record.params is None else compact(record.params)),
            ("output", "" if record.output is None else compact(record.output)),
            ("error", _why(record.error)),
            ("asked", day_and_time(record.created_at)),
            ("scheduled", "" if record.scheduled_at is None else day_and_time(record.scheduled_at)),
            ("ended", "" if record.finalized_at is None else day_and_time(record.finalized_at)),
        ]
    )
    apart = "  " if OUT.is_terminal else "\t"
    for row in (*map(_attempt, record.attempts), *map(_step, record.steps)):
        OUT.line(apart.join(" ".join(cell.split()) for cell in row).rstrip(" "))


def _attempt(attempt: EffectAttempt) -> Sequence[str]:
    from durachart.app.cli.rendering import instant

    outcome = attempt.outcome or "running"
    ended = "" if attempt.ended_at is None else instant(attempt.ended_at)
    return (
        f"attempt {attempt.attempt}",
        outcome,
        instant(attempt.started_at),
        ended,
        attempt.worker_id,
        _why(attempt.error),
    )


def _step(step: EffectStep) -> Sequence[str]:
    from durachart.app.cli.rendering import compact, instant, shortened

    yielded = "" if step.output is None else shortened(compact(step.output))
    ended = "" if step.ended_at is None else instant(step.ended_at)
    return (
        f"step {step.name}",
        step.state,
        instant(step.started_at),
        ended,
        f"attempt {step.attempt}",
        _why(step.error) or yielded,
    )


def _why(error: EffectError | None) -> str:
    return "" if error is None else f"{error.reason}: {error.message}" if error.message else error.reason
