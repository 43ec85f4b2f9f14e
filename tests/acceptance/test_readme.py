"""README.md is true: its tour is run, block by block, against a real server."""

import asyncio
import os
import re
import sys
from pathlib import Path

from tests.processes import Server, environment

DEFAULT_HTTP = "127.0.0.1:7576"


def blocks(repository: Path, section: str, language: str) -> list[str]:
    """The fenced blocks of one language in one section of README.md, in order."""
    readme = (repository / "README.md").read_text(encoding="utf-8")
    body = re.search(rf"^## {section}$(.*?)(?=^## |\Z)", readme, re.DOTALL | re.MULTILINE)
    assert body, f"README.md has no section {section}"
    return re.findall(rf"^```{language}\n(.*?)^```$", body[1], re.DOTALL | re.MULTILINE)


async def run(repository: Path, server: Server, *command: str) -> str:
    """Run a command as a reader in the checkout would; the return value is all that it printed."""
    variables = {
        "DURACHART_SERVER": server.grpc,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=repository,
        env=environment(variables),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, f"{command[-1]}\n{output}"
    return output


async def test_tour_of_the_readme_works_as_written(repository: Path) -> None:
    """F7: a newcomer's five minutes; every block succeeds, and what the text promises is on the screen."""
    tour = blocks(repository, "Five minutes with it", "sh")
    async with Server.running("--llm-token-delay-ms", "0") as server:
        outputs = {
            block: await run(repository, server, "bash", "-euc", block.replace(DEFAULT_HTTP, server.http))
            for block in tour
        }

    def output(words: str) -> str:
        """What the one block that holds ``words`` printed."""
        (found,) = (text for block, text in outputs.items() if words in block)
        return found

    assert "hasItems" in output("send order o-1 SUBMIT ||")
    assert "refused, with exit code" in output("send order o-1 SUBMIT ||")
    assert "confirmed" in output("get order o-1")
    assert "GUARD_REJECTED" in output("journal order o-1")
    assert "statechart" in output("generate canvas c-1").lower()
    assert '"confirmed"' in output("curl").replace("\\", "")


async def test_own_machine_of_the_readme_is_validated_and_published(repository: Path) -> None:
    (block,) = blocks(repository, "Your own machine", "sh")
    async with Server.running() as server:
        assert "order" in await run(repository, server, "bash", "-euc", block)


async def test_python_example_of_the_readme_runs_and_ends_by_itself(repository: Path) -> None:
    (example,) = blocks(repository, "Use it from Python", "python")
    async with Server.running() as server:
        program = example.replace("127.0.0.1:7575", server.grpc)
        output = await run(repository, server, sys.executable, "-c", program)

    assert "hasItems" in output
    assert "draft" in output
    assert "cancelled" in output
