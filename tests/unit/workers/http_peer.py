"""A service on a loopback port that answers what a test tells it to, byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Asked:
    """A request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Peer:
    """The service.

    Attributes:
        answers: Sent one after the other, the last one again and again; None: nothing is ever said.
        asked: What came.
        heard: Set with every request.
        closed: Connections that have ended.
        hung_up: Set when one has.
    """

    answers: list[bytes | None] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    closed: int = 0
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/orders?key=secret"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *fields = head.decode().strip().split("\r\n")
                headers = {name.lower(): text for name, _, text in (one.partition(": ") for one in fields)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.asked.append(Asked(line, headers, body))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                self.heard.set()
                if answer is None:
                    await reader.read()
                    return
                writer.write(answer)
                if b"content-length" not in answer.lower():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed += 1
            self.hung_up.set()
            writer.close()


@asynccontextmanager
async def serving(*answers: bytes | None) -> AsyncIterator[Peer]:
    """The service, for as long as the block lasts."""
    peer = Peer(list(answers))
    async with await asyncio.start_server(peer.serve, "127.0.0.1", 0) as listener:
        peer.port = listener.sockets[0].getsockname()[1]
        yield peer


def answer(status: int, body: bytes = b"", content_type: str = "", **headers: str) -> bytes:
    """An answer with its length."""
    fields = [f"Content-Length: {len(body)}"]
    if content_type:
        fields.append(f"Content-Type: {content_type}")
    fields += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status} Words", *fields, "", ""]).encode() + body
