"""Which requests of a connection may run, so that the responses it does not read do not pile up.

A request whose response is one message runs to its end whether or not the peer reads, and nothing but the
size of a context bounds that message. So there may only be as many under way as have room for responses like
the last ones, beside what has not been read; the others wait for their turn, in the order in which they came.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from durachart.fronts.http2.exchange import Exchange

_MOST_UNDER_WAY: Final = 1024
"""More do not make a server faster."""


class Admission:
    """See the module.

    Args:
        room_bytes: What the responses may come to, about: those that are not read, and those to come.
        start: Runs a request that had to wait.

    Attributes:
        unread_bytes: Of responses that are complete, what has not left.
    """

    __slots__ = ("_expected_bytes", "_held", "_room_bytes", "_start", "_under_way", "unread_bytes")

    def __init__(self, room_bytes: int, start: Callable[[Exchange], None]) -> None:
        self._room_bytes = room_bytes
        self._start = start
        self._under_way = 0
        self._held: OrderedDict[int, Exchange] = OrderedDict()
        # What the next response will be like: the largest lately.
        self._expected_bytes = room_bytes // _MOST_UNDER_WAY
        self.unread_bytes = 0

    def enter(self, exchange: Exchange) -> bool:
        """Whether a request may run now; otherwise it is started later."""
        if self._held or not self._has_room():
            self._held[exchange.stream] = exchange
            return False
        exchange.admitted = True
        self._under_way += 1
        return True

    def ended(self, exchange: Exchange) -> None:
        """A request runs no more; those that were never let in are none of them."""
        if not exchange.admitted:
            return
        exchange.admitted = False
        self._under_way -= 1
        if exchange.answer_bytes:
            # A large one is remembered for a while.
            self._expected_bytes = max(exchange.answer_bytes, self._expected_bytes * 7 // 8)
        if self._held:
            self.go_on()

    def forget(self, exchange: Exchange) -> None:
        """One that may be waiting has been given up."""
        if self._held:
            self._held.pop(exchange.stream, None)

    def go_on(self) -> None:
        """Start those that wait and have room by now."""
        while self._held and self._has_room():
            _, exchange = self._held.popitem(last=False)
            exchange.admitted = True
            self._under_way += 1
            self._start(exchange)

    def _has_room(self) -> bool:
        under_way = self._under_way
        return under_way < _MOST_UNDER_WAY and (
            self.unread_bytes + (under_way + 1) * self._expected_bytes <= self._room_bytes
            or not (under_way or self.unread_bytes)
        )
