"""What callers are told when something fails that is not theirs."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable

from durachart.runtime.errors import DurachartError
from durachart.runtime.queue.batch import Ticket

_log = logging.getLogger(__name__)


def fail(tickets: Iterable[Ticket], error: Exception) -> None:
    """Tell the callers that still wait."""
    for ticket in tickets:
        if not ticket.waiter.done():
            ticket.waiter.set_exception(error)


def unexpected(error: Exception) -> DurachartError:
    """An error to be told of an exception that nobody foresaw; the log has that one, under the same id."""
    error_id = uuid.uuid4().hex
    _log.error("command failed error_id=%s", error_id, exc_info=error)
    return DurachartError(
        f"the command failed unexpectedly; the server's log has the cause under id {error_id}"
    )
