"""The built-in model: no network, no key, no learning.

It lets every part of the service be tried and tested on a machine with nothing else on it. The answer is
composed from the request alone: it repeats what was asked and goes through the points that were required, so
that one can see that prompt and requirements arrived together in one request. It says what it is. The same
request gives the same text.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable

from durachart.workers.providers.protocol import Finished, GenerationRequest, Message, TextDelta, Usage
from durachart.workers.providers.settings import ProviderSettings

MODEL = "local"

# How much of one part of the request is repeated, in characters, and how many points are gone through.
_QUOTED_CHARS = 400
_POINTS = 20
# A line that is a point of a list: "- point", "* point", "• point", "1. point", "2) point".
_POINT = re.compile(r"\s*(?:[-*•]|\d{1,3}[.)])\s+(\S.*)")
# What only says that a message is a point: "Evaluation: ", "Requirement 2: ".
_LABEL = re.compile(r"(?:eval(?:uation)?|requirement|criterion|point)s?\s*\d*\s*:\s*", re.IGNORECASE)
# A word with the blanks that follow it, or blanks at the very beginning: joined, they give the text back.
_WORD = re.compile(r"\S+\s*|\s+")


class LocalProvider:
    """Composes an answer from the request, word by word."""

    def __init__(
        self, settings: ProviderSettings, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        """Make the model.

        Args:
            settings: The pause before every word.
            sleep: Waits that many seconds; tests pass their own.
        """
        self._delay_s = settings.local_token_delay_ms / 1000
        self._sleep = sleep

    @property
    def name(self) -> str:
        """Name for traces."""
        return "durachart.local"

    @property
    def address(self) -> str:
        """Empty: there is no endpoint."""
        return ""

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[TextDelta | Finished, None]:
        """Generate an answer; see `Provider.stream`. Tokens are words."""
        words = _WORD.findall(compose(request))
        bound = len(words) if request.max_output_tokens is None else request.max_output_tokens
        answer = words[:bound]
        for word in answer:
            # With no delay this still gives way, so that one generation cannot hold the event loop.
            await self._sleep(self._delay_s)
            yield TextDelta(word)
        finish_reason = "stop" if len(answer) == len(words) else "length"
        yield Finished(finish_reason, MODEL, Usage(_count_input(request), len(answer)))

    async def close(self) -> None:
        """Hold nothing, release nothing."""


def compose(request: GenerationRequest) -> str:
    """Write the answer to a request; a pure function of it."""
    earlier, turns = _split_turns(request.messages)
    instructions, points = _split_points(request.system)
    asked = ""
    if turns:
        asked, more = _split_points(turns[0])
        points += more
    points += [_LABEL.sub("", turn.strip(), count=1) for turn in turns[1:]]
    if asked:
        paragraphs = [f"You asked: {_quote(asked)}"]
    else:
        paragraphs = ["You asked for the points below." if points else "You asked me to go on."]
    if instructions:
        paragraphs.append(f"With these instructions in mind: {_quote(instructions)}")
    if points:
        paragraphs.append(_go_through(points))
    if earlier:
        plural = "s" if earlier > 1 else ""
        paragraphs.append(f"I also kept the {earlier} earlier message{plural} of this conversation in view.")
    paragraphs.append(
        "This was written by Durachart's built-in model. It composes its answer from your request alone and "
        "knows nothing else; point the server at a language model to have the request answered."
    )
    return "\n\n".join(paragraphs)


def _split_turns(messages: tuple[Message, ...]) -> tuple[int, list[str]]:
    """Return how many messages went before, and what the user has said since the last answer."""
    begin = len(messages)
    while begin and messages[begin - 1].role == "user":
        begin -= 1
    return begin, [message.content for message in messages[begin:]]


def _split_points(text: str) -> tuple[str, list[str]]:
    """Return the prose of a text and its list's points, each in order."""
    prose: list[str] = []
    points: list[str] = []
    for line in text.splitlines():
        point = _POINT.fullmatch(line)
        if point:
            # What only announces the list ("Requirements:") says nothing once the points stand elsewhere.
            if prose and prose[-1].endswith(":"):
                prose.pop()
            points.append(point[1].strip())
        elif line.strip():
            prose.append(line.strip())
    return " ".join(prose), points


def _go_through(points: list[str]) -> str:
    count = "One point was" if len(points) == 1 else f"{len(points)} points were"
    lines = [f"{count} required, and here is each:"]
    lines += [f"{number}. {_shorten(point)}" for number, point in enumerate(points[:_POINTS], start=1)]
    if len(points) > _POINTS:
        lines.append(f"… and {len(points) - _POINTS} more.")
    return "\n".join(lines)


def _quote(text: str) -> str:
    return f"“{_shorten(text)}”"


def _shorten(text: str) -> str:
    return text if len(text) <= _QUOTED_CHARS else text[:_QUOTED_CHARS].rstrip() + "…"


def _count_input(request: GenerationRequest) -> int:
    return sum(len(text.split()) for text in (request.system, *(turn.content for turn in request.messages)))
