"""What all watches of a process have in common."""

from __future__ import annotations

from durachart.runtime.clock import Clock
from durachart.runtime.history import History
from durachart.runtime.instance_filter import ActiveStates
from durachart.runtime.log import RecentLog
from durachart.runtime.registry import Registry
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.watch.audience import Audience
from durachart.runtime.watch.shared_reads import SharedReads
from durachart.runtime.watch.texts import WatchText
from durachart.store.interface import Store


class Shared:
    """See the module.

    Args:
        store: Has the snapshots, and the log from its beginning.
        registry: Has the definitions of the instances.
        history: Makes changes of rows of the log.
        log: Has the newest changes.
        clock: The wall clock.
        settings: Bounds.

    Attributes:
        reads: Reads of the store that several watches ask for at once.
        states: What is known of the states that filters name.
        audience: Those that are live.
        watch_text: Follows the text of a generation; None until somebody can.
        closing: Whether the server is draining: every watch closes with a token.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        history: History,
        log: RecentLog,
        clock: Clock,
        settings: RuntimeSettings,
    ) -> None:
        self.store = store
        self.registry = registry
        self.history = history
        self.log = log
        self.clock = clock
        self.settings = settings
        self.reads = SharedReads(store)
        self.states = ActiveStates()
        self.audience = Audience()
        self.watch_text: WatchText | None = None
        self.closing = False
