"""``create``, ``send``, ``get``, ``delete``, ``instances`` and ``journal``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from durachart.app.cli.options import (
    DataArgument,
    EventArgument,
    ExpectedVersionOption,
    InputOption,
    InstanceArgument,
    JsonOption,
    LabelOption,
    MachineArgument,
    NamespaceOption,
    RequestIdOption,
    ServerOption,
    StateOption,
    StatusOption,
    TagOption,
    TimeoutOption,
    target,
)

# What states in lists have no value of: `get` shows them.
_NOT_LISTED = frozenset({"allowed_events", "context", "evaluated_at", "meta", "output"})

if TYPE_CHECKING:
    from durachart.app.cli.options import Target
    from durachart_client import Client, InstanceState

# Bodies import what they need: `durachart --help` should not wait for gRPC.


def create(
    context: typer.Context,
    machine: MachineArgument,
    instance: InstanceArgument,
    machine_input: InputOption = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY=VALUE", help="Kept with the instance; repeatable."),
    ] = None,
    request_id: RequestIdOption = None,
    as_json: JsonOption = False,
    server: ServerOption = None,
    namespace: NamespaceOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Start an instance of MACHINE at version 0."""
    from durachart.app.cli.arguments import json_value, pairs
    from durachart.app.cli.jsonlines import emit
    from durachart.app.cli.session import run
    from durachart.app.cli.terminal import OUT

    value = None if machine_input is None else json_value(machine_input, "--input")
    labels = pairs(label or [], "--label")

    async def act(client: Client) -> None:
        created = await client.create(machine, instance, value, labels=labels, request_id=request_id)
        if as_json:
            emit(created)
            return
        word = "created before" if created.replayed else "created"
        OUT.line(f"{OUT.style(word, 'green')} {_summary(created.state)}")

    run(target(context, server, namespace, timeout), act, machine)


