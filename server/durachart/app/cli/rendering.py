"""States, journal entries and findings as text for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from durachart.app.cli.terminal import OUT, Stream

if TYPE_CHECKING:
    from durachart_client import InstanceState, JournalEntry

_KEY_WIDTH = 10


class FindingLike(Protocol):
    """A finding, from the server or from this process."""

    @property
    def code(self) -> str: ...  # noqa: D102
    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def message(self) -> str: ...  # noqa: D102
    @property
    def hint(self) -> str: ...  # noqa: D102
    @property
    def severity(self) -> str: ...  # noqa: D102


def value_text(value: Any) -> str:
    """A state value in one line: ``paying.card``, regions side by side as ``audio.on + video.off``."""
    if isinstance(value, dict):
        parts = [f"{key}.{value_text(child)}" if child != {} else key for key, child in value.items()]
        inner = " + ".join(parts)
        return f"({inner})" if len(parts) > 1 else inner
    return "" if value is None else str(value)


def compact(value: Any) -> str:
    """``value`` as JSON on one line."""
    return json.dumps(value, ensure_ascii=False)


def instant(moment: datetime) -> str:
    """An instant: local time of day with milliseconds on a terminal, RFC 3339 in UTC in a pipe."""
    if OUT.is_terminal:
        return moment.astimezone().strftime("%H:%M:%S.%f")[:-3]
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Write aligned ``name value`` lines, leaving out empty values."""
    for name, text in pairs:
        if text:
            OUT.line(f"{OUT.style(name.ljust(_KEY_WIDTH), 'dim')} {text}")


def show_state(state: InstanceState) -> None:
    """Write everything about one instance."""
    running = ", ".join(
        f"{one.type} ({one.handler}, {f'attempt {one.attempt}' if one.attempt else 'waiting'})"
        for one in state.running_effects
    )
    facts(
        [
            ("instance", str(state.instance)),
            (
                "state",
                OUT.style(value_text(state.value), "bold", "green" if state.status == "active" else "blue"),
            ),
            ("version", f"{state.version} (machine version {state.machine_version})"),
            ("status", state.status),
            ("allowed", ", ".join(state.allowed_events)),
            ("running", running),
            ("tags", ", ".join(state.tags)),
            ("labels", ", ".join(f"{key}={value}" for key, value in state.labels.items())),
            ("meta", compact(state.meta) if state.meta else ""),
            ("output", "" if state.output is None else compact(state.output)),
            ("context", "" if state.context is None else _context(state.context)),
            ("created", state.created_at.isoformat()),
            ("updated", state.updated_at.isoformat()),
        ]
    )


def _context(context: dict[str, Any]) -> str:
    """The context: indented below its name on a terminal, one line in a pipe."""
    if not OUT.is_terminal:
        return compact(context)
    indent = " " * (_KEY_WIDTH + 1)
    return json.dumps(context, ensure_ascii=False, indent=2).replace("\n", "\n" + indent)


JOURNAL_HEADINGS = ("seq", "time", "event", "outcome", "from", "to", "version", "actor", "why")


def journal_row(entry: JournalEntry) -> Sequence[str]:
    """One attempt as the columns of ``JOURNAL_HEADINGS``."""
    event = entry.event_type or f"({entry.cause})"
    return (
        str(entry.seq),
        instant(entry.created_at),
        f"{event} {compact(entry.data)}" if entry.data not in (None, {}) else event,
        entry.outcome if entry.outcome == "accepted" else entry.reason,
        value_text(entry.from_value),
        value_text(entry.to_value),
        str(entry.to_version),
        entry.actor,
        entry.message,
    )


def finding_line(finding: FindingLike, source: str, stream: Stream) -> str:
    """One problem of a definition: where, how bad, what, and what to do."""
    colour = "red" if finding.severity == "error" else "yellow"
    where = stream.style(f"{source}#{finding.path}" if finding.path else source, "bold")
    place = _place(finding)
    hint = f"; {finding.hint}" if finding.hint else ""
    severity = stream.style(finding.severity, colour)
    return f"{where}{place}: {severity} {finding.code}: {finding.message}{hint}"


def _place(finding: FindingLike) -> str:
    line, column = getattr(finding, "line", 0), getattr(finding, "column", 0)
    return f" ({line}:{column})" if line else ""
