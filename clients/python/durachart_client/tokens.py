"""Following a generation: its text so far, then as it comes, over any number of connections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from durachart_client import convert, errors
from durachart_client.calls import Connection
from durachart_client.gen import token_service_pb2 as pb
from durachart_client.models import AttemptStarted, GenerationEnd, InstanceRef, Text, TokenEvent
from durachart_client.streams import OnInterrupt, ResumableStream


@dataclass(slots=True)
class GenerationPosition:
    """How far one generation has been told: makes events of frames, each once, and finds gaps.

    Attributes:
        effect_id: Which generation; ``""`` until a frame has said so.
        attempt: The attempt that ``offset`` counts in; 0 before the first.
        offset: Length of what has been told, in Unicode code points.
        ended: Whether its end has been told.
    """

    effect_id: str = ""
    attempt: int = 0
    offset: int = 0
    ended: bool = False

    def take(self, frame: pb.TokenFrame, instance: InstanceRef) -> TokenEvent | None:
        """Move past ``frame``; what it says that is new, or None.

        Raises:
            StreamGap: Text was skipped.
        """
        self.effect_id = frame.effect_id
        if frame.attempt < self.attempt or (self.ended and frame.attempt == self.attempt):
            return None  # of an attempt that is void, or told before
        match frame.WhichOneof("body"):
            case "started":
                if frame.attempt == self.attempt:
                    return None
                self._begin(frame.attempt, 0)
                return AttemptStarted(frame.effect_id, frame.attempt, frame.started.model)
            case "text":
                return self._text(frame, instance)
            case "end":
                return self._end(frame)
        return None

    def _text(self, frame: pb.TokenFrame, instance: InstanceRef) -> Text | None:
        if frame.attempt != self.attempt:
            self._begin(frame.attempt, frame.offset)
        known = self.offset
        if frame.offset > known:
            raise errors.StreamGap(instance=instance, expected=known, received=frame.offset)
        text = frame.text[known - frame.offset :]
        if not text:
            return None
        self.offset = known + len(text)
        return Text(frame.effect_id, frame.attempt, known, text)

    def _end(self, frame: pb.TokenFrame) -> GenerationEnd:
        if frame.attempt != self.attempt:
            self._begin(frame.attempt, 0)
        self.ended = True
        return convert.generation_end(frame)

    def _begin(self, attempt: int, offset: int) -> None:
        self.attempt = attempt
        self.offset = offset
        self.ended = False


class TokenStream(ResumableStream[TokenEvent]):
    """Iterates over one generation, ending with :class:`GenerationEnd`; made by ``Client.watch_tokens``.

    Leaving it does not stop the generation: that is ``Client.stop_generation``.

    Raises while iterating:
        NoGeneration: The instance never had one.
        StreamGap: Text was skipped.
        Unavailable: No server answered within the client's timeout, and none had before.
        ServerError: The service refused.
    """

    def __init__(
        self,
        connection: Connection,
        method: Any,
        request: pb.WatchTokensRequest,
        *,
        on_interrupt: OnInterrupt | None,
    ) -> None:
        # A provider may think for minutes before the next token: silence proves nothing here. The channel's
        # keepalive finds dead connections.
        super().__init__(connection, silence=None, on_interrupt=on_interrupt)
        self._method = method
        self._request = request
        self._instance = convert.instance_ref(request.instance)
        self._position = GenerationPosition(request.effect_id, request.attempt, request.offset)

    @property
    def effect_id(self) -> str:
        """Which generation is followed; ``""`` until the server has said so."""
        return self._position.effect_id

    @property
    def attempt(self) -> int:
        """The attempt that ``offset`` counts in; 0 before the first."""
        return self._position.attempt

    @property
    def offset(self) -> int:
        """Where another stream would go on, in Unicode code points of the attempt's text."""
        return self._position.offset

    def _open(self) -> Any:
        position, request = self._position, self._request
        request.effect_id, request.attempt, request.offset = (
            position.effect_id,
            position.attempt,
            position.offset,
        )
        return self._method(request, metadata=self._connection.metadata())

    def _frames_of(self, message: pb.WatchTokensResponse) -> Sequence[pb.TokenFrame]:
        return message.frames

    def _take(self, frame: pb.TokenFrame) -> TokenEvent | None:
        event = self._position.take(frame, self._instance)
        self._complete = self._position.ended
        return event
