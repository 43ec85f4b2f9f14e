"""What a store's failure is to whoever called: one error with one reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from durachart.runtime.errors import StoreUnavailable
from durachart.store.errors import StoreFailed


@contextmanager
def told_as_unavailable() -> Iterator[None]:
    """Raise `StoreUnavailable` for what the store raises in this block."""
    try:
        yield
    except StoreFailed as error:
        raise StoreUnavailable(str(error)) from error
