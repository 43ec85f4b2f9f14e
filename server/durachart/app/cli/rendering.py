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
        return " + ".join(key if child == {} else f"{key}.{_inner(child)}" for key, child in value.items())
    return "" if value is None else str(value)


def _inner(value: Any) -> str:
    text = value_text(value)
    return f"({text})" if isinstance(value, dict) and len(value) > 1 else text


def compact(value: Any) -> str:
    """``value`` as JSON on one line."""
    return json.dumps(value, ensure_ascii=False)


def shortened(text: str, limit: int = 400) -> str:
    """``text`` cut to what a terminal shows at a glance."""
    return text if len(text) <= limit else f"{text[:limit]}…"


def instant(moment: datetime) -> str:
    """An instant: local time of day with milliseconds on a terminal, RFC 3339 in UTC in a pipe."""
    if OUT.is_terminal:
        return moment.astimezone().strftime("%H:%M:%S.%f")[:-3]
    return utc(moment)


def day_and_time(moment: datetime) -> str:
    """An instant with its day: local on a terminal, RFC 3339 in UTC in a pipe."""
    if OUT.is_terminal:
        return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return utc(moment)


def utc(moment: datetime) -> str:
    """An instant as RFC 3339 in UTC, with milliseconds."""
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
            ("created", day_and_time(state.created_at)),
            ("updated", day_and_time(state.updated_at)),
        ]
    )


def _context(context: dict[str, Any]) -> str:
    """The context: indented below its name on a terminal, one line in a pipe."""
    if not OUT.is_terminal:
        return compact(context)
    indent = " " * (_KEY_WIDTH + 1)
    return json.dumps(context, ensure_ascii=False, indent=2).replace("\n", "\n" + indent)


def show_journal(entries: Sequence[JournalEntry]) -> None:
    """Write attempts: aligned, with what refused them below, on a terminal; tab-separated in a pipe.

    The columns in a pipe: seq, instant, event with its data, ``accepted`` or the reason, state before,
    state after, version after, actor, why.
    """
    if not OUT.is_terminal:
        OUT.table((), map(_journal_row, entries))
        return
    seq = max((len(str(entry.seq)) for entry in entries), default=0)
    event = max((len(_event(entry)) for entry in entries), default=0)
    for entry in entries:
        _show_entry(entry, seq, event)


def _show_entry(entry: JournalEntry, seq_width: int, event_width: int) -> None:
    moment = day_and_time(entry.created_at)
    before, after = value_text(entry.from_value), value_text(entry.to_value)
    if entry.cause == "delete":
        after = "deleted"
    change = after if before in ("", after) else f"{before} → {after}"
    if entry.outcome != "accepted":
        change = OUT.style(entry.reason, "yellow")
    who = "" if entry.actor in ("", "anonymous") else f"  by {entry.actor}"
    OUT.line(
        f"{str(entry.seq).rjust(seq_width)}  {OUT.style(moment, 'dim')}  "
        f"{OUT.style(_event(entry).ljust(event_width), 'bold')}  v{entry.to_version}  {change}{who}"
    )
    indent = " " * (seq_width + 2)
    details = [shortened(compact(entry.data))] if entry.data not in (None, {}) else []
    details += [f"{'emits' if one.emitted else 'asks for'} {one.type}" for one in entry.effects]
    details += [entry.message] if entry.message else []
    for detail in details:
        for line in OUT.wrap(detail, indent):
            OUT.line(OUT.style(line, "dim"))


def _event(entry: JournalEntry) -> str:
    return entry.event_type or f"({entry.cause})"


def _journal_row(entry: JournalEntry) -> Sequence[str]:
    return (
        str(entry.seq),
        instant(entry.created_at),
        f"{_event(entry)} {compact(entry.data)}" if entry.data not in (None, {}) else _event(entry),
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
