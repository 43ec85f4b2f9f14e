"""The standard functions that are not operators: text, conversions, calendars.

Each takes its receiver first. Errors and budgets as in ``operators``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from math import isfinite
from typing import Final, Never

from durachart.expressions.budget import TEXT_SHIFT, Budget
from durachart.expressions.errors import EvaluationError
from durachart.expressions.instants import (
    calendar_time,
    format_duration,
    format_timestamp,
    parse_duration,
    parse_timestamp,
    timestamp_of,
    zone_named,
)
from durachart.expressions.values import (
    INT_MAX,
    INT_MIN,
    UINT_MAX,
    Duration,
    Timestamp,
    TypeValue,
    UInt,
    Value,
    type_name,
)

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,30}")
_DOUBLE: Final = re.compile(
    r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?[iI]nf(?:inity)?|[nN]a[nN]"
)
_BOOLS: Final = {
    **dict.fromkeys(("1", "t", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "false", "FALSE", "False"), False),
}
_LONGEST_NUMBER: Final = 400
_ZONE_UNITS: Final = 50
_HOUR: Final = 3_600_000_000_000
_MINUTE: Final = 60_000_000_000
_SECOND: Final = 1_000_000_000
_MILLISECOND: Final = 1_000_000


def _no_call(function: str, *values: Value) -> Never:
    raise EvaluationError(
        f"`{function}` cannot be called with {' and '.join(type_name(value) for value in values)}"
    )


def _charge_text(first: str, second: str, budget: Budget) -> None:
    units = (len(first) + len(second)) >> TEXT_SHIFT
    if units:
        budget.spend(units)


def contains(value: Value, part: Value, budget: Budget) -> bool:
    """``value.contains(part)``."""
    if type(value) is str and type(part) is str:
        _charge_text(value, part, budget)
        return part in value
    _no_call("contains", value, part)


def starts_with(value: Value, prefix: Value, budget: Budget) -> bool:
    """``value.startsWith(prefix)``."""
    if type(value) is str and type(prefix) is str:
        _charge_text("", prefix, budget)
        return value.startswith(prefix)
    _no_call("startsWith", value, prefix)


def ends_with(value: Value, suffix: Value, budget: Budget) -> bool:
    """``value.endsWith(suffix)``."""
    if type(value) is str and type(suffix) is str:
        _charge_text("", suffix, budget)
        return value.endswith(suffix)
    _no_call("endsWith", value, suffix)


def to_int(value: Value) -> int:
    """``int(value)``: doubles towards zero, timestamps in whole seconds."""
    kind = type(value)
    if kind is int:
        return int(value)
    if kind is UInt:
        if value <= INT_MAX:
            return int(value)
    elif kind is float:
        # The bounds as doubles: 2**63 is one and does not fit, -(2**63) is excluded as CEL does.
        if -(2.0**63) < value < 2.0**63:
            return int(value)
    elif kind is str:
        if _INTEGER.fullmatch(value) and INT_MIN <= int(value) <= INT_MAX:
            return int(value)
        raise EvaluationError(f"`{value[:40]}` is not an integer of 64 bits")
    elif kind is Timestamp:
        return int(value.nanoseconds // _SECOND)
    else:
        _no_call("int", value)
    raise EvaluationError(f"{value!r} does not fit 64 bits")


def to_uint(value: Value) -> UInt:
    """``uint(value)``."""
    kind = type(value)
    if kind is UInt:
        return UInt(value)
    if kind is int:
        if value >= 0:
            return UInt(value)
    elif kind is float:
        if 0.0 <= value < 2.0**64:
            return UInt(int(value))
    elif kind is str:
        if _INTEGER.fullmatch(value) and value[0] != "-" and int(value) <= UINT_MAX:
            return UInt(int(value))
        raise EvaluationError(f"`{value[:40]}` is not an unsigned integer of 64 bits")
    else:
        _no_call("uint", value)
    raise EvaluationError(f"{value!r} is not from 0 to 2^64-1")


def to_double(value: Value) -> float:
    """``double(value)``."""
    kind = type(value)
    if kind is float or kind is int or kind is UInt:
        return float(value)
    if kind is str:
        if len(value) <= _LONGEST_NUMBER and _DOUBLE.fullmatch(value):
            return float(value)
        raise EvaluationError(f"`{value[:40]}` is not a number")
    _no_call("double", value)


def to_string(value: Value, budget: Budget) -> str:
    """``string(value)``."""
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is UInt:
        return int.__repr__(value)
    if kind is float:
        return _double_text(value)
    if kind is bytes:
        if len(value) >> TEXT_SHIFT:
            budget.spend(len(value) >> TEXT_SHIFT)
        try:
            return bytes.decode(value)
        except UnicodeDecodeError:
            raise EvaluationError("the bytes are not UTF-8 text") from None
    if kind is Timestamp:
        return format_timestamp(value)
    if kind is Duration:
        return format_duration(value)
    _no_call("string", value)


def _double_text(value: float) -> str:
    """The shortest digits that read back as ``value``; an exponent below 1e-4 and from 1e6 on, as C's %g."""
    if not isfinite(value):
        return "nan" if value != value else "inf" if value > 0 else "-inf"
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        return repr(value).removesuffix(".0")
    digits, exponent = f"{Decimal(repr(value)).normalize():E}".split("E")
    return f"{digits}e{exponent[0]}{exponent[1:].rjust(2, '0')}"


