"""aimock, an independent OpenAI- and Anthropic-compatible server from npm, as a real process."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

_SCRIPT = Path(__file__).with_name("aimock_server.mjs")
_LIMIT_S = 30


class Aimock:
    """A running aimock.

    Attributes:
        url: Where it listens, for example ``http://127.0.0.1:40123``; the Anthropic base URL.
    """

    def __init__(self, url: str, process: asyncio.subprocess.Process, api_keys: tuple[str, ...]) -> None:
        self.url = url
        self._process = process
        self._control = httpx.AsyncClient(
            base_url=f"{url}/__aimock",
            headers={"authorization": f"Bearer {api_keys[0]}"} if api_keys else {},
            timeout=_LIMIT_S,
            trust_env=False,
        )
        self._closed: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    @property
    def openai_url(self) -> str:
        """The OpenAI base URL."""
        return f"{self.url}/v1"

    async def answer(self, asked: str, content: str, **options: Any) -> None:
        """Answer requests whose last user message contains ``asked``.

        Options are aimock's: ``latency`` (ms before each chunk), ``chunkSize`` (characters),
        ``truncateAfterChunks``, ``disconnectAfterMs``; and of the response ``finishReason``, ``usage`` and
        ``model``.
        """
        if "truncateAfterChunks" in options:
            # Without a pause aimock destroys the connection before anything of the answer has left it.
            options.setdefault("latency", 5)
        response: dict[str, Any] = {"content": content}
        for name in ("finishReason", "usage", "model"):
            if name in options:
                response[name] = options.pop(name)
        await self._add(asked, response, options)

    async def fail(self, asked: str, status: int, message: str, **options: Any) -> None:
        """Answer with an error.

        Options are aimock's: ``retryAfter`` (seconds), ``sequenceIndex`` (which such request, from 0); and of
        the error ``type`` and ``code``.
        """
        error = {"message": message}
        error |= {name: options.pop(name) for name in ("type", "code") if name in options}
        response = {"error": error, "status": status}
        if "retryAfter" in options:
            response["retryAfter"] = options.pop("retryAfter")
        await self._add(asked, response, options)

    async def requests(self) -> list[dict[str, Any]]:
        """Path, body and headers of all model requests so far, in order."""
        entries = (await self._control.get("/journal")).raise_for_status().json()
        return [{name: entry[name] for name in ("path", "body", "headers")} for entry in entries]

    async def wait_closed(self) -> bool:
        """Wait for the next response to end; whether it was finished, not abandoned by the other side."""
        async with asyncio.timeout(_LIMIT_S):
            return bool((await self._closed.get())["finished"])

    async def _add(self, asked: str, response: dict[str, Any], options: dict[str, Any]) -> None:
        match: dict[str, Any] = {"userMessage": asked}
        if "sequenceIndex" in options:
            match["sequenceIndex"] = options.pop("sequenceIndex")
        fixture = {"match": match, "response": response, **options}
        reply = await self._control.post("/fixtures", json={"fixtures": [fixture]})
        assert reply.status_code == 200, reply.text

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._closed.put_nowait(json.loads(line))

    async def _close(self) -> None:
        await self._control.aclose()


@asynccontextmanager
async def running_aimock(*api_keys: str) -> AsyncIterator[Aimock]:
    """Start aimock on a free port and stop it in the end.

    Args:
        api_keys: Keys it accepts. None given: it accepts every key.
    """
    node = shutil.which("node")
    assert node, "the provider tests need Node 20 or newer on the PATH"
    process = await asyncio.create_subprocess_exec(
        node, str(_SCRIPT), *api_keys, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_LIMIT_S):
            first = await process.stdout.readline()
        assert first, "aimock did not start; is `npm ci` done in tests/node?"
        aimock = Aimock(json.loads(first)["url"], process, api_keys)
        reader = asyncio.create_task(aimock._read())
        try:
            yield aimock
        finally:
            await aimock._close()
            process.stdin.close()
            await reader
    finally:
        if process.returncode is None and process.stdin.is_closing() is False:
            process.kill()
        await process.wait()
