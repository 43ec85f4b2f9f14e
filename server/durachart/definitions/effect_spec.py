"""The ``effects`` section: who runs an action's I/O, how often, and which event brings the answer.

An entry belongs to one action type. A worker that serves ``handler`` leases the effect after the transition
is on disk; the machine hears of its end by one of four events. ``done`` carries ``effect_id`` and ``output``,
the others carry ``effect_id`` and ``error`` (``{"reason", "message"}``)::

    effects:
      charge:
        handler: payments.charge
        done: PAYMENT_SUCCESS
        failed: PAYMENT_FAILED
        timeout_ms: 30000
        retry: {max_attempts: 5, non_retryable: [CARD_DECLINED]}
        cancel_on_exit: true
        priority: 1

An event that is left out is not sent: the end of the effect is then seen in the journal alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final

from durachart.definitions.findings import Finding, pointer
from durachart.definitions.spelling import did_you_mean

DAY_MS: Final = 86_400_000
MAX_ATTEMPTS: Final = 1_000
FIRST_PRIORITY: Final = 1
DEFAULT_PRIORITY: Final = 2
LAST_PRIORITY: Final = 4
_HANDLER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}")
_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed attempt is made again.

    Attributes:
        max_attempts: Attempts altogether, the first included, from 1 (no retry) to 1,000.
        initial_backoff_ms: Wait before the second attempt; 0 is at once.
        max_backoff_ms: No wait is longer; never below ``initial_backoff_ms``.
        multiplier: Each wait is this many times the one before; 1 keeps it the same.
        jitter: Share of each wait that is random, from 0 (none) to 1 (all), so that effects that failed
            together do not come back together.
        non_retryable: Reasons after which no further attempt is made.
    """

    max_attempts: int = 3
    initial_backoff_ms: int = 1_000
    max_backoff_ms: int = 60_000
    multiplier: float = 2.0
    jitter: float = 0.5
    non_retryable: tuple[str, ...] = ()

    def backoff_ms(self, attempt: int) -> int:
        """How long to wait after attempt number ``attempt`` (from 1) failed, before jitter."""
        # The exponent is bounded: past it the product is over every allowed maximum, or the multiplier is 1.
        wait = self.initial_backoff_ms * self.multiplier ** min(attempt - 1, 64)
        return int(min(wait, self.max_backoff_ms))


@dataclass(frozen=True, slots=True)
class EffectSpec:
    """How one action type is run.

    Attributes:
        action: The action type.
        handler: Name under which workers serve it, for example ``llm.generate``.
        done: Event that brings the output; ``None`` sends none.
        failed: Event that says that no attempt succeeded; ``None`` sends none.
        rejected: Event that says that the handler refused for a reason of the business; where none is written
            it is ``failed``.
        stopped: Event that says that somebody stopped it on purpose; ``None`` sends none.
        timeout_ms: How long one attempt may take, from 1 to a day.
        retry: When a failed attempt is made again.
        cancel_on_exit: Whether leaving the state whose entry action asked for it cancels it, in the same
            transaction and without an event.
        priority: From 1 (first) to 4 (last): of effects that wait for the same worker, those of a lower
            number are begun first, however long the others wait.
    """

    action: str
    handler: str
    done: str | None = None
    failed: str | None = None
    rejected: str | None = None
    stopped: str | None = None
    timeout_ms: int = 300_000
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    cancel_on_exit: bool = False
    priority: int = DEFAULT_PRIORITY

    @property
    def events(self) -> tuple[str, ...]:
        """The event types it may answer with, each once, in the order done, failed, rejected, stopped."""
        named = (self.done, self.failed, self.rejected, self.stopped)
        return tuple(dict.fromkeys(event for event in named if event is not None))


OUTCOMES: Final = ("done", "failed", "rejected", "stopped")
KEYS: Final = tuple(spec.name for spec in fields(EffectSpec) if spec.name != "action")
RETRY_KEYS: Final = tuple(spec.name for spec in fields(RetryPolicy))


def parse_effects(
    section: object,
    findings: list[Finding],
    *,
    handlers: frozenset[str] | None = None,
    path: str = "/effects",
) -> Mapping[str, EffectSpec]:
    """Read the ``effects`` section; what is wrong with it is appended to ``findings`` and the entry left out.

    Args:
        section: The section as written; ``None`` when the document has none.
        findings: Where problems go.
        handlers: Handler names this server runs itself; one that is not among them is warned of, because
            workers elsewhere may serve it. ``None`` warns of nothing.
        path: JSON pointer of the section.

    Returns:
        Specifications by action type, in the order written; read-only.
    """
    specs: dict[str, EffectSpec] = {}
    if section is not None and not isinstance(section, dict):
        findings.append(
            Finding("section_type", path, "`effects` must be an object of entries by action type")
        )
    elif section is not None:
        for action, entry in section.items():
            reader = _Reader(findings, path + pointer(action))
            spec = _parse_entry(action, entry, reader)
            if spec is not None:
                specs[action] = spec
                _warn_of_handler(spec.handler, handlers, reader)
    return MappingProxyType(specs)


