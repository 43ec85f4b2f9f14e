"""Sessions that were lost amid a statement: nobody knows whether it will still be carried out.

A connection that breaks leaves its session at work until the database notices, and what it was asked to
commit may be committed long after the caller was told that this is not known. Whoever looked in between
would look too early. So before anything else is asked of the database, such sessions are ended, and it is
waited until they have gone: from then on, what is there is what came of them.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final

import asyncpg

_PAUSE_S: Final = 0.01
_IDENTITY: Final = "SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
# A process id may have been given to another session since, but not with the same instant.
_END: Final = (
    "SELECT pg_terminate_backend(s.pid) FROM pg_stat_activity s"
    " JOIN unnest($1::integer[], $2::timestamptz[]) AS l(pid, began)"
    " ON s.pid = l.pid AND s.backend_start = l.began"
)


class Sessions:
    """The sessions of a pool, and those of them that were lost."""

    def __init__(self) -> None:
        """There are none."""
        self._began: dict[int, datetime] = {}
        self._lost: dict[int, datetime] = {}

    async def note(self, connection: asyncpg.Connection) -> None:
        """Remember a new connection's session."""
        self._began[connection.get_server_pid()] = await connection.fetchval(_IDENTITY)

    def lose(self, pid: int) -> None:
        """A connection broke while a statement was under way in this session."""
        began = self._began.pop(pid, None)
        if began is not None:
            self._lost[pid] = began

    async def settle(self, connection: asyncpg.Connection) -> None:
        """Wait until no lost session is at work. Costs nothing when none was lost."""
        while self._lost:
            lost = dict(self._lost)
            if not await connection.fetch(_END, list(lost), list(lost.values())):
                for pid in lost:
                    self._lost.pop(pid, None)
                return
            await asyncio.sleep(_PAUSE_S)
