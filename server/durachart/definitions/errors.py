"""A definition that cannot be used, with every problem it has."""

from __future__ import annotations

from collections.abc import Sequence

from durachart.definitions.findings import Finding

_SHOWN = 20


class DefinitionError(Exception):
    """The definition cannot be used."""


class DefinitionInvalid(DefinitionError):
    """The definition has problems; all of them are in ``findings``.

    Attributes:
        findings: Errors and warnings in document order; at least one is an error.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        errors = [finding for finding in self.findings if finding.severity == "error"]
        shown = [str(finding) for finding in errors[:_SHOWN]]
        if len(errors) > _SHOWN:
            shown.append(f"and {len(errors) - _SHOWN} more")
        count = "1 problem" if len(errors) == 1 else f"{len(errors)} problems"
        super().__init__(f"the definition has {count}:\n" + "\n".join(f"  {line}" for line in shown))

    def __reduce__(self) -> tuple[type[DefinitionInvalid], tuple[tuple[Finding, ...]]]:
        return type(self), (self.findings,)
