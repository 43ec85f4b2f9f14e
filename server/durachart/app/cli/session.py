"""One command against one server: open a client, act, and turn what fails into an exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from durachart.app.cli.exits import ExitCode, Failure, of_client_error
from durachart.app.cli.lookup import meant_event, unknown_machine
from durachart.app.cli.options import Target
from durachart.app.cli.terminal import ERR
from durachart_client import (
    Client,
    ClientError,
    EventNotAllowed,
    InstanceNotFound,
    Listing,
    MachineNotFound,
    RetryPolicy,
)

Item = TypeVar("Item")

# A person waits: somebody who forgot to start the server should hear of it in a moment, a restart should
# pass unnoticed.
_RETRY = RetryPolicy(initial_ms=100, maximum_ms=400, max_attempts=4)


def run(target: Target, act: Callable[[Client], Awaitable[None]], machine: str = "") -> None:
    """Run ``act`` with an open client.

    Args:
        target: Which server.
        act: What to do.
        machine: The machine that was named; what cannot be found is then explained by its absence. ``""``:
            none was.

    Raises:
        Failure: A call failed, or cannot be made with these arguments.
        KeyboardInterrupt: Ctrl-C; the client is closed by then.
    """
    try:
        asyncio.run(_with_client(target, act, machine))
    except ClientError as error:
        raise of_client_error(error, target.server) from error
    except UnicodeEncodeError as error:
        raise Failure(ExitCode.USAGE, "an argument is not UTF-8 text, which is all that travels") from error


async def _with_client(target: Target, act: Callable[[Client], Awaitable[None]], machine: str) -> None:
    async with Client(
        target.server, namespace=target.namespace, timeout=target.timeout, retry=_RETRY
    ) as client:
        try:
            await act(client)
        except (InstanceNotFound, MachineNotFound) as error:
            failure = await unknown_machine(client, machine) if machine else None
            if failure is None:
                raise
            raise failure from error
        except EventNotAllowed as error:
            meant = await meant_event(client, error)
            if not meant:
                raise
            failure = of_client_error(error, target.server)
            failure.sentence += f"; did you mean {meant!r}?"
            raise failure from error


async def first(listing: Listing[Item], limit: int, what: str) -> list[Item]:
    """At most ``limit`` items from the start of a listing.

    A terminal is told on standard error when there are more of ``what``.
    """
    found: list[Item] = []
    async for item in listing:
        if len(found) == limit:
            tell(f"there are more {what}: see --limit")
            break
        found.append(item)
    return found


def tell(what: str) -> None:
    """Say something beside the answer, on standard error, to people only."""
    if ERR.is_terminal:
        ERR.line(ERR.style(what, "dim"))
