"""The machines a server brings along: published from a directory when it starts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

from durachart.app.definition_files import DefinitionAmbiguous, definition_text, definitions_below
from durachart.definitions.errors import DefinitionInvalid
from durachart.definitions.findings import Finding
from durachart.runtime.commands import SYSTEM_ACTOR, Caller
from durachart.runtime.runtime import Runtime
from durachart.runtime.views import MachineRecord

_log = logging.getLogger(__name__)


class MachineNotPublished(Exception):
    """Definitions that were to be published are not valid; the text lists every file with every problem.

    Attributes:
        problems: The sentences by file.
    """

    def __init__(self, problems: dict[Path, list[str]]) -> None:
        self.problems = problems
        lines = [
            line
            for path, found in problems.items()
            for line in (f"  {path}", *(f"    {one}" for one in found))
        ]
        files = "1 machine" if len(problems) == 1 else f"{len(problems)} machines"
        super().__init__(
            "\n".join([f"the server did not start, because {files} cannot be published:", *lines])
        )


async def publish_directory(runtime: Runtime, directory: Path) -> list[MachineRecord]:
    """Publish every machine in ``directory``; content that was published before makes no new version.

    Args:
        runtime: Where to.
        directory: Holds one directory for each machine.

    Returns:
        The current version of each, by directory name.

    Raises:
        MachineNotPublished: Some cannot be published; the others have been.
    """
    try:
        paths = await asyncio.to_thread(definitions_below, directory)
    except (DefinitionAmbiguous, OSError) as error:
        raise MachineNotPublished({directory: [str(error)]}) from error
    published: list[MachineRecord] = []
    problems: dict[Path, list[str]] = {}
    for path in paths:
        try:
            published.append(await _publish(runtime, path))
        except DefinitionInvalid as error:
            problems[path] = [str(finding) for finding in _errors(error.findings)]
        except (OSError, UnicodeDecodeError) as error:
            problems[path] = [f"the file cannot be read: {error}"]
    if problems:
        raise MachineNotPublished(problems)
    return published


async def _publish(runtime: Runtime, path: Path) -> MachineRecord:
    text = await asyncio.to_thread(definition_text, path)
    result = await runtime.publish(text, Caller(SYSTEM_ACTOR))
    machine = result.machine
    if result.created:
        _log.info(
            "machine published machine=%s version=%d warnings=%d file=%s",
            machine.machine_id,
            machine.version,
            len(result.warnings),
            path,
        )
    return machine


def _errors(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "error"]
