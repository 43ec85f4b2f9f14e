"""The values of number, string and bytes tokens."""

from __future__ import annotations

import re
from typing import Final

from durachart.expressions.errors import CompileError
from durachart.expressions.values import INT_MAX, UINT_MAX, UInt

_ESCAPE: Final = re.compile(
    r"\\(?:([abfnrtv\\?\"'`])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|)"
)
_SIMPLE: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPES_HINT: Final = r"write \\ for a backslash, or a raw string r'…'"


def integer_value(token: str, text: str, offset: int, *, negative: bool) -> int:
    """The int or :class:`UInt` a token stands for; ``negative`` when a minus sign belongs to it.

    Raises:
        CompileError: The number does not fit 64 bits, or a uint has a minus sign.
    """
    unsigned = token[-1] in "uU"
    digits = token[:-1] if unsigned else token
    hexadecimal = digits[:2] in ("0x", "0X")
    # Longer than any 64-bit number: refuse before converting, which is quadratic for decimals.
    if len(digits.lstrip("0")) > 20:
        raise CompileError("the integer does not fit 64 bits", text, offset, "write a double, such as 1e30")
    number = int(digits[2:], 16) if hexadecimal else int(digits)
    if unsigned:
        if negative:
            raise CompileError("a uint cannot be negative", text, offset)
        if number > UINT_MAX:
            raise CompileError("the uint does not fit 64 bits", text, offset)
        return UInt(number)
    if number > INT_MAX + (1 if negative else 0):
        raise CompileError("the integer does not fit 64 bits", text, offset, "write a double, such as 1e30")
    return -number if negative else number


def text_value(token: str, text: str, offset: int) -> str | bytes:
    """The str or bytes a string token stands for, escapes replaced.

    Raises:
        CompileError: An escape is unknown, or names something that is no Unicode character.
    """
    quote = min(position for position in (token.find('"'), token.find("'")) if position >= 0)
    prefix = token[:quote].lower()
    width = 3 if token[quote : quote + 3] in ('"""', "'''") else 1
    body = token[quote + width : -width]
    if "b" in prefix:
        return _bytes_body(body, "r" in prefix, text, offset + quote + width)
    if "r" in prefix or "\\" not in body:
        return body
    return _replace_escapes(body, text, offset + quote + width)


def _replace_escapes(body: str, text: str, offset: int) -> str:
    def replaced(match: re.Match[str]) -> str:
        simple, *numbers, octal = match.groups()
        if simple is not None:
            return _SIMPLE.get(simple, simple)
        if octal is not None:
            return chr(int(octal, 8))
        for digits in numbers:
            if digits is not None:
                return _character(int(digits, 16), text, offset + match.start())
        raise CompileError("unknown escape in a string", text, offset + match.start(), _ESCAPES_HINT)

    return _ESCAPE.sub(replaced, body)


def _bytes_body(body: str, raw: bool, text: str, offset: int) -> bytes:
    if raw or "\\" not in body:
        return body.encode()
    parts: list[bytes] = []
    end = 0
    for match in _ESCAPE.finditer(body):
        parts.append(body[end : match.start()].encode())
        end = match.end()
        simple, hexadecimal, short, long, octal = match.groups()
        if simple is not None:
            parts.append(_SIMPLE.get(simple, simple).encode())
        elif hexadecimal is not None:
            parts.append(bytes([int(hexadecimal, 16)]))
        elif octal is not None:
            parts.append(bytes([int(octal, 8)]))
        elif short is not None or long is not None:
            raise CompileError(r"\u and \U are not allowed in bytes", text, offset + match.start(), r"use \x")
        else:
            raise CompileError("unknown escape in bytes", text, offset + match.start(), _ESCAPES_HINT)
    parts.append(body[end:].encode())
    return b"".join(parts)


def _character(code: int, text: str, offset: int) -> str:
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise CompileError(f"U+{code:04X} is not a Unicode character", text, offset)
    return chr(code)
