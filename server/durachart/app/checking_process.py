"""The process that checks large definitions: ``python -m durachart.app.checking_process``.

It speaks frames over its standard input and output: a line of JSON, then as many bytes as its ``bytes`` says.
The first line it reads is what to check with, ``{"plugins": [...], "handlers": [...]}``; then come requests
``{"publish": bool, "bytes": N}`` with a definition, each answered before the next is taken:

- ``{"found": [finding, ...], "bytes": 0}``: everything found in it, for ``publish`` because it is refused;
- ``{"offer": {...}, "found": [warning, ...], "bytes": N}`` with the canonical document: it may be published.

It ends when its input does, whatever it is doing: nobody is there any more. It also ends when it has had
nothing to do for a while, and gives back what memory it has.
"""

from __future__ import annotations

import gc
import os
import queue
import signal
import sys
import threading
from dataclasses import asdict
from typing import IO, Any, Final

import orjson

from durachart.definitions.definition import check_definition, load_definition
from durachart.definitions.errors import DefinitionInvalid
from durachart.plugins.collection import PluginCollection
from durachart.plugins.loading import load_plugins
from durachart.runtime.checks import offer_of

IDLE_S: Final = 60.0

Request = tuple[bool, bytes]
"""Whether it is to be published, and the definition."""


def read_frame(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """The next frame; None when the stream has ended, in the middle of one too."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    head: dict[str, Any] = orjson.loads(line)
    body = stream.read(head["bytes"])
    return (head, body) if len(body) == head["bytes"] else None


def write_frame(stream: IO[bytes], head: dict[str, Any], body: bytes = b"") -> None:
    """Write one frame and flush."""
    stream.write(orjson.dumps({**head, "bytes": len(body)}) + b"\n")
    stream.write(body)
    stream.flush()


def main() -> None:
    """Answer requests until there will be no more."""
    # Ctrl-C on a terminal reaches every process of the server; that one ends this one by itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a plug-in prints must not stand between answers
    asked = sys.stdin.buffer
    first = read_frame(asked)
    if first is None:
        return
    plugins = load_plugins(first[0]["plugins"])
    handlers = frozenset(first[0]["handlers"])
    requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked, requests), daemon=True).start()
    gc.disable()  # see `durachart.runtime.compiler`; here it is called when nobody waits
    while True:
        try:
            request = requests.get(timeout=IDLE_S)
        except queue.Empty:
            return
        write_frame(answers, *_answer(request, plugins, handlers))
        del request
        gc.collect()


def _listen(asked: IO[bytes], requests: queue.SimpleQueue[Request]) -> None:
    while (frame := read_frame(asked)) is not None:
        requests.put((frame[0]["publish"], frame[1]))
    os._exit(0)  # the other thread may be busy for long


def _answer(
    request: Request, plugins: PluginCollection, handlers: frozenset[str]
) -> tuple[dict[str, Any], bytes]:
    publish, text = request
    if not publish:
        found = check_definition(text, plugins=plugins, handlers=handlers)
        return {"found": [asdict(finding) for finding in found]}, b""
    try:
        offer = offer_of(load_definition(text, plugins=plugins, handlers=handlers))
    except DefinitionInvalid as invalid:
        return {"found": [asdict(finding) for finding in invalid.findings]}, b""
    body = {
        "machine_id": offer.machine_id,
        "content_hash": offer.content_hash,
        "description": offer.description,
        "event_types": offer.event_types,
    }
    warnings = [asdict(warning) for warning in offer.warnings]
    return {"offer": body, "found": warnings}, offer.document.encode()


if __name__ == "__main__":
    main()
