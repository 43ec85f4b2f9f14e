"""A generation as the command line follows it."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from datetime import timedelta
from typing import Any

from durachart.app.cli.exits import ExitCode, Failure
from durachart.app.cli.jsonlines import emit, kind_of, plain
from durachart.app.cli.outage import Outage
from durachart.app.cli.terminal import ERR, OUT
from durachart_client import (
    Accepted,
    Client,
    GenerationEnd,
    InstanceExists,
    InstanceNotFound,
    ServerError,
    Text,
    TokenEvent,
)

_HANDLER = "llm.generate"


class Generation:
    """One generation from SUBMIT to its end.

    Args:
        client: An open client.
        machine: A machine that takes SUBMIT, SELECT_MODEL and SET_EVALS as ``canvas`` does.
        instance: The instance; made if it is missing.
        as_json: Whether to write JSON lines instead of the text.
    """

    def __init__(self, client: Client, machine: str, instance: str, *, as_json: bool) -> None:
        self._client = client
        self._machine = machine
        self._instance = instance
        self._as_json = as_json
        self._at_line_start = True
        self._asked_to_stop = asyncio.Event()

    async def run(self, prompt: str, model: str | None, evals: list[str] | None) -> None:
        """Submit, show the text as it comes, and stop the generation when Ctrl-C is pressed.

        Args:
            prompt: What to ask.
            model: The model to select; None leaves it as it is.
            evals: What the answer has to pass; None leaves them as they are.

        Raises:
            Failure: The generation was stopped or failed.
            ClientError: A call failed.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        tasks: set[asyncio.Task[None]] = set()
        try:
            effect_id = self._effect_of(await self._submit(prompt, model, evals))
            following = asyncio.create_task(self._follow(effect_id))
            stopping = asyncio.create_task(self._stop_when_asked(effect_id))
            tasks |= {following, stopping}
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if stopping in done:
                stopping.result()
            await following
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, effect_id: str) -> None:
        outage = Outage()

        def lost(failure: ServerError, wait: timedelta) -> None:
            if OUT.is_terminal:  # elsewhere the answer stays as it is
                self._break_line()
            outage.lost(failure, wait)

        async with self._client.watch_tokens(
            self._machine, self._instance, effect_id, on_interrupt=lost
        ) as stream:
            async for event in stream:
                outage.over()
                self._show(event)

    async def _submit(self, prompt: str, model: str | None, evals: list[str] | None) -> Accepted:
        """Make the canvas if it is missing, tell it model and evals, and submit."""
        machine_input: dict[str, Any] = {}
        if model is not None:
            machine_input["model"] = model
        if evals:
            machine_input["evals"] = evals
        if not await self._make(machine_input):
            if model is not None:
                await self._send("SELECT_MODEL", {"model": model})
            if evals:
                await self._send("SET_EVALS", {"evals": evals})
        if self._asked_to_stop.is_set():
            raise Failure(ExitCode.INTERRUPTED, "interrupted before the prompt was submitted")
        return await self._send("SUBMIT", {"prompt": prompt})

    async def _make(self, machine_input: dict[str, Any]) -> bool:
        """Whether the instance was missing and is made; looks first, as a refused attempt is journaled."""
        try:
            await self._client.get(self._machine, self._instance, view="basic")
        except InstanceNotFound:
            with suppress(InstanceExists):
                await self._client.create(self._machine, self._instance, machine_input, view="basic")
                return True
        return False

    async def _send(self, event: str, data: dict[str, Any]) -> Accepted:
        return await self._client.send(self._machine, self._instance, event, data, view="basic")

    def _effect_of(self, accepted: Accepted) -> str:
        for effect in accepted.state.running_effects:
            if effect.handler == _HANDLER:
                return effect.effect_id
        raise Failure(
            ExitCode.GENERATION,
            f"machine {self._machine} took SUBMIT without asking for {_HANDLER}; name one that does",
        )

    def _interrupt(self) -> None:
        if self._asked_to_stop.is_set():  # asked twice: the server may be gone
            raise SystemExit(int(ExitCode.INTERRUPTED))
        self._asked_to_stop.set()

    async def _stop_when_asked(self, effect_id: str) -> None:
        await self._asked_to_stop.wait()
        await self._client.stop_generation(self._machine, self._instance, effect_id)

    def _show(self, event: TokenEvent) -> None:
        if self._as_json:
            emit({"kind": kind_of(event), "instance_id": self._instance, **plain(event)})
        if isinstance(event, GenerationEnd):
            self._end(event)
        elif self._as_json:
            pass
        elif isinstance(event, Text):
            OUT.write(event.text)
            self._at_line_start = event.text.endswith("\n")
        elif event.attempt > 1:
            self._note(f"the model's answer was cut; attempt {event.attempt} begins again", "yellow")

    def _end(self, end: GenerationEnd) -> None:
        where = f"{self._machine}/{self._instance}"
        if end.outcome == "completed":
            usage = f", {end.usage.input_tokens} + {end.usage.output_tokens} tokens" if end.usage else ""
            self._note(f"stored in {where} (model {end.model or 'unknown'}{usage})", "dim")
            return
        self._break_line()
        if end.outcome == "stopped" and self._asked_to_stop.is_set():
            raise Failure(ExitCode.INTERRUPTED, f"stopped; {where} keeps the answer it had")
        why = {
            "stopped": "somebody else stopped the generation",
            "cancelled": "the canvas left the state that wanted the generation",
        }.get(end.outcome, end.error_message or "the generation failed")
        sentence = f"{why.rstrip('.')}; {where} keeps the answer it had"
        raise Failure(ExitCode.GENERATION, sentence, reason=end.error_reason)

    def _note(self, text: str, style: str) -> None:
        self._break_line()
        if ERR.is_terminal and not self._as_json:
            ERR.line(ERR.style(text, style))

    def _break_line(self) -> None:
        if not self._at_line_start:
            OUT.line()
            self._at_line_start = True
