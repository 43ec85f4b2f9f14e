"""Where the checks of a definition put what they find: bounded, and so is the work spent on hints."""

from __future__ import annotations

from collections.abc import Iterable

from durachart.definitions.findings import Finding
from durachart.definitions.spelling import did_you_mean

MAX_FINDINGS = 1_000
"""More are not kept: nobody reads them, and a hostile definition could have millions."""

_MAX_SPELLING_HINTS = 50
_MAX_TEXT = 1_000
"""Characters of a sentence or a hint: it may quote what has megabytes."""


class Report:
    """Collects findings.

    Attributes:
        findings: In the order of reporting; at most ``MAX_FINDINGS``.
        failed: Whether an error was reported.
    """

    __slots__ = ("_spelling_hints", "failed", "findings")

    def __init__(self, findings: Iterable[Finding] = ()) -> None:
        self.findings: list[Finding] = list(findings)
        self.failed = any(finding.severity == "error" for finding in self.findings)
        self._spelling_hints = 0

    def error(
        self, code: str, path: str, message: str, hint: str = "", *, line: int = 0, column: int = 0
    ) -> None:
        """Add a problem that refuses the definition; ``line`` and ``column`` inside an expression, from 1."""
        self.failed = True
        self._add(Finding(code, path, _short(message), _short(hint), "error", line, column))

    def warning(self, code: str, path: str, message: str, hint: str = "") -> None:
        """Add something that is probably a mistake."""
        self._add(Finding(code, path, _short(message), _short(hint), "warning"))

    def suggest(self, word: str, known: Iterable[str]) -> str:
        """A hint that names the nearest known word, or ``""``; after 50 of them always ``""``."""
        if self._spelling_hints >= _MAX_SPELLING_HINTS:
            return ""
        self._spelling_hints += 1
        return did_you_mean(word, known)

    def _add(self, finding: Finding) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)
        elif finding.severity == "error" and self.findings[-1].severity == "warning":
            # Warnings must not crowd out the error that refuses the definition.
            self.findings[-1] = finding


def _short(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"
