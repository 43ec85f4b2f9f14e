"""The doorbell between nodes over NATS; see ``durachart.store.postgres.bell`` for what a doorbell is."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from durachart.broker.link import NatsLink
from durachart.store.interface import Hint, HintListener

_EVERYTHING: Final = ~Hint(0)


class NatsBell:
    """Rings and hears through a broker."""

    def __init__(self, link: NatsLink, *, interval_s: float = 0.005) -> None:
        """Prepare; nothing is rung or heard before `start`.

        Args:
            link: The broker.
            interval_s: Shortest time between two rings, in seconds; hints in between are gathered.
        """
        self._link = link
        self._interval_s = interval_s
        self._node = secrets.token_hex(8)
        self._listeners: list[HintListener] = []
        self._pending = Hint(0)
        self._wake = asyncio.Event()
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    def listen(self, listener: HintListener) -> None:
        """Call ``listener`` on the loop with what other nodes may have changed."""
        self._listeners.append(listener)

    def ring(self, hints: Hint) -> None:
        """Tell the other nodes soon."""
        self._pending |= hints
        self._wake.set()

    def start(self, uid: str) -> None:
        """Begin to ring and to hear for the database ``uid``."""
        subject = f"durachart.{uid}.log"
        self._link.on_connect(lambda: self._tell(_EVERYTHING))  # whatever was rung while nobody listened
        self._tasks = (
            asyncio.create_task(self._keep_ringing(subject), name="durachart-bell-rings"),
            asyncio.create_task(self._link.listen(subject, self._heard), name="durachart-bell-hears"),
        )

    async def close(self) -> None:
        """End. May be called again."""
        tasks, self._tasks = self._tasks, ()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _keep_ringing(self, subject: str) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            hints, self._pending = self._pending, Hint(0)
            await self._link.publish(subject, f"{self._node} {hints.value}".encode())
            await asyncio.sleep(self._interval_s)

    def _heard(self, payload: bytes) -> None:
        node, _, hints = payload.decode(errors="replace").partition(" ")
        if node != self._node and hints.isascii() and hints.isdecimal() and len(hints) < 10:
            # A newer release may know more of them.
            self._tell(Hint(int(hints) & _EVERYTHING.value))

    def _tell(self, hints: Hint) -> None:
        for listener in self._listeners:
            listener(hints)
