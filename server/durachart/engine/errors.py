"""What a step can fail with; every error says where in the machine it happened.

    EngineError
    ├── EvaluationFailed         a guard, assign, delay, param or output raised, or has no implementation
    ├── MicrostepLimitExceeded   eventless or raised events never settle
    ├── InvalidEvent             not an event a machine can receive
    ├── UnknownTimer             the snapshot holds no such timer
    └── SnapshotInvalid          stored data is no snapshot of this machine

A step that raises changed nothing: snapshots are values. Whoever called decides what that means (the
service refuses the event and keeps the instance; ``simulate`` shows XState's status ``error``).
"""

from __future__ import annotations


class EngineError(Exception):
    """The engine could not take this step."""


class EvaluationFailed(EngineError):
    """An expression or implementation of the machine failed.

    Attributes:
        where: The place, for people: ``guard 'paid' of state 'order.draft'``.
        message: What went wrong there.
    """

    def __init__(self, where: str, message: str) -> None:
        super().__init__(f"{where}: {message}")
        self.where = where
        self.message = message

    def __reduce__(self) -> tuple[type[EvaluationFailed], tuple[str, str]]:
        return type(self), (self.where, self.message)


class MicrostepLimitExceeded(EngineError):
    """The macrostep took more microsteps than allowed: its eventless or raised events never settle.

    Attributes:
        limit: The bound that was exceeded, in microsteps.
        machine_id: The machine.
        event_type: The event that began it; ``xstate.init`` for the start.
        states: Ids of the states whose transitions were taken last, at most 5, each once, oldest first.
    """

    def __init__(self, limit: int, machine_id: str, event_type: str, states: tuple[str, ...]) -> None:
        went = f"; it went through {', '.join(map(repr, states))} last" if states else ""
        super().__init__(
            f"machine {machine_id!r} did not come to rest within {limit} microsteps after {event_type!r}"
            f"{went}; look for a cycle of `always` transitions or of raised events there"
        )
        self.limit = limit
        self.machine_id = machine_id
        self.event_type = event_type
        self.states = states

    def __reduce__(self) -> tuple[type[MicrostepLimitExceeded], tuple[int, str, str, tuple[str, ...]]]:
        return type(self), (self.limit, self.machine_id, self.event_type, self.states)


class InvalidEvent(EngineError):
    """Not an event a machine can receive: it has no ``type``, or its type is ``*``."""


class UnknownTimer(EngineError):
    """The snapshot holds no timer with this key: it fired already or was cancelled.

    Attributes:
        key: The key asked for.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"no timer {key!r} is pending")
        self.key = key

    def __reduce__(self) -> tuple[type[UnknownTimer], tuple[str]]:
        return type(self), (self.key,)


class SnapshotInvalid(EngineError):
    """The data is not a snapshot of this machine: an unknown format, or a state the machine does not have."""
