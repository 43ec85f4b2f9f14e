"""What a command says while the server is gone that its stream had reached."""

from __future__ import annotations

from datetime import timedelta

from durachart.app.cli.terminal import ERR
from durachart_client import ServerError, StreamClosing


class Outage:
    """Says on standard error that a connection was lost and that there is one again: once for each outage.

    An end that the server announced is none, unless the connection that should go on fails.
    """

    def __init__(self) -> None:
        self._said = False

    def lost(self, failure: ServerError, wait: timedelta) -> None:
        """A connection was lost; a stream's ``on_interrupt``."""
        if self._said or isinstance(failure, StreamClosing):
            return
        self._said = True
        why = failure.message or "no server answers"
        ERR.line(ERR.style(f"connection lost, trying again: {why}", "yellow"))

    def over(self) -> None:
        """Something was heard."""
        if self._said:
            self._said = False
            ERR.line(ERR.style("connected again", "green"))
