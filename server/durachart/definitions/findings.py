"""One problem of a definition, as data: code and place for a program, sentence and hint for a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem found while a definition was checked.

    Attributes:
        code: Stable, in ``snake_case``: ``target_not_found``.
        path: JSON pointer (RFC 6901) into the document: ``/machine/states/draft/on/SUBMIT/target``. ``""``
            is the whole document.
        message: One sentence without a final full stop that says what is wrong.
        hint: What to do about it, or ``""``.
        severity: ``error`` refuses the definition; ``warning`` does not.
        line: Line inside the expression at ``path``, from 1; 0 when the problem is no expression's.
        column: Column inside that line in characters, from 1; 0 likewise.
    """

    code: str
    path: str
    message: str
    hint: str = ""
    severity: Severity = "error"
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = f", line {self.line}, column {self.column}" if self.line else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.severity} {self.code} at {self.path or '/'}{place}: {self.message}{hint}"


def pointer(*keys: str | int) -> str:
    """A JSON pointer made of the keys and indexes that lead to a place; none: ``""``, the whole document."""
    text = ""
    for key in keys:
        step = str(key)
        # Most keys need no escape, and a large definition asks for a million places.
        text += "/" + (step.replace("~", "~0").replace("/", "~1") if "~" in step or "/" in step else step)
    return text
