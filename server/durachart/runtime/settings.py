"""What an operator may set, with what is right for most."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """Bounds of the runtime. Sizes are of JSON text in UTF-8.

    Attributes:
        max_event_bytes: An event's data, or a creation's input; larger ones are refused and journaled by
            hash.
        max_context_bytes: A context; an event that would make it larger is refused.
        max_definition_bytes: A definition document.
        max_microsteps: Of one macrostep.
        max_waiting: Commands that may wait for their turn; more are refused (``Overloaded``).
        max_waiting_bytes: What the data of waiting commands may amount to; more is refused.
        max_batch: Commands of one transaction.
        store_patience: How long a command without deadline waits for a database that fails; one with a
            deadline waits until then.
        store_retry_first: Bound of the first wait before a failed load or commit is tried again; it doubles.
        store_retry_longest: Bound that the doubling stops at.
        cached_instances: Instances kept in memory.
        cached_bytes: What their contexts may amount to.
        cached_definitions: Compiled definitions kept in memory.
        cached_definition_characters: What their texts may amount to; the newest is kept in any case. A
            compiled definition takes some hundred times its text.
        snapshot_every: A whole context is journaled at least every so many versions.
        whole_context_bytes: A context up to this size is journaled whole each time: it is cheaper than a
            patch.
        log_entries: Transitions kept in memory for watchers.
        log_bytes: What their contexts and payloads may amount to.
        watch_frames: Frames of one message of a watch.
        watch_pending: Changes kept for a watcher that is busy; one that misses more of them has fallen
            behind.
        progress_interval: How often an idle watch hears that it is alive, unless it asks otherwise.
        watch_age: About how long a watch lasts before it is closed with a token, a fifth more or less.
    """

    max_event_bytes: int = 256 * 1024
    max_context_bytes: int = 1024 * 1024
    max_definition_bytes: int = 10 * 1024 * 1024
    max_microsteps: int = 1_000
    max_waiting: int = 8_192
    max_waiting_bytes: int = 64 * 1024 * 1024
    max_batch: int = 256
    store_patience: timedelta = timedelta(seconds=10)
    store_retry_first: timedelta = timedelta(milliseconds=20)
    store_retry_longest: timedelta = timedelta(seconds=1)
    cached_instances: int = 50_000
    cached_bytes: int = 128 * 1024 * 1024
    cached_definitions: int = 256
    cached_definition_characters: int = 32 * 1024 * 1024
    snapshot_every: int = 100
    whole_context_bytes: int = 512
    log_entries: int = 8_192
    log_bytes: int = 32 * 1024 * 1024
    watch_frames: int = 64
    watch_pending: int = 256
    progress_interval: timedelta = timedelta(seconds=15)
    watch_age: timedelta = timedelta(minutes=30)
