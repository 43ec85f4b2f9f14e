"""Timestamps and durations: their ranges, their text forms and their calendar.

Precise to the nanosecond. Timestamps are written and read as RFC 3339, durations as Go writes them
(``1h30m``, ``-1.5s``); as a result a duration is its seconds (``5400s``), as in protobuf's JSON.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from durachart.expressions.errors import EvaluationError
from durachart.expressions.values import Duration, Timestamp

_SECOND: Final = 1_000_000_000
_MAX_DURATION: Final = 315_576_000_000 * _SECOND
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MIN_TIMESTAMP: Final = -62_135_596_800 * _SECOND
_MAX_TIMESTAMP: Final = 253_402_300_800 * _SECOND - 1
_UNITS: Final = {
    "h": 3600 * _SECOND,
    "m": 60 * _SECOND,
    "s": _SECOND,
    "ms": 1_000_000,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ns": 1,
}
_RFC3339: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
_DURATION_PART: Final = re.compile(r"([0-9]*)(?:\.([0-9]*))?(h|ms|m|s|us|µs|μs|ns)")
_ZONE_OFFSET: Final = re.compile(r"([+-]?)([0-9]{1,2}):([0-9]{2})")
_LONGEST_TEXT: Final = 64


def timestamp_of(nanoseconds: int) -> Timestamp:
    """The timestamp so many nanoseconds after the epoch.

    Raises:
        EvaluationError: Before year 1 or after year 9999.
    """
    if _MIN_TIMESTAMP <= nanoseconds <= _MAX_TIMESTAMP:
        return Timestamp(nanoseconds)
    raise EvaluationError("timestamp out of range: years go from 0001 to 9999")


def duration_of(nanoseconds: int) -> Duration:
    """The duration of so many nanoseconds.

    Raises:
        EvaluationError: Longer than 315,576,000,000 seconds.
    """
    if -_MAX_DURATION <= nanoseconds <= _MAX_DURATION:
        return Duration(nanoseconds)
    raise EvaluationError("duration out of range: at most 315576000000s either way")


def instant_of_ms(milliseconds: int) -> Timestamp:
    """The timestamp so many milliseconds after the epoch: how ``now`` is given."""
    return timestamp_of(milliseconds * 1_000_000)


def parse_timestamp(text: str) -> Timestamp:
    """Read an RFC 3339 timestamp with an offset.

    Raises:
        EvaluationError: It is none, or out of range.
    """
    match = _RFC3339.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
    if match is None:
        raise EvaluationError(f"`{text[:_LONGEST_TEXT]}` is not a timestamp such as 2026-01-31T09:30:00Z")
    year, month, day, hour, minute, second, fraction, sign, offset_hours, offset_minutes = match.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    except ValueError as error:
        raise EvaluationError(f"`{text}` is not a timestamp: {error}") from None
    since_epoch = moment - _EPOCH
    nanoseconds = (since_epoch.days * 86_400 + since_epoch.seconds) * _SECOND
    if fraction:
        nanoseconds += int(fraction.ljust(9, "0"))
    if sign:
        if int(offset_hours) > 23 or int(offset_minutes) > 59:
            raise EvaluationError(f"`{text}` is not a timestamp: its offset is not a time of day")
        offset = (int(offset_hours) * 60 + int(offset_minutes)) * 60 * _SECOND
        nanoseconds += offset if sign == "-" else -offset
    return timestamp_of(nanoseconds)


def parse_duration(text: str) -> Duration:
    """Read a duration: an optional sign and numbers with units h, m, s, ms, us, ns.

    Raises:
        EvaluationError: It is none, or out of range.
    """
    body = text[1:] if text[:1] in ("-", "+") else text
    if body == "0":
        return Duration(0)
    total = 0
    position = 0
    while position < len(body) and len(text) <= _LONGEST_TEXT:
        match = _DURATION_PART.match(body, position)
        if match is None or not (match.group(1) or match.group(2)):
            break
        whole, fraction, unit = match.groups()
        total += int(whole or "0") * _UNITS[unit]
        if fraction:
            total += int(fraction) * _UNITS[unit] // 10 ** len(fraction)
        position = match.end()
    if not body or position < len(body):
        raise EvaluationError(f"`{text[:_LONGEST_TEXT]}` is not a duration such as 90s, 1h30m or 250ms")
    return duration_of(-total if text[0] == "-" else total)


def format_timestamp(value: Timestamp) -> str:
    """RFC 3339 in UTC with ``Z``; fractions of a second in 3, 6 or 9 digits, none if zero."""
    seconds, fraction = divmod(value.nanoseconds, _SECOND)
    moment = _EPOCH + timedelta(seconds=seconds)
    return (
        f"{moment.year:04}-{moment.month:02}-{moment.day:02}"
        f"T{moment.hour:02}:{moment.minute:02}:{moment.second:02}{_fraction(fraction)}Z"
    )


def format_duration(value: Duration) -> str:
    """Seconds with ``s``; fractions as they are, without zeros at the end."""
    seconds, fraction = divmod(abs(value.nanoseconds), _SECOND)
    sign = "-" if value.nanoseconds < 0 else ""
    digits = f".{fraction:09}".rstrip("0") if fraction else ""
    return f"{sign}{seconds}{digits}s"


def _fraction(nanoseconds: int) -> str:
    if not nanoseconds:
        return ""
    digits = f"{nanoseconds:09}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return "." + digits


def calendar_time(value: Timestamp, zone: tzinfo) -> datetime:
    """The timestamp on the calendar of ``zone``, cut to microseconds.

    Raises:
        EvaluationError: The local time is outside years 1 to 9999.
    """
    moment = _EPOCH + timedelta(microseconds=value.nanoseconds // 1_000)
    try:
        return moment if zone is UTC else moment.astimezone(zone)
    except OverflowError:
        raise EvaluationError("the local time is outside years 1 to 9999") from None


def zone_named(name: str) -> tzinfo:
    """The time zone of a name of the time zone database, or of an offset such as ``-08:00``.

    Raises:
        EvaluationError: The host knows no such zone.
    """
    match = _ZONE_OFFSET.fullmatch(name)
    if match is not None and int(match.group(2)) < 24 and int(match.group(3)) < 60:
        offset = timedelta(hours=int(match.group(2)), minutes=int(match.group(3)))
        return timezone(-offset if match.group(1) == "-" else offset)
    if name not in zone_names():
        raise EvaluationError(f"unknown time zone `{name[:_LONGEST_TEXT]}`: write Europe/Berlin or +01:00")
    return _database_zone(name)


@cache
def zone_names() -> frozenset[str]:
    """The zones the host knows; read once, which takes some 20 ms."""
    return frozenset(available_timezones())


@cache
def _database_zone(name: str) -> tzinfo:
    return ZoneInfo(name)
