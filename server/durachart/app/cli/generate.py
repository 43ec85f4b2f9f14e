"""``generate``: a prompt to a canvas, and its answer as it comes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from durachart.app.cli.options import JsonOption, NamespaceOption, ServerOption, TimeoutOption, target

if TYPE_CHECKING:
    from durachart_client import Client


def generate(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[MACHINE ID] PROMPT",
            help="What to ask; - reads it from standard input. A new canvas is made without MACHINE and ID.",
            show_default=False,
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="NAME", help="The model to select; else the canvas' own.", show_default=False
        ),
    ] = None,
    evals: Annotated[
        list[str] | None,
        typer.Option(
            "--eval", metavar="TEXT", help="Something the answer has to pass; repeatable.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
    server: ServerOption = None,
    namespace: NamespaceOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Have PROMPT answered by a language model, showing the text as it comes.

    MACHINE takes SUBMIT, SELECT_MODEL and SET_EVALS as `canvas` does; the instance is made if it is
    missing. Ctrl-C stops the generation, and the canvas keeps the answer it had. Text is stored only when
    it is complete: an exit code other than 0 says that what was shown is not.
    """
    from durachart.app.cli.generation import Generation
    from durachart.app.cli.session import run

    machine, instance, prompt = _split(words)

    async def act(client: Client) -> None:
        await Generation(client, machine, instance, as_json=as_json).run(prompt, model, evals)

    run(target(context, server, namespace, timeout), act, machine)


def _split(words: list[str]) -> tuple[str, str, str]:
    """Machine, instance and prompt from one word or three."""
    from durachart.app.cli.exits import ExitCode, Failure

    if len(words) not in (1, 3):
        raise Failure(ExitCode.USAGE, "give a PROMPT in quotes, or MACHINE ID PROMPT")
    prompt = sys.stdin.read() if words[-1] == "-" else words[-1]
    if not prompt.strip():
        raise Failure(ExitCode.USAGE, "the PROMPT is empty; say what to ask")
    if len(words) == 1:
        import secrets

        return "canvas", f"c-{secrets.token_hex(4)}", prompt
    return words[0], words[1], prompt
