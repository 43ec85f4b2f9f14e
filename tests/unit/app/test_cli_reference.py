"""docs/reference/cli.md knows every command, option, variable and exit code, and no other."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from durachart.app.cli.application import app
from durachart.app.cli.exits import ExitCode

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
EVERYWHERE = {"--server", "--namespace", "--timeout", "--json", "--help"}


def parameters(command: Any) -> list[Any]:
    """Of a command, or of all commands of a group."""
    return [
        *command.params,
        *(one for each in getattr(command, "commands", {}).values() for one in each.params),
    ]


@pytest.fixture
def reference(repository: Path) -> str:
    return (repository / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")


def section(reference: str, command: str) -> str:
    found = re.search(rf"^## {command}\b.*?(?=^## |\Z)", reference, re.DOTALL | re.MULTILINE)
    assert found, f"no section for {command}"
    return found[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_is_described(reference: str, command: str) -> None:
    text = section(reference, command)
    for name in getattr(COMMANDS[command], "commands", {}):
        assert f"`{command} {name}" in text, name
    for parameter in parameters(COMMANDS[command]):
        for option in {one for one in parameter.opts if one.startswith("--")} - EVERYWHERE:
            assert f"`{option}" in text.replace("\n", " "), option
        for variable in [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or []:
            assert variable in text


def test_nothing_is_described_that_is_not_there(reference: str) -> None:
    known = {option for command in COMMANDS.values() for one in parameters(command) for option in one.opts}
    known |= EVERYWHERE | {"--install-completion", "--show-completion"}
    assert set(re.findall(r"`(--[a-z-]+)", reference)) <= known
    named = set(re.findall(r"^## ([a-z]+)", reference, re.MULTILINE))
    assert named == set(COMMANDS)


def test_every_exit_code_is_described(reference: str) -> None:
    described = {int(code) for code in re.findall(r"^\| (\d+) \|", reference, re.MULTILINE)}
    assert described == {int(code) for code in ExitCode}
