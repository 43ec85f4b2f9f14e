"""``generate``: a prompt to a canvas, and its answer as it comes."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from durachart.app.cli.options import JsonOption, NamespaceOption, ServerOption, TimeoutOption, target

if TYPE_CHECKING:
    from durachart_client import Accepted, Client, GenerationEnd, TokenEvent

_HANDLER = "llm.generate"


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
    from durachart.app.cli.session import run

    machine, instance, prompt = _split(words)

    async def act(client: Client) -> None:
        await _Generation(client, machine, instance, as_json=as_json).run(prompt, model, evals)

    run(target(context, server, namespace, timeout), act)


def _split(words: list[str]) -> tuple[str, str, str]:
    """Machine, instance and prompt from one word or three."""
    from durachart.app.cli.exits import ExitCode, Failure

    if len(words) not in (1, 3):
        raise Failure(ExitCode.USAGE, "give a PROMPT in quotes, or MACHINE ID PROMPT")
    prompt = sys.stdin.read() if words[-1] == "-" else words[-1]
    if len(words) == 1:
        import secrets

        return "canvas", f"c-{secrets.token_hex(4)}", prompt
    return words[0], words[1], prompt


class _Generation:
    """One generation from SUBMIT to its end."""

    def __init__(self, client: Client, machine: str, instance: str, *, as_json: bool) -> None:
        self._client = client
        self._machine = machine
        self._instance = instance
        self._as_json = as_json
        self._at_line_start = True
        self._stopped_here = False

    async def run(self, prompt: str, model: str | None, evals: list[str] | None) -> None:
        accepted = await self._submit(prompt, model, evals)
        effect_id = self._effect_of(accepted)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt, stop)
        stopping = asyncio.create_task(self._stop_when(stop, effect_id))
        try:
            async with self._client.watch_tokens(self._machine, self._instance, effect_id) as stream:
                async for event in stream:
                    self._show(event)
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)

    async def _submit(self, prompt: str, model: str | None, evals: list[str] | None) -> Accepted:
        """Make the canvas if it is missing, tell it model and evals, and submit."""
        from durachart_client import InstanceExists

        machine_input: dict[str, Any] = {}
        if model is not None:
            machine_input["model"] = model
        if evals:
            machine_input["evals"] = evals
        try:
            await self._client.create(self._machine, self._instance, machine_input, view="basic")
        except InstanceExists:
            if model is not None:
                await self._send("SELECT_MODEL", {"model": model})
            if evals:
                await self._send("SET_EVALS", {"evals": evals})
        return await self._send("SUBMIT", {"prompt": prompt})

    async def _send(self, event: str, data: dict[str, Any]) -> Accepted:
        return await self._client.send(self._machine, self._instance, event, data, view="basic")

    def _effect_of(self, accepted: Accepted) -> str:
        from durachart.app.cli.exits import ExitCode, Failure

        for effect in accepted.state.running_effects:
            if effect.handler == _HANDLER:
                return effect.effect_id
        raise Failure(
            ExitCode.GENERATION,
            f"machine {self._machine} took SUBMIT without asking for {_HANDLER}; name one that does",
        )

    def _interrupt(self, stop: asyncio.Event) -> None:
        from durachart.app.cli.exits import ExitCode

        if stop.is_set():  # asked twice: the server may be gone
            raise SystemExit(int(ExitCode.INTERRUPTED))
        stop.set()

    async def _stop_when(self, stop: asyncio.Event, effect_id: str) -> None:
        await stop.wait()
        stopped = await self._client.stop_generation(self._machine, self._instance, effect_id)
        self._stopped_here = stopped.stopped

    def _show(self, event: TokenEvent) -> None:
        from durachart_client import GenerationEnd, Text

        if self._as_json:
            from durachart.app.cli.jsonlines import emit, plain

            emit({"kind": type(event).__name__.lower(), "instance_id": self._instance, **plain(event)})
        if isinstance(event, GenerationEnd):
            self._end(event)
        elif self._as_json:
            pass
        elif isinstance(event, Text):
            sys.stdout.write(event.text)
            sys.stdout.flush()
            self._at_line_start = event.text.endswith("\n")
        elif event.attempt > 1:
            self._note(f"the model's answer was cut; attempt {event.attempt} begins again", "yellow")

    def _end(self, end: GenerationEnd) -> None:
        from durachart.app.cli.exits import ExitCode, Failure

        where = f"{self._machine}/{self._instance}"
        if end.outcome == "completed":
            usage = f", {end.usage.input_tokens} + {end.usage.output_tokens} tokens" if end.usage else ""
            self._note(f"stored in {where} (model {end.model or 'unknown'}{usage})", "dim")
            return
        self._break_line()
        if end.outcome == "stopped" and self._stopped_here:
            raise Failure(ExitCode.INTERRUPTED, f"stopped; {where} keeps the answer it had")
        why = {
            "stopped": "somebody else stopped the generation",
            "cancelled": "the canvas left the state that wanted the generation",
        }.get(end.outcome, end.error_message or "the generation failed")
        raise Failure(ExitCode.GENERATION, f"{why}; {where} keeps the answer it had", reason=end.error_reason)

    def _note(self, text: str, style: str) -> None:
        from durachart.app.cli.terminal import ERR

        self._break_line()
        if ERR.is_terminal and not self._as_json:
            ERR.line(ERR.style(text, style))

    def _break_line(self) -> None:
        if not self._at_line_start:
            sys.stdout.write("\n")
            sys.stdout.flush()
            self._at_line_start = True
