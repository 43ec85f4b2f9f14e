"""Whether what was named exists, and what may have been meant instead."""

from __future__ import annotations

from contextlib import suppress
from difflib import get_close_matches

from durachart.app.cli.exits import ExitCode, Failure
from durachart.app.cli.terminal import ERR
from durachart_client import (
    Client,
    ClientError,
    EventNotAllowed,
    InstanceNotFound,
    InstanceRef,
    MachineNotFound,
)


async def require_machine(client: Client, machine: str) -> None:
    """Return when the machine is published.

    Raises:
        Failure: It is not; the sentence names the one that was probably meant.
        ClientError: The server did not say.
    """
    try:
        await client.machine(machine)
    except MachineNotFound as error:
        raise await _unknown(client, machine) from error


async def unknown_machine(client: Client, machine: str) -> Failure | None:
    """The failure of ``require_machine``; None when the machine exists or nobody can tell."""
    try:
        await require_machine(client, machine)
    except Failure as failure:
        return failure
    except ClientError:
        return None
    return None


async def meant_event(client: Client, refused: EventNotAllowed) -> str:
    """The event that was probably meant; ``""``: the machine knows the one that was sent, or none like it."""
    if refused.instance is None:
        return ""
    try:
        known = (await client.machine(refused.instance.machine_id)).event_types
    except ClientError:
        return ""
    if refused.event_type in known:
        return ""
    folded = {name.casefold(): name for name in known}
    close = get_close_matches(refused.event_type.casefold(), folded, n=1)
    return folded[close[0]] if close else ""


async def note_missing(client: Client, machine: str, instances: list[str]) -> None:
    """Say on standard error which of these instances do not exist yet."""
    for instance in instances:
        try:
            await client.get(machine, instance, view="basic")
        except InstanceNotFound:
            name = InstanceRef(machine, instance, client.namespace)
            ERR.line(f"{name} does not exist yet; its creation will be shown")


async def _unknown(client: Client, machine: str) -> Failure:
    known: list[str] = []
    with suppress(ClientError):  # Without a list only the suggestion is lost.
        known = [one.machine_id async for one in client.machines()]
    close = get_close_matches(machine, known, n=1)
    if close:
        advice = f"did you mean {close[0]!r}?"
    elif known:
        advice = "`durachart machines` lists those there are"
    else:
        advice = "publish its definition first"
    sentence = f"there is no machine {machine!r}; {advice}"
    return Failure(ExitCode.NOT_FOUND, sentence, reason=MachineNotFound.REASON)
