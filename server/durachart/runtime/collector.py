"""Python's collector of cyclic garbage, set for a process that keeps very many small values."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_THRESHOLDS: Final = (50_000, 20, 50)


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Collect cyclic garbage seldom, and never look through what exists already; process-wide.

    An event makes some fifty tuples, nearly none of them part of a cycle, while thousands of instances and
    transitions stay. By default the collector would go through all of them again and again: measured, a
    fifth of the processor time of an event. To be entered once everything that stays has been set up.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