def send(
    context: typer.Context,
    machine: MachineArgument,
    instance: InstanceArgument,
    event: EventArgument,
    data: DataArgument = None,
    expected_version: ExpectedVersionOption = None,
    create_if_missing: Annotated[
        bool, typer.Option("--create", help="Create the instance first if there is none.")
    ] = False,
    machine_input: InputOption = None,
    request_id: RequestIdOption = None,
    as_json: JsonOption = False,
    server: ServerOption = None,
    namespace: NamespaceOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Send EVENT to an instance and show the state it led to."""
    from durachart.app.cli.arguments import event_data, json_value
    from durachart.app.cli.jsonlines import emit
    from durachart.app.cli.session import run
    from durachart.app.cli.terminal import OUT

    payload = event_data(data or [])
    value = None if machine_input is None else json_value(machine_input, "--input")

    async def act(client: Client) -> None:
        accepted = await client.send(
            machine,
            instance,
            event,
            payload,
            expected_version=expected_version,
            create_if_missing=create_if_missing,
            input=value,
            request_id=request_id,
        )
        if as_json:
            emit(accepted)
            return
        word = (
            "accepted before"
            if accepted.replayed
            else "accepted"
            if accepted.changed
            else "accepted, no change"
        )
        OUT.line(f"{OUT.style(word, 'green')} {_summary(accepted.state)}")
        for effect in accepted.effects:
            kind = "emitted" if effect.emitted else "effect"
            OUT.line(f"  {OUT.style(kind, 'cyan')} {effect.type}")

    run(target(context, server, namespace, timeout), act, machine)


def get(
    context: typer.Context,
    machine: MachineArgument,
    instance: InstanceArgument,
    as_json: JsonOption = False,
    server: ServerOption = None,
    namespace: NamespaceOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Show the state of an instance, its context, and what it would accept now."""
    from durachart.app.cli.jsonlines import emit
    from durachart.app.cli.rendering import show_state
    from durachart.app.cli.session import run

    async def act(client: Client) -> None:
        state = await client.get(machine, instance)
        if as_json:
            emit(state)
        else:
            show_state(state)

    run(target(context, server, namespace, timeout), act, machine)


def delete(
    context: typer.Context,
    machine: MachineArgument,
    instance: InstanceArgument,
    purge: Annotated[
        bool,
        typer.Option(
            "--purge", help="Remove its journal and effects at once, but for the entry of the deletion."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    expected_version: ExpectedVersionOption = None,
    request_id: RequestIdOption = None,
    as_json: JsonOption = False,
    server: ServerOption = None,
    namespace: NamespaceOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """End an instance with its timers and effects; another may be created under its name.

    Asks first on a terminal; elsewhere it needs --yes.
    """
    import sys

    from durachart.app.cli.exits import ExitCode, Failure
    from durachart.app.cli.jsonlines import emit
    from durachart.app.cli.rendering import value_text
    from durachart.app.cli.session import run
    from durachart.app.cli.terminal import OUT

    if not yes and not sys.stdin.isatty():
        raise Failure(ExitCode.USAGE, "nobody is there to ask whether to delete it; say so with --yes")
    chosen = target(context, server, namespace, timeout)
    if not yes:
        _ask_whether_to_delete(chosen, machine, instance, purge=purge)

    async def act(client: Client) -> None:
        deleted = await client.delete(
            machine, instance, expected_version=expected_version, purge=purge, request_id=request_id
        )
        if as_json:
            emit(deleted)
            return
        word = "deleted before" if deleted.replayed else "deleted"
        last = deleted.state
        was = f"was {value_text(last.value)} (version {last.version})"
        OUT.line(f"{OUT.style(word, 'red')} {last.instance}; {was}")

    run(chosen, act, machine)


def _ask_whether_to_delete(chosen: Target, machine: str, instance: str, *, purge: bool) -> None:
    """Return when somebody at the terminal says yes.

    Raises:
        Failure: They said no, or pressed Ctrl-C or Ctrl-D; or the instance cannot be shown.
    """
    from durachart.app.cli.exits import ExitCode, Failure
    from durachart.app.cli.rendering import value_text
    from durachart.app.cli.session import run
    from durachart.app.cli.terminal import ERR

    found: list[InstanceState] = []

    async def look(client: Client) -> None:
        found.append(await client.get(machine, instance, view="basic"))

    run(chosen, look, machine)
    (state,) = found
    everything = " with its journal" if purge else ""
    question = f"Delete {state.instance}, now in {value_text(state.value)}{everything}?"
    # Not in the event loop, which would keep Ctrl-C for itself until the question is answered.
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        agreed = False
        ERR.line()
    if not agreed:
        raise Failure(ExitCode.INTERRUPTED, f"{state.instance} is left as it is")


def instances(
    context: typer.Context,
    machine: Annotated[
        str, typer.Argument(metavar="[MACHINE]", help="Only of this machine.", show_default=False)
    ] = "",
    status: StatusOption = None,
    state: StateOption = None,
    tag: TagOption = None,
    label: LabelOption = None,
    where: Annotated[
        str,
        typer.Option(
            "--where",
            metavar="EXPRESSION",
            help="Only those of which this CEL expression is true, as in 'context.total > 100.0'.",
            show_default=False,
        ),
    ] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most this many.")] = 100,
    as_json: JsonOption = False,
    server: ServerOption = None,
    namespace: NamespaceOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """List instances by machine and id."""
    from durachart.app.cli.arguments import pairs
    from durachart.app.cli.jsonlines import emit, plain
    from durachart.app.cli.lookup import require_machine
    from durachart.app.cli.rendering import day_and_time, value_text
    from durachart.app.cli.session import first, run, tell
    from durachart.app.cli.terminal import OUT

    labels = pairs(label or [], "--label")

    async def act(client: Client) -> None:
        wanted = client.instances(
            machine,
            status=status,
            state_ids=state or (),
            tags=tag or (),
            labels=labels,
            filter=where,
            page_size=min(limit + 1, 1000),
        )
        found = await first(wanted, limit, "instances")
        if not found:
            if machine:
                await require_machine(client, machine)
            tell("no instances")
        if as_json:
            for one in found:
                emit({name: value for name, value in plain(one).items() if name not in _NOT_LISTED})
            return
        OUT.table(
            ("instance", "state", "version", "status", "updated"),
            (
                (
                    str(one.instance),
                    value_text(one.value),
                    str(one.version),
                    one.status,
                    day_and_time(one.updated_at),
                )
                for one in found
            ),
            wrapping=("state",),
            expendable=("updated", "status", "version"),
        )

    run(target(context, server, namespace, timeout), act, machine)


def journal(
    context: typer.Context,
    machine: MachineArgument,
    instance: InstanceArgument,
    newest_first: Annotated[bool, typer.Option("--newest-first", help="The other way round.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most this many.")] = 1000,
    as_json: JsonOption = False,
    server: ServerOption = None,
    namespace: NamespaceOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Show every attempt to change an instance, refused ones too."""
    from durachart.app.cli.jsonlines import emit
    from durachart.app.cli.rendering import show_journal
    from durachart.app.cli.session import first, run

    async def act(client: Client) -> None:
        listing = client.journal(machine, instance, newest_first=newest_first, page_size=min(limit + 1, 1000))
        entries = await first(listing, limit, "attempts")
        if as_json:
            for entry in entries:
                emit(entry)
        else:
            show_journal(entries)

    run(target(context, server, namespace, timeout), act, machine)


def _summary(state: InstanceState) -> str:
    from durachart.app.cli.rendering import value_text
    from durachart.app.cli.terminal import OUT

    if state.done:
        then = "done"
    else:
        then = f"allowed: {', '.join(state.allowed_events)}" if state.allowed_events else "nothing is allowed"
    value = OUT.style(value_text(state.value), "bold")
    return f"{state.instance}: {value} (version {state.version}); {then}"
