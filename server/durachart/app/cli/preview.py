"""``preview``: what an event would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from durachart.app.cli.options import (
    DataArgument,
    EventArgument,
    InstanceArgument,
    JsonOption,
    MachineArgument,
    NamespaceOption,
    ServerOption,
    TimeoutOption,
    target,
)

if TYPE_CHECKING:
    from durachart_client import Client, Preview, PreviewTransition


def preview(
    context: typer.Context,
    machine: MachineArgument,
    instance: InstanceArgument,
    event: EventArgument,
    data: DataArgument = None,
    version: Annotated[
        int | None,
        typer.Option(
            "--version",
            metavar="N",
            min=0,
            max=2**63 - 1,
            help="Ask at this version of the past instead of the current one.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    server: ServerOption = None,
    namespace: NamespaceOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Show what EVENT would do to an instance, and why; nothing is written."""
    from durachart.app.cli.arguments import event_data
    from durachart.app.cli.jsonlines import emit
    from durachart.app.cli.session import run

    payload = event_data(data or [])

    async def act(client: Client) -> None:
        shown = await client.preview(machine, instance, event, payload, version=version)
        if as_json:
            emit(shown)
        else:
            _show(shown)

    run(target(context, server, namespace, timeout), act, machine)


def _show(shown: Preview) -> None:
    from durachart.app.cli.rendering import compact, value_text
    from durachart.app.cli.terminal import OUT

    state = shown.state
    value = OUT.style(value_text(state.value), "bold")
    if shown.accepted:
        word = "would be accepted" if shown.changed else "would be accepted, no change"
        OUT.line(f"{OUT.style(word, 'green')}: {state.instance} would be {value} (version {state.version})")
        OUT.line(f"  {OUT.style('context', 'cyan')} {compact(state.context)}")
    else:
        OUT.line(f"{OUT.style('would be refused', 'yellow')} ({shown.reason}): {shown.message}")
    for effect in shown.effects:
        kind = "would emit" if effect.emitted else "would ask for"
        OUT.line(f"  {OUT.style(kind, 'cyan')} {effect.type}")
    for transition in shown.transitions:
        OUT.line(f"  {_transition(transition)}")


def _transition(transition: PreviewTransition) -> str:
    from durachart.app.cli.terminal import OUT

    where = ", ".join(transition.target_state_ids) or "stays"
    guard = f" if {transition.guard}" if transition.guard else ""
    became = {
        True: OUT.style("selected", "green"),
        False: OUT.style("guard false", "yellow"),
        None: OUT.style("not asked", "dim"),
    }[transition.passed]
    return f"{transition.event_descriptor} of {transition.source_state_id} → {where}{guard}: {became}"
