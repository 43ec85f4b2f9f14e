"""The cache holds what was committed, within its bounds."""

from __future__ import annotations

import gc
import json
import tracemalloc

from durachart.runtime.instance import Seat, restored
from durachart.runtime.queue.cache import InstanceCache
from durachart.store.interface import NO_JOURNAL, StoredInstance
from durachart.store.keys import InstanceKey
from durachart.store.rows import InstanceRow
from tests.unit.runtime.samples import Trial, key


def _seat(name: str, text: str = "") -> Seat:
    trial = Trial()
    trial.create()
    instance = trial.instance._replace(key=key(name), context_json=text or trial.instance.context_json)
    return Seat(instance, trial.seat.head)


def _held(cache: InstanceCache, *names: str) -> list[str]:
    return [name for name in names if cache.get(key(name)) is not None]


def test_the_least_recently_used_go_first() -> None:
    cache = InstanceCache(2, 10**9)
    for name in ("a", "b"):
        cache.put(key(name), _seat(name))
    cache.get(key("a"))
    cache.put(key("c"), _seat("c"))
    assert _held(cache, "a", "b", "c") == ["a", "c"]
    assert len(cache) == 2


def test_the_bytes_are_bounded_however_large_one_instance_is() -> None:
    cache = InstanceCache(100, 100_000)
    cache.put(key("a"), _seat("a", "x" * 10_000))
    cache.put(key("b"), _seat("b", "x" * 10_000))
    assert _held(cache, "a", "b") == ["a", "b"]
    cache.put(key("b"), _seat("b", "x" * 20_000))
    assert _held(cache, "a", "b") == ["b"]
    cache.put(key("c"), _seat("c", "x" * 100_000))
    assert _held(cache, "a", "b", "c") == []
    cache.put(key("a"), _seat("a"))
    assert _held(cache, "a") == ["a"]


def test_what_was_evicted_or_is_nobody_is_not_held() -> None:
    cache = InstanceCache(10, 10**9)
    cache.put(key("a"), _seat("a"))
    cache.evict(key("a"))
    cache.evict(InstanceKey("", "none", "none"))
    cache.put(key("b"), Seat(None, NO_JOURNAL))
    assert len(cache) == 0


def test_a_lease_that_began_while_an_event_was_judged_is_not_forgotten() -> None:
    trial = Trial()
    trial.create()
    trial.send("GO")
    cache = InstanceCache(10, 10**9)
    cache.put(key(), trial.seat)
    (effect,) = trial.instance.effects
    leased = effect._replace(state="running", attempt=1, lease_token="1.s", lease_epoch=1)
    cache.note_lease(leased)
    cache.put(key(), trial.seat)
    seat = cache.get(key())
    assert seat is not None
    assert seat.instance is not None
    assert seat.instance.effects == (leased,)
    cache.evict(key())
    cache.note_lease(leased)
    assert cache.get(key()) is None


def test_what_is_held_takes_no_more_memory_than_was_set() -> None:
    bound = 4 * 2**20
    trial = Trial()
    trial.create()
    row, definition = trial.instance.row, trial.instance.definition
    gc.collect()
    tracemalloc.start()
    try:
        cache = InstanceCache(10**6, bound)
        before, _ = tracemalloc.get_traced_memory()
        for number in range(4_000):
            # As they are read from a database: nothing but the definition is shared.
            read = {
                name: (value + " ").rstrip() if isinstance(value, str) else value
                for name, value in row._asdict().items()
            }
            read["instance_id"] = f"{number:06}"
            read["context"] = json.dumps({"n": number, "text": f"{number:0300}"})
            stored = StoredInstance(InstanceRow(**read), ())
            cache.put(stored.row.key, Seat(restored(stored, definition), NO_JOURNAL))
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 500 < len(cache) < 4_000
    assert held - before < bound