def to_bool(value: Value) -> bool:
    """``bool(value)``."""
    if value is True or value is False:
        return bool(value)
    if type(value) is str:
        if value in _BOOLS:
            return _BOOLS[value]
        raise EvaluationError(f"`{value[:40]}` is not a bool")
    _no_call("bool", value)


def to_bytes(value: Value, budget: Budget) -> bytes:
    """``bytes(value)``: UTF-8."""
    if type(value) is bytes:
        return bytes(value)
    if type(value) is str:
        _charge_text(value, "", budget)
        return value.encode("utf-8", "replace")
    _no_call("bytes", value)


def to_timestamp(value: Value) -> Timestamp:
    """``timestamp(value)``: from RFC 3339 text or from seconds since the epoch."""
    kind = type(value)
    if kind is str:
        return parse_timestamp(value)
    if kind is int:
        return timestamp_of(value * _SECOND)
    if kind is Timestamp:
        return Timestamp(value.nanoseconds)
    _no_call("timestamp", value)


def to_duration(value: Value) -> Duration:
    """``duration(value)``: from text such as ``1h30m``."""
    if type(value) is str:
        return parse_duration(value)
    if type(value) is Duration:
        return Duration(value.nanoseconds)
    _no_call("duration", value)


def to_type(value: Value) -> TypeValue:
    """``type(value)``."""
    return TypeValue(type_name(value))


def calendar_field(function: str, value: Value, zone: Value, budget: Budget) -> int:
    """``value.getFullYear()`` and its kin.

    Of a duration, hours, minutes and seconds are the whole length in that unit, milliseconds
    the part below a second.

    Args:
        function: Which field.
        value: A timestamp, or a duration where the function has a meaning for it.
        zone: A time zone, its name, or None: UTC.
        budget: Charged for a zone that is a name.
    """
    if type(value) is Timestamp:
        if zone is None:
            zone = UTC
        elif type(zone) is str:
            budget.spend(_ZONE_UNITS)
            zone = zone_named(zone)
        if isinstance(zone, tzinfo):
            return _FIELDS[function](calendar_time(value, zone))
    elif type(value) is Duration and zone is None and function in _OF_DURATION:
        whole, unit = _OF_DURATION[function]
        length = abs(value.nanoseconds) % whole // unit if whole else abs(value.nanoseconds) // unit
        return int(-length if value.nanoseconds < 0 else length)
    _no_call(function, value, *([] if zone is None else [zone]))


_FIELDS: Final[dict[str, Callable[[datetime], int]]] = {
    "getFullYear": lambda moment: moment.year,
    "getMonth": lambda moment: moment.month - 1,
    "getDate": lambda moment: moment.day,
    "getDayOfMonth": lambda moment: moment.day - 1,
    "getDayOfWeek": lambda moment: moment.isoweekday() % 7,
    "getDayOfYear": lambda moment: moment.timetuple().tm_yday - 1,
    "getHours": lambda moment: moment.hour,
    "getMinutes": lambda moment: moment.minute,
    "getSeconds": lambda moment: moment.second,
    "getMilliseconds": lambda moment: moment.microsecond // 1_000,
}
_OF_DURATION: Final = {
    "getHours": (0, _HOUR),
    "getMinutes": (0, _MINUTE),
    "getSeconds": (0, _SECOND),
    "getMilliseconds": (_SECOND, _MILLISECOND),
}

#: The functions that read a field off the calendar.
CALENDAR_FUNCTIONS: Final = frozenset(_FIELDS)
