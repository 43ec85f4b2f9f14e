"""Where a viewer of a generation is."""

from __future__ import annotations

from dataclasses import dataclass

from durachart.runtime.errors import InvalidArgument
from durachart.runtime.generation.channel import Channel
from durachart.runtime.generation.frames import (
    Generation,
    GenerationOutcome,
    TokenAttemptStarted,
    TokenFrame,
)


@dataclass(slots=True)
class Cursor:
    """Everything before ``offset`` of ``attempt`` was sent."""

    effect_id: str
    attempt: int
    offset: int

    def follow(self, channel: Channel) -> list[TokenFrame]:
        """Frames from here to the end of the running attempt's text, as far as it is known here.

        However far behind a viewer is, that is one piece of text, and no longer than a text may be. Of an
        attempt before the viewer's there is nothing: whoever makes it here has been overtaken by another node
        and does not know it yet.

        Raises:
            InvalidArgument: The offset is past the text.
        """
        text = channel.text
        if text is None or channel.attempt < self.attempt:
            return []
        frames = self._begin(channel.attempt, channel.model)
        if channel.mirrored and self.offset > len(text):
            return frames  # the copy is behind the viewer, who was at another node before
        self._check(len(text))
        return frames + self._take(text.read(self.offset))

    def finish(self, generation: Generation, *, anew: bool = False) -> list[TokenFrame]:
        """Frames from here to the end of a generation that ended.

        Args:
            generation: As it ended.
            anew: The text before ``offset`` is not the result's: open the attempt once more.

        Raises:
            InvalidArgument: The offset is past the result.
        """
        end = generation.end
        assert end is not None
        if anew and self.offset:
            self.attempt = 0
        frames = self._begin(generation.attempt, generation.model) if generation.attempt else []
        if end.outcome is GenerationOutcome.COMPLETED:
            self._check(len(generation.text))
            frames += self._take(generation.text[self.offset :])
        frames.append(TokenFrame(self.effect_id, generation.attempt, self.offset, self.offset, end))
        return frames

    def _begin(self, attempt: int, model: str) -> list[TokenFrame]:
        if attempt == self.attempt:
            return []
        self.attempt, self.offset = attempt, 0
        return [TokenFrame(self.effect_id, attempt, 0, 0, TokenAttemptStarted(model))]

    def _take(self, text: str) -> list[TokenFrame]:
        if not text:
            return []
        begin = self.offset
        self.offset = begin + len(text)
        return [TokenFrame(self.effect_id, self.attempt, begin, self.offset, text)]

    def _check(self, length: int) -> None:
        if self.offset > length:
            raise InvalidArgument(
                "offset",
                f"offset {self.offset} is past the text of attempt {self.attempt}, which has {length} "
                "characters; go on from the last frame's next_offset",
            )
