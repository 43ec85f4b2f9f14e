"""A trial start: what a machine does before its first event, tried once at publish.

Endless starts, guards that fail and contexts that do not fit their schema show themselves to whoever
publishes, not to the first caller who creates an instance. The trial is as bounded as any step.
"""

from __future__ import annotations

from typing import Any, Final

from durachart.definitions.report import Report
from durachart.definitions.samples import samples
from durachart.definitions.schemas import Schemas, Violation
from durachart.engine import (
    MISSING,
    EngineError,
    EvaluationFailed,
    Machine,
    Macrostep,
    MicrostepLimitExceeded,
    initial_macrostep,
)

TRIAL_NOW_MS: Final = 1_735_689_600_000
"""The instant of a trial start: 2025-01-01T00:00:00Z. Fixed, so that the verdict is the same every time."""
MAX_TRIALS: Final = 10
"""Examples of an input that are tried."""


def check_start(
    machine: Machine,
    schemas: Schemas,
    path: str,
    schemas_path: str,
    report: Report,
    *,
    needs_input: bool,
) -> None:
    """Start the machine once for each example of its input, or without input, and report what goes wrong.

    Args:
        machine: The built machine.
        schemas: Its schemas.
        path: JSON pointer of the machine.
        schemas_path: JSON pointer of the schemas.
        report: Receives the problems; those of one kind once.
        needs_input: Whether the start may fail for want of an input that no schema describes.
    """
    inputs: list[Any] = [{}]
    if schemas.input is not None:
        inputs = [value for value, _ in zip(samples(schemas.input), range(MAX_TRIALS), strict=False)]
    untried = not inputs
    reported: set[str] = set()
    for value in inputs:
        try:
            step = initial_macrostep(machine, input=value, now_ms=TRIAL_NOW_MS)
        except EngineError as error:
            if needs_input and schemas.input is None and isinstance(error, EvaluationFailed):
                untried = True
                continue
            code = "start_endless" if isinstance(error, MicrostepLimitExceeded) else "start_failed"
            problems = [(code, path, f"starting the machine fails: {error}", "")]
        else:
            problems = _misfits(step, schemas, path)
        for problem in problems:
            if problem[0] not in reported:
                reported.add(problem[0])
                report.error(*problem)
    if untried:
        report.warning(
            "start_not_tried",
            schemas_path + "/input" if schemas.input is not None else path,
            "no input is known with which the machine starts, so its start was not tried",
            "describe the input in `schemas.input`, with `examples`",
        )


def _misfits(step: Macrostep, schemas: Schemas, path: str) -> list[tuple[str, str, str, str]]:
    """What the context, and the output of a machine that ends at once, have against their schemas."""
    hint = "correct the start or the schema"
    found = [
        (
            "context_misfit",
            path,
            f"the context at the start does not fit its schema at {place}: {message}",
            hint,
        )
        for place, message in _shown(schemas.validate_context(step.snapshot.context))
    ]
    if step.snapshot.output is not MISSING:
        found += [
            ("output_misfit", path, f"the output does not fit its schema at {place}: {message}", hint)
            for place, message in _shown(schemas.validate_output(step.snapshot.output))
        ]
    return found


def _shown(violations: list[Violation]) -> list[tuple[str, str]]:
    return [(violation.path or "/", violation.message) for violation in violations]
