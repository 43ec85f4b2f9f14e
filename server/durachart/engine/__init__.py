"""The interpreter: (compiled definition, snapshot, event, now) → next snapshot and effects.

Pure and synchronous. It reads no clock, does no I/O, keeps no state of its own but tables that make it
fast, and returns work instead of running it. Every rule is XState v5's, in the words of SCXML 1.0 Appendix
D; where XState depends on the order in which states happened to be activated, document order decides
instead.

How a step is made fast. A step needs three answers: which transitions does this event enable, what do they
exit and enter, and which actions run. The first depends on the configuration, the event's type and guards;
the other two on the configuration, the transitions and what the history nodes consulted remember. So each
configuration is one object (``configuration``), which keeps the candidates per event type (``select``) and
the compiled microsteps per set of transitions (``microstep``). What remains for an event is to ask the
guards and to run the actions. The tables are bounded.

Invariants:

- A snapshot is a value. A step that raises has changed nothing.
- Same machine, snapshot, event, ``now_ms`` and budget: same result, in any process.
- Nothing a caller passes in is written to, and nothing handed out may be written to: parts are shared.

Modules: ``model`` (the definition), ``configuration`` (sets of active nodes), ``snapshot``, ``codec``
(snapshots as JSON), ``guards``, ``actions``, ``select``, ``sets`` (exit and entry sets), ``draft`` (the step
in the making), ``microstep``, ``macrostep``, ``queries`` (what a snapshot would allow), ``errors``.
"""

from durachart.engine.actions import Effect
from durachart.engine.codec import snapshot_from_json, snapshot_to_json
from durachart.engine.errors import (
    EngineError,
    EvaluationFailed,
    InvalidEvent,
    MicrostepLimitExceeded,
    SnapshotInvalid,
    UnknownTimer,
)
from durachart.engine.macrostep import MAX_MICROSTEPS, Macrostep, fire_timer, initial_macrostep, macrostep
from durachart.engine.microstep import Microstep
from durachart.engine.model import Event, Machine, StateNode
from durachart.engine.queries import Verdict, allowed_events, can, explain
from durachart.engine.snapshot import (
    MISSING,
    Snapshot,
    Timer,
    meta,
    state_value,
    tags,
)

__all__ = [
    "MAX_MICROSTEPS",
    "MISSING",
    "Effect",
    "EngineError",
    "EvaluationFailed",
    "Event",
    "InvalidEvent",
    "Machine",
    "Macrostep",
    "Microstep",
    "MicrostepLimitExceeded",
    "Snapshot",
    "SnapshotInvalid",
    "StateNode",
    "Timer",
    "UnknownTimer",
    "Verdict",
    "allowed_events",
    "can",
    "explain",
    "fire_timer",
    "initial_macrostep",
    "macrostep",
    "meta",
    "snapshot_from_json",
    "snapshot_to_json",
    "state_value",
    "tags",
]
