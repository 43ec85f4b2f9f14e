"""A simulated step as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from durachart.app.cli.rendering import compact, shortened, value_text
from durachart.app.cli.terminal import OUT
from durachart.app.cli.trace import ABSENT, Change, Record

if TYPE_CHECKING:
    from durachart.engine import Verdict

_COLOURS = {"refused": "yellow", "failed": "red", "ignored": "yellow"}
_SHOWN_CHARS = 200


def show_record(number: int, record: Record, *, explain: bool, expressions: Mapping[str, Any]) -> None:
    """Write one item and what it did.

    Args:
        number: 0 for the start.
        record: What happened.
        explain: Whether to say, for a refused event, what each guard said.
        expressions: The definition's guards by name, as written.
    """
    OUT.line(_title(number, record))
    if record.outcome in _COLOURS:
        _line(record.outcome, _why(record), _COLOURS[record.outcome])
    _line("left", ", ".join(record.left))
    _line("entered", ", ".join(record.entered), "green")
    _line("actions", ", ".join(record.actions))
    for effect in record.effects:
        _line("effect", f"{effect.type} {_short(effect.params)}" if effect.params else effect.type, "cyan")
    for change in record.context:
        _line("context", _change(change, fresh=record.item is None))
    if explain and record.outcome == "refused":
        for verdict in record.verdicts:
            _line("guard", _verdict(verdict, expressions))
    for timer in record.timers:
        _line("timer", f"{timer['event']['type']} in {timer['due_in']} ms")
    if record.outcome not in ("refused", "ignored"):
        _line("state", _state(record), "bold")


def _title(number: int, record: Record) -> str:
    if record.item is None:
        return OUT.style("start", "bold")
    if "$advance_ms" in record.item:
        return OUT.style(f"{number} +{record.item['$advance_ms']} ms", "bold")
    data = {key: value for key, value in record.item.items() if key != "type"}
    text = OUT.style(f"{number} {record.item['type']}", "bold")
    return f"{text} {_short(data)}" if data else text


def _why(record: Record) -> str:
    if record.outcome == "failed":
        return record.error
    if record.outcome == "ignored":
        return f"the machine is {record.status}"
    could = f"it would take {', '.join(record.can)}" if record.can else "it would take nothing"
    guards = [one.guard for one in record.verdicts if one.guard and one.passed is False]
    if guards:
        return f"guard {' and '.join(guards)} was false; {could}"
    return f"{value_text(record.value) or 'the machine'} does not take it; {could}"


def _state(record: Record) -> str:
    text = value_text(record.value) or "(no states)"
    if record.status != "active":
        text = f"{text} ({record.status})"
    return text if record.output is None else f"{text}, output {_short(record.output)}"


def _change(change: Change, *, fresh: bool) -> str:
    if fresh:
        return f"{change.key}: {_short(change.after)}"
    return f"{change.key}: {_short(change.before)} → {_short(change.after)}"


def _verdict(verdict: Verdict, expressions: Mapping[str, Any]) -> str:
    place = f"{verdict.event_type} in {verdict.state}"
    target = f" to {', '.join(verdict.targets)}" if verdict.targets else ""
    if not verdict.guard:
        return f"{place}{target}: no guard, and nothing to do"
    answer = {True: "true", False: "false", None: f"failed: {verdict.error}"}[verdict.passed]
    params = f" with {_short(verdict.params)}" if verdict.params is not None else ""
    members = _members(verdict.members)
    written = expressions.get(verdict.guard)
    source = f"    {written}" if isinstance(written, str) else ""
    return f"{place}{target}: {verdict.guard}{params} is {answer}{members}{source}"


def _members(members: Sequence[tuple[str, bool | None]]) -> str:
    answers = {True: "true", False: "false", None: "failed"}
    return f" ({', '.join(f'{name} is {answers[passed]}' for name, passed in members)})" if members else ""


def _line(name: str, text: str, *styles: str) -> None:
    if text:
        OUT.line(f"  {OUT.style(name.ljust(8), 'dim')} {OUT.style(text, *styles)}")


def _short(value: Any) -> str:
    if isinstance(value, str) and value == ABSENT:
        return ABSENT
    return shortened(compact(value), _SHOWN_CHARS)
