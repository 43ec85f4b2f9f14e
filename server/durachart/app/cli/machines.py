"""``publish``, ``validate`` and ``machines``."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Annotated

import typer

from durachart.app.cli.options import JsonOption, PluginsOption, ServerOption, TimeoutOption, target

if TYPE_CHECKING:
    from pathlib import Path

    from durachart.definitions.findings import Finding
    from durachart.plugins.collection import PluginCollection
    from durachart_client import Client

FilesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...",
        help="Definitions: files, directories that hold machine.yaml, machine.yml or machine.json, "
        "or directories of such directories.",
        show_default=False,
    ),
]


def publish(
    context: typer.Context,
    files: FilesArgument,
    as_json: JsonOption = False,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Publish definitions on the server, each as the next version of its machine.

    Content that was published before keeps its version. At the first definition that is refused the rest is
    left alone.
    """
    from durachart.app.cli.documents import find_definitions, text_to_publish
    from durachart.app.cli.exits import ExitCode, Failure
    from durachart.app.cli.jsonlines import emit
    from durachart.app.cli.rendering import finding_line
    from durachart.app.cli.session import run
    from durachart.app.cli.terminal import ERR, OUT
    from durachart_client import DefinitionInvalid

    paths = [path for file in files for path in find_definitions(file)]
    texts = [text_to_publish(path) for path in paths]

    async def act(client: Client) -> None:
        for path, text in zip(paths, texts, strict=True):
            try:
                published = await client.publish(text)
            except DefinitionInvalid as error:
                if as_json:
                    raise
                for finding in error.findings:
                    ERR.line(finding_line(finding, str(path), ERR))
                sentence = f"the definition {path} is not valid, and is not published"
                raise Failure(ExitCode.INVALID, sentence, reason=error.reason) from error
            for warning in published.warnings:
                if not as_json:
                    ERR.line(finding_line(warning, str(path), ERR))
            machine = published.machine
            if as_json:
                emit(published)
            else:
                word = "published" if published.created else "unchanged"
                OUT.line(f"{OUT.style(word, 'green')} {machine.machine_id} version {machine.version}")

    run(target(context, server, None, timeout), act)


def validate(files: FilesArgument, plugins: PluginsOption = None, as_json: JsonOption = False) -> None:
    """Check definitions as the server would before it publishes them. Needs no server.

    Exit code 6 when one of them would be refused; warnings alone are fine.
    """
    from durachart.app.cli.documents import find_definitions, use_plugins
    from durachart.app.cli.exits import ExitCode, Failure
    from durachart.app.cli.jsonlines import emit
    from durachart.app.cli.rendering import finding_line
    from durachart.app.cli.terminal import OUT

    used = use_plugins(plugins or ())
    refused = 0
    for path in [path for file in files for path in find_definitions(file)]:
        findings = _check(path, used)
        valid = all(finding.severity != "error" for finding in findings)
        refused += not valid
        if as_json:
            emit({"file": str(path), "valid": valid, "findings": findings})
            continue
        for finding in findings:
            OUT.line(finding_line(finding, str(path), OUT))
        verdict = OUT.style("valid", "green") if valid else OUT.style("not valid", "red")
        OUT.line(f"{path}: {verdict}")
    if refused:
        which = "1 definition is" if refused == 1 else f"{refused} definitions are"
        raise Failure(ExitCode.INVALID, f"{which} not valid", reason="DEFINITION_INVALID")


def _check(path: Path, plugins: PluginCollection) -> list[Finding]:
    from durachart.app.cli.arguments import read_bytes
    from durachart.definitions.definition import check_definition
    from durachart.definitions.document import parse_document
    from durachart.definitions.errors import DefinitionInvalid
    from durachart.definitions.loader import FORMATS

    # A large machine is millions of objects, none of them garbage while it is checked.
    gc.disable()
    try:
        document = parse_document(read_bytes(path), FORMATS.get(path.suffix.lower(), "json"))
        return check_definition(document, plugins=plugins)
    except DefinitionInvalid as error:
        return list(error.findings)
    finally:
        gc.enable()


def machines(
    context: typer.Context,
    machine: Annotated[
        str | None,
        typer.Argument(metavar="[MACHINE]", help="Show this one's definition.", show_default=False),
    ] = None,
    version: Annotated[
        int,
        typer.Option(
            "--version", metavar="N", min=0, max=2**31 - 1, help="Which version of MACHINE; 0 is the latest."
        ),
    ] = 0,
    as_json: JsonOption = False,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """List the published machines, or show the definition of one."""
    from durachart.app.cli.jsonlines import emit
    from durachart.app.cli.session import run
    from durachart.app.cli.terminal import OUT

    async def show(client: Client) -> None:
        import json

        found = await client.machine(machine or "", version)
        if as_json:
            emit(found)
        else:
            OUT.line(json.dumps(found.definition, ensure_ascii=False, indent=2))

    async def everything(client: Client) -> None:
        found = [one async for one in client.machines()]
        if as_json:
            for one in found:
                emit(one)
            return
        rows = (
            (one.machine_id, str(one.version), ", ".join(one.event_types), one.description) for one in found
        )
        wide = ("description", "events")
        OUT.table(("machine", "version", "events", "description"), rows, wrapping=wide, expendable=wide)

    run(target(context, server, None, timeout), show if machine else everything, machine or "")
