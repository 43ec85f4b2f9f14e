"""Durachart with a clock at its commits and in its built-in model, and otherwise as it is.

``python -m bench.stamped_server serve …`` takes the options of ``durachart serve``. Every transition
carries the instant after its commit where the trace context of its caller would be, every word of the
built-in model is the instant at which it was made; both as the system's monotonic clock in nanoseconds. On
SIGUSR1 it writes what it holds, see `bench.insight`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

from bench.insight import tell_on_signal
from durachart.app.cli import main
from durachart.runtime.log import Change, Transition
from durachart.runtime.runtime import Runtime
from durachart.workers.providers.local import LocalProvider
from durachart.workers.providers.protocol import Finished, GenerationRequest, TextDelta, Usage

_committed: Any = Runtime._committed
_running: Any = Runtime.running


def committed(self: Runtime, changes: list[Change], newest: int, writes: Any) -> None:
    stamp = str(time.monotonic_ns())
    for change in changes:
        if isinstance(change, Transition):
            row = change.entry.row._replace(traceparent=stamp)
            change.entry = change.entry._replace(row=row)
    _committed(self, changes, newest, writes)


def running(self: Runtime) -> Any:
    tell_on_signal()
    return _running(self)


async def stream(
    self: LocalProvider, request: GenerationRequest
) -> AsyncGenerator[TextDelta | Finished, None]:
    """As many words as the prompt says."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    words = int(request.messages[-1].content)
    for _ in range(words):
        due += self._delay_s
        await asyncio.sleep(due - loop.time())
        yield TextDelta(f"{time.monotonic_ns()} ")
    yield Finished("stop", "local", Usage(1, words))


if __name__ == "__main__":
    setattr(Runtime, "_committed", committed)  # noqa: B010
    setattr(Runtime, "running", running)  # noqa: B010
    setattr(LocalProvider, "stream", stream)  # noqa: B010
    main()
