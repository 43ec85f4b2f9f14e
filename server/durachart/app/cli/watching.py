"""``watch``: instances as they change, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from durachart.app.cli.options import (
    JsonOption,
    LabelOption,
    MachineArgument,
    NamespaceOption,
    ServerOption,
    StateOption,
    StatusOption,
    TagOption,
    TimeoutOption,
    target,
)

if TYPE_CHECKING:
    from durachart_client import Client, InstanceRef, TokenEvent, Transition, WatchEvent


def watch(
    context: typer.Context,
    machine: MachineArgument,
    instances: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...",
            help="Only these instances; none given: all of the machine.",
            show_default=False,
        ),
    ] = None,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="End once every watched instance is done; needs ids.")
    ] = False,
    resume: Annotated[
        str,
        typer.Option(
            "--resume",
            metavar="TOKEN",
            help="Go on after this token of --json, without snapshots.",
            show_default=False,
        ),
    ] = "",
    status: StatusOption = None,
    state: StateOption = None,
    tag: TagOption = None,
    label: LabelOption = None,
    conflate: Annotated[
        bool,
        typer.Option(
            "--conflate",
            help="When this terminal cannot keep up, skip to the latest state of each instance.",
        ),
    ] = False,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="Show the text of generations as well, as it comes.")
    ] = False,
    as_json: JsonOption = False,
    server: ServerOption = None,
    namespace: NamespaceOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Show instances, then every change to them as it is committed; Ctrl-C ends.

    A lost connection is replaced and nothing is missed.
    """
    from durachart.app.cli.arguments import pairs
    from durachart.app.cli.exits import ExitCode, Failure
    from durachart.app.cli.lookup import note_missing, require_machine
    from durachart.app.cli.outage import Outage
    from durachart.app.cli.session import run

    if until_done and not instances:
        raise Failure(ExitCode.USAGE, "--until-done needs the ids of the instances to wait for")
    labels = pairs(label or [], "--label")
    if instances and (status or state or tag or labels):
        raise Failure(
            ExitCode.USAGE, "--status, --state, --tag and --label narrow all of a machine; leave the ids out"
        )

    outage = Outage()

    async def act(client: Client) -> None:
        await require_machine(client, machine)
        await note_missing(client, machine, instances or [])
        watched = client.watch(
            machine,
            *(instances or ()),
            state_ids=state or (),
            tags=tag or (),
            labels=labels,
            status=status,
            resume_token=resume,
            end_on_final=until_done,
            conflate=conflate,
            include_tokens=tokens,
            on_interrupt=outage.lost,
        )
        async with watched:
            async for event in watched:
                outage.over()
                _show_json(event) if as_json else _show(event)

    run(target(context, server, namespace, timeout), act)


def _show_json(event: WatchEvent) -> None:
    from durachart.app.cli.jsonlines import emit, kind_of, plain

    emit({"kind": kind_of(event), **plain(event)})


def _show(event: WatchEvent) -> None:
    from durachart.app.cli.rendering import instant, value_text
    from durachart.app.cli.terminal import ERR, OUT
    from durachart_client import Gap, InstanceDeleted, Snapshot, Tokens, Transition

    match event:
        case Snapshot(state=state):
            value = OUT.style(value_text(state.value), "bold")
            _columns(instant(state.updated_at), state.instance, state.version, "", value)
        case Gap(state=state):
            value = OUT.style(value_text(state.value), "bold")
            _columns(instant(state.updated_at), state.instance, state.version, "(skipped)", value)
        case Tokens(instance=instance, events=events):
            for one in events:
                _text(instance, one)
        case Transition():
            _transition(event)
        case InstanceDeleted(instance=instance, entry=entry):
            gone = OUT.style("deleted", "red")
            _columns(instant(entry.created_at), instance, entry.to_version, "(deleted)", gone)
        case _:
            if ERR.is_terminal:
                ERR.line(ERR.style("up to date; watching for changes, Ctrl-C ends", "dim"))


def _transition(event: Transition) -> None:
    from durachart.app.cli.rendering import instant, value_text
    from durachart.app.cli.terminal import OUT

    entry, state = event.entry, event.state
    before, after = value_text(entry.from_value), value_text(state.value)
    arrow = " → " if before else ""
    change = before + arrow + OUT.style(after, "bold") if before != after else OUT.style(after, "dim")
    effects = [f"{'emits' if one.emitted else 'asks for'} {one.type}" for one in entry.effects]
    what = entry.event_type or "(created)"
    _columns(instant(entry.created_at), state.instance, state.version, what, change, *effects)


def _text(instance: InstanceRef, event: TokenEvent) -> None:
    import json

    from durachart.app.cli.terminal import OUT
    from durachart_client import AttemptStarted, Text

    match event:
        case Text(text=text):
            cells = [str(instance), "text", json.dumps(text, ensure_ascii=False)]
        case AttemptStarted(attempt=attempt, model=model):
            cells = [str(instance), "begins", f"attempt {attempt}", model]
        case _:
            cells = [str(instance), "ends", event.outcome, event.error_message]
    OUT.line(("  " if OUT.is_terminal else "\t").join(cell for cell in cells if cell))


def _columns(moment: str, instance: InstanceRef, version: int, *rest: str) -> None:
    from durachart.app.cli.terminal import OUT

    cells = [OUT.style(moment, "dim"), str(instance), f"v{version}", *rest]
    OUT.line("  ".join(cell for cell in cells if cell) if OUT.is_terminal else "\t".join(cells))
