"""The doorbell between nodes: ``NOTIFY`` rings, ``LISTEN`` hears.

It rings outside of the event path, on a connection of its own, and at most every few milliseconds: ``NOTIFY``
inside each commit would make all commits of the cluster wait for each other. It carries nothing but a hint of
what changed. A ring that is lost (a connection breaks, a node is slow) costs those who wait for it their poll
interval and nothing else, so none is ever repeated.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol

import asyncpg

from durachart.store.interface import Hint, HintListener
from durachart.store.postgres.failures import FAILURES, describe

_log = logging.getLogger(__name__)

CHANNEL: Final = "durachart"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0

Connect = Callable[[], Awaitable[asyncpg.Connection]]


class Bell(Protocol):
    """Tells the nodes of a database what they may want to look at."""

    def listen(self, listener: HintListener) -> None:
        """Call ``listener`` on the loop with what other nodes may have changed."""

    def ring(self, hints: Hint) -> None:
        """Tell the other nodes soon."""

    def start(self, uid: str) -> None:
        """Begin to ring and to hear for the database ``uid``."""

    async def close(self) -> None:
        """End. May be called again."""


class PostgresBell:
    """Rings and hears through the database."""

    def __init__(self, connect: Connect, *, interval_s: float = 0.005) -> None:
        """Prepare; nothing is rung or heard before `start`.

        Args:
            connect: Opens a connection.
            interval_s: Shortest time between two rings, in seconds; hints in between are gathered.
        """
        self._connect = connect
        self._interval_s = interval_s
        self._node = secrets.token_hex(8)
        self._listeners: list[HintListener] = []
        self._pending = Hint(0)
        self._wake = asyncio.Event()
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._hearing: asyncpg.Connection | None = None

    def listen(self, listener: HintListener) -> None:
        """Call ``listener`` on the loop with what other nodes may have changed."""
        self._listeners.append(listener)

    def ring(self, hints: Hint) -> None:
        """Tell the other nodes soon."""
        self._pending |= hints
        self._wake.set()

    def start(self, uid: str) -> None:
        """Begin to ring and to hear; failures are logged and tried again.

        Args:
            uid: Of the database. Its channel is its own, whatever its uid.
        """
        self._tasks = (
            asyncio.create_task(self._keep_ringing(), name="durachart-bell-rings"),
            asyncio.create_task(self._keep_hearing(), name="durachart-bell-hears"),
        )

    async def close(self) -> None:
        """End. May be called again."""
        tasks, self._tasks = self._tasks, ()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def break_off(self) -> None:
        """Lose the connection that hears, as a network may; it is opened again."""
        if self._hearing is not None:
            self._hearing.terminate()

    async def _keep_ringing(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                connection = await self._connect()
            except FAILURES as error:
                _log.warning("doorbell cannot be rung error=%s", describe(error))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                continue
            pause_s = _FIRST_PAUSE_S
            try:
                # It need not wait for the disk: a ring that is lost is no loss.
                await connection.execute("SET synchronous_commit = off")
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    hints, self._pending = self._pending, Hint(0)
                    payload = f"{self._node} {hints.value}"
                    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)
                    await asyncio.sleep(self._interval_s)
            except FAILURES as error:
                _log.warning("doorbell broke error=%s", describe(error))
            finally:
                connection.terminate()

    async def _keep_hearing(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                connection = await self._connect()
                try:
                    lost = _lost(connection)
                    await connection.add_listener(CHANNEL, self._heard)
                    self._hearing = connection
                    pause_s = _FIRST_PAUSE_S
                    # Whatever was rung while nobody listened.
                    self._tell(~Hint(0))
                    await lost.wait()
                    _log.warning("doorbell is not heard until its connection is back")
                finally:
                    self._hearing = None
                    with suppress(*FAILURES):
                        connection.terminate()
            except FAILURES as error:
                _log.warning("doorbell cannot be heard error=%s", describe(error))
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        node, _, hints = str(payload).partition(" ")
        if node != self._node and hints.isdigit():
            # A newer release may know more of them.
            self._tell(Hint(int(hints) & (~Hint(0)).value))

    def _tell(self, hints: Hint) -> None:
        for listener in self._listeners:
            try:
                listener(hints)
            except Exception:  # noqa: BLE001 - logged; it must not end the doorbell
                _log.exception("doorbell's listener failed")


def _lost(connection: asyncpg.Connection) -> asyncio.Event:
    """Set once the connection has ended."""
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _: lost.set())
    return lost
