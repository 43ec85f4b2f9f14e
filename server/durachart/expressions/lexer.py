"""Text to tokens, in one pass of one regular expression."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from durachart.expressions.errors import CompileError

_TOKEN: Final = re.compile(
    r"""
      (?P<space>(?:[ \t\r\n\f]|//[^\n]*)++)
    | (?P<float>[0-9]++\.[0-9]++(?:[eE][+-]?[0-9]++)?|[0-9]++[eE][+-]?[0-9]++|\.[0-9]++(?:[eE][+-]?[0-9]++)?)
    | (?P<int>(?:0[xX][0-9a-fA-F]++|[0-9]++)[uU]?)
    | (?P<text>(?:[bB]?[rR]|[rR][bB])(?:\"{3}[\s\S]*?\"{3}|'{3}[\s\S]*?'{3}|\"[^\"\r\n]*+\"|'[^'\r\n]*+')
      |[bB]?(?:\"{3}(?:[^\\]|\\[\s\S])*?\"{3}|'{3}(?:[^\\]|\\[\s\S])*?'{3}
      |\"[^\"\\\r\n]*+(?:\\.[^\"\\\r\n]*+)*+\"|'[^'\\\r\n]*+(?:\\.[^'\\\r\n]*+)*+'))
    | (?P<name>[_a-zA-Z][_a-zA-Z0-9]*+)
    | (?P<quoted>`[^`\r\n]++`)
    | (?P<symbol>&&|\|\||[<>=!]=|[-+*/%<>!?:.,()\[\]{}])
    """,
    re.VERBOSE,
)

#: Kind of the token after the last one.
END: Final = "end"


class Token(NamedTuple):
    """A word of the text; ``kind`` is float, int, text, name, quoted, symbol or end."""

    kind: str
    text: str
    offset: int


def tokenize(text: str) -> list[Token]:
    """Split ``text`` into tokens, without spaces and comments, closed by one of kind :data:`END`.

    Raises:
        CompileError: A character begins no token, or a string has no end.
    """
    tokens: list[Token] = []
    position = 0
    match_at = _TOKEN.match
    while position < len(text):
        match = match_at(text, position)
        if match is None:
            raise _not_a_token(text, position)
        kind = match.lastgroup or ""
        if kind != "space":
            tokens.append(Token(kind, match.group(), position))
        position = match.end()
    tokens.append(Token(END, "", len(text)))
    return tokens


def _not_a_token(text: str, position: int) -> CompileError:
    character = text[position]
    if character in "\"'":
        return CompileError("the string has no end", text, position, f"close it with {character}")
    hint = {"=": "write == to compare", "&": "write &&", "|": "write ||", "#": "comments begin with //"}
    shown = character if character.isprintable() else f"U+{ord(character):04X}"
    return CompileError(f"unexpected character {shown}", text, position, hint.get(character))