def _parse_entry(action: str, entry: object, reader: _Reader) -> EffectSpec | None:
    if not isinstance(entry, dict):
        reader.report("effect_invalid", "", "an effect is an object with a `handler`")
        return None
    reader.check_keys(entry, KEYS, "an effect")
    if "handler" not in entry:
        reader.report(
            "effect_invalid", "", f"the effect {action!r} names no `handler`", "name the worker's handler"
        )
        return None
    values: dict[str, Any] = {"handler": reader.text(entry, "handler", _HANDLER, "a handler's name")}
    for outcome in OUTCOMES:
        values[outcome] = reader.event(entry, outcome)
    values["rejected"] = values["rejected"] or values["failed"]
    defaults = EffectSpec.__dataclass_fields__
    values["timeout_ms"] = reader.integer(entry, "timeout_ms", 1, DAY_MS, defaults)
    values["priority"] = reader.integer(entry, "priority", FIRST_PRIORITY, LAST_PRIORITY, defaults)
    values["cancel_on_exit"] = reader.boolean(entry, "cancel_on_exit", default=False)
    values["retry"] = _parse_retry(entry.get("retry", {}), reader.at("retry"))
    if any(value is _BAD for value in values.values()):
        return None
    return EffectSpec(action=action, **values)


def _parse_retry(entry: object, reader: _Reader) -> RetryPolicy | object:
    if not isinstance(entry, dict):
        reader.report("effect_invalid", "", "`retry` must be an object")
        return _BAD
    reader.check_keys(entry, RETRY_KEYS, "`retry`")
    defaults = RetryPolicy.__dataclass_fields__
    values: dict[str, Any] = {
        "max_attempts": reader.integer(entry, "max_attempts", 1, MAX_ATTEMPTS, defaults),
        "initial_backoff_ms": reader.integer(entry, "initial_backoff_ms", 0, DAY_MS, defaults),
        "max_backoff_ms": reader.integer(entry, "max_backoff_ms", 0, DAY_MS, defaults),
        "multiplier": reader.number(entry, "multiplier", 1, 10, defaults["multiplier"].default),
        "jitter": reader.number(entry, "jitter", 0, 1, defaults["jitter"].default),
        "non_retryable": reader.reasons(entry, "non_retryable"),
    }
    if any(value is _BAD for value in values.values()):
        return _BAD
    if values["initial_backoff_ms"] > values["max_backoff_ms"]:
        if "max_backoff_ms" in entry:
            reader.report(
                "effect_invalid", "max_backoff_ms", "`max_backoff_ms` is below `initial_backoff_ms`"
            )
            return _BAD
        values["max_backoff_ms"] = values["initial_backoff_ms"]
    return RetryPolicy(**values)


def _warn_of_handler(handler: str, handlers: frozenset[str] | None, reader: _Reader) -> None:
    if handlers is not None and handler not in handlers:
        reader.report(
            "handler_unknown",
            "handler",
            f"this server runs no handler {handler!r}; the effect waits until a worker that does connects",
            did_you_mean(handler, sorted(handlers)),
            warning=True,
        )


_BAD: Final = object()
"""Stands for a value that was reported."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one object strictly and reports what is wrong with it below ``path``."""

    findings: list[Finding]
    path: str

    def at(self, key: str) -> _Reader:
        return _Reader(self.findings, self.path + pointer(key))

    def report(self, code: str, key: str, message: str, hint: str = "", *, warning: bool = False) -> None:
        place = self.path + (pointer(key) if key else "")
        self.findings.append(Finding(code, place, message, hint, "warning" if warning else "error"))

    def check_keys(self, entry: dict[str, Any], known: tuple[str, ...], what: str) -> None:
        for key in entry:
            if key not in known:
                hint = did_you_mean(key, known) or f"the keys are {', '.join(known)}"
                self.report("unknown_key", key, f"{what} has no key {key!r}", hint)

    def text(self, entry: dict[str, Any], key: str, form: re.Pattern[str], what: str) -> object:
        value = entry[key]
        if isinstance(value, str) and form.fullmatch(value):
            return value
        self.report(
            "effect_invalid",
            key,
            f"`{key}` must be {what}: letters, digits and `. _ : / -`, at most 128 characters",
        )
        return _BAD

    def event(self, entry: dict[str, Any], key: str) -> object:
        value = entry.get(key)
        if value is None and key not in entry:
            return None
        if not isinstance(value, str) or not value or len(value) > 256 or "*" in value.split("."):
            self.report(
                "effect_invalid", key, f"`{key}` must be one event type", "leave the key out to send no event"
            )
            return _BAD
        if value.startswith("xstate."):
            self.report(
                "event_type_reserved", key, "event types beginning with `xstate.` belong to the interpreter"
            )
            return _BAD
        return value

    def integer(
        self, entry: dict[str, Any], key: str, low: int, high: int, defaults: Mapping[str, Any]
    ) -> object:
        value = entry.get(key, defaults[key].default)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.report("effect_invalid", key, f"`{key}` must be a whole number from {low:,} to {high:,}")
        return _BAD

    def number(self, entry: dict[str, Any], key: str, low: float, high: float, default: Any) -> object:
        value = entry.get(key, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        self.report("effect_invalid", key, f"`{key}` must be a number from {low:g} to {high:g}")
        return _BAD

    def boolean(self, entry: dict[str, Any], key: str, *, default: bool) -> object:
        value = entry.get(key, default)
        if isinstance(value, bool):
            return value
        self.report("effect_invalid", key, f"`{key}` must be true or false")
        return _BAD

    def reasons(self, entry: dict[str, Any], key: str) -> object:
        value = entry.get(key, [])
        if isinstance(value, list) and all(
            isinstance(item, str) and _REASON.fullmatch(item) for item in value
        ):
            return tuple(dict.fromkeys(value))
        self.report(
            "effect_invalid",
            key,
            f"`{key}` must be a list of reasons",
            "a reason is written like `CARD_DECLINED`",
        )
        return _BAD
