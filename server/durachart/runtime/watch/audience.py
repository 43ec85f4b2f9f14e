"""Who is told of what is committed: the live watches, by what they watch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import TypeVar

from durachart.runtime.log import Change
from durachart.runtime.watch.cursor import Watcher
from durachart.store.keys import InstanceKey

_K = TypeVar("_K")


class Audience:
    """See the module.

    Attributes:
        live: Every live watch.
        by_key: Those of single instances.
        by_machine: Those of a machine's instances, by its namespace and id.
    """

    def __init__(self) -> None:
        self.live: set[Watcher] = set()
        self.by_key: dict[InstanceKey, set[Watcher]] = {}
        self.by_machine: dict[tuple[str, str], set[Watcher]] = {}

    def attach(self, watcher: Watcher, keys: Iterable[InstanceKey], machine: tuple[str, str] | None) -> None:
        """Tell ``watcher`` from now on of what happens to ``keys``, or to the instances of ``machine``."""
        self.live.add(watcher)
        if machine is not None:
            self.by_machine.setdefault(machine, set()).add(watcher)
        for key in keys:
            self.by_key.setdefault(key, set()).add(watcher)

    def detach(self, watcher: Watcher, keys: Iterable[InstanceKey], machine: tuple[str, str] | None) -> None:
        """Tell ``watcher`` of nothing any more; arguments as of `attach`."""
        self.live.discard(watcher)
        if machine is not None:
            _remove(self.by_machine, machine, watcher)
        for key in keys:
            _remove(self.by_key, key, watcher)

    def tell(self, changes: list[Change]) -> None:
        """Offer every watch what it watches of ``changes``, which are in the order of the log."""
        # A watch is in one of the two.
        if self.by_key:
            _offer(self.by_key, changes, _key_of)
        if self.by_machine:
            _offer(self.by_machine, changes, _machine_of)


def _key_of(change: Change) -> InstanceKey:
    return change.key


def _machine_of(change: Change) -> tuple[str, str]:
    return change.key.namespace, change.key.machine_id


def _offer(index: Mapping[_K, set[Watcher]], changes: list[Change], of: Callable[[Change], _K]) -> None:
    for what, run in groupby(changes, of):
        watchers = index.get(what)
        if watchers:
            told = list(run)
            size_bytes = sum(change.size_bytes for change in told)
            for watcher in watchers:
                watcher.offer(told, size_bytes)


def _remove(index: dict[_K, set[Watcher]], key: _K, watcher: Watcher) -> None:
    watchers = index.get(key)
    if watchers is not None:
        watchers.discard(watcher)
        if not watchers:
            del index[key]
