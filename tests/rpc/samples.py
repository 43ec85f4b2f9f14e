"""One of every error that a domain may raise, by the reason it goes out with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from durachart.definitions.errors import DefinitionInvalid
from durachart.definitions.findings import Finding
from durachart.runtime import errors
from durachart.store.errors import StoreFailed
from durachart.store.keys import InstanceKey

KEY = InstanceKey("", "order", "o-1")


def _refused(kind: type[errors.EventRefused]) -> Callable[[], Exception]:
    return lambda: kind(
        KEY,
        "the event was refused",
        event_type="SUBMIT",
        value_json='"draft"',
        version=3,
        allowed_events=("ADD_ITEM", "CANCEL"),
        guards=("hasItems",) if kind is errors.GuardRejected else (),
    )


_ERRORS: dict[str, Callable[[], Exception]] = {
    "REQUEST_INVALID": lambda: errors.InvalidArgument("event.type", "an event needs a type"),
    "PAGE_TOKEN_INVALID": errors.PageTokenInvalid,
    "RESUME_TOKEN_INVALID": errors.ResumeTokenInvalid,
    "INSTANCE_NOT_FOUND": lambda: errors.InstanceNotFound(KEY),
    "MACHINE_NOT_FOUND": lambda: errors.MachineNotFound("order", 2),
    "NO_GENERATION": lambda: errors.NoGeneration(KEY),
    "VERSION_NOT_FOUND": lambda: errors.VersionNotFound(KEY, 9, 7),
    "EFFECT_NOT_FOUND": lambda: errors.EffectNotFound(KEY, "e-1"),
    "EFFECT_NOT_RETRYABLE": lambda: errors.EffectNotRetryable(KEY, "e-1", "effect 'e-1' has completed"),
    "INSTANCE_EXISTS": lambda: errors.InstanceExists(KEY),
    "VERSION_CONFLICT": lambda: errors.VersionConflict(KEY, 4, 7, '"confirmed"'),
    "PAYLOAD_INVALID": lambda: errors.PayloadInvalid(
        KEY, "event.data_json", [("/quantity", "must be positive")]
    ),
    "EVENT_NOT_ALLOWED": _refused(errors.EventNotAllowed),
    "GUARD_REJECTED": _refused(errors.GuardRejected),
    "EVALUATION_FAILED": _refused(errors.EvaluationFailed),
    "INSTANCE_FINISHED": _refused(errors.InstanceFinished),
    "REQUEST_ID_REUSED": lambda: errors.RequestIdReused(KEY, "r-1"),
    "LEASE_LOST": lambda: errors.LeaseLost(KEY, "e-1"),
    "IMPLEMENTATION_MISSING": lambda: errors.ImplementationMissing("order", 2, "it needs the plug-in `tax`"),
    "INSTANCE_CORRUPT": lambda: errors.InstanceCorrupt(KEY, "it names a state that is not there"),
    "WATCH_COMPACTED": lambda: errors.WatchCompacted("oldest"),
    "OVERLOADED": lambda: errors.Overloaded(timedelta(seconds=2)),
    "DEADLINE_EXCEEDED": errors.DeadlineExceeded,
    "RELAY_UNAVAILABLE": errors.RelayUnavailable,
    "STORE_UNAVAILABLE": lambda: StoreFailed("disk I/O error in a file that callers need not know of"),
    "SHUTTING_DOWN": errors.ShuttingDown,
    "DEFINITION_INVALID": lambda: DefinitionInvalid(
        [
            Finding(
                "target_not_found",
                "/machine/states/draft/on/SUBMIT/target",
                "there is no state `paid`",
                "use `pending`",
            ),
            Finding(
                "on_in_final", "/machine/states/done/on", "a final state takes no events", severity="warning"
            ),
        ]
    ),
}

REASONS = tuple(_ERRORS)


def sample(reason: str) -> Exception:
    """A domain error that goes out with this reason."""
    return _ERRORS[reason]()
