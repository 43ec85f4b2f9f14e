"""Work that has to end in time, at a cost that nearly every call can pay."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from durachart.rpc.errors import deadline_exceeded

_T = TypeVar("_T")


async def before(deadline: float, work: Coroutine[Any, Any, _T]) -> _T:
    """Await ``work``; at ``deadline`` it is cancelled, unwound, and DEADLINE_EXCEEDED is raised.

    Args:
        deadline: On the event loop's clock, in seconds. When it has passed, ``work`` does not begin.
        work: What may take so long.

    Raises:
        RpcError: DEADLINE_EXCEEDED. Whatever else ``work`` raises is raised as it is.
    """
    loop = asyncio.get_running_loop()
    if deadline <= loop.time():
        work.close()
        raise deadline_exceeded()
    task = asyncio.current_task()
    assert task is not None
    overdue = False

    def give_up() -> None:
        nonlocal overdue
        overdue = True
        task.cancel()

    # What asyncio.timeout does, at a third of its cost, which nearly every call pays.
    timer = loop.call_at(deadline, give_up)
    try:
        return await work
    except asyncio.CancelledError:
        if overdue and task.uncancel() == 0:
            raise deadline_exceeded() from None
        raise
    finally:
        timer.cancel()
