"""A way out for what a stream has to say while its handler waits."""

from __future__ import annotations

from typing import Protocol, TypeVar

_T_contra = TypeVar("_T_contra", contravariant=True)


class Outlet(Protocol[_T_contra]):
    """Takes responses from whoever has one, in the turn in which it is made.

    It saves waking the handler, which would be two turns of the loop later and behind everybody else who was
    woken. Only to be used while the handler waits for something to yield, so that nothing overtakes anything.
    """

    @property
    def is_open(self) -> bool:
        """Whether a response would leave now: nothing of the stream waits for its reader."""

    def put(self, response: _T_contra, *, at_once: bool) -> None:
        """Send a response.

        Args:
            response: What to send.
            at_once: Nothing else is known that could leave together with it.
        """
