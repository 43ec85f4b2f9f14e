"""Following a generation: its text so far, then as it comes, over any number of connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from durachart_client import convert, errors
from durachart_client.calls import Connection
from durachart_client.gen import token_service_pb2 as pb
from durachart_client.models import AttemptStarted, Text, TokenEvent
from durachart_client.streams import OnInterrupt, ResumableStream


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

    @property
    def effect_id(self) -> str:
        """Which generation is followed; ``""`` until the server has said so."""
        return self._request.effect_id

    @property
    def attempt(self) -> int:
        """The attempt that ``offset`` counts in; 0 before the first."""
        return self._request.attempt

    @property
    def offset(self) -> int:
        """Where another stream would go on, in Unicode code points of the attempt's text."""
        return self._request.offset

    def _open(self) -> Any:
        return self._method(self._request, metadata=self._connection.metadata())

    def _frames_of(self, message: pb.WatchTokensResponse) -> Sequence[pb.TokenFrame]:
        return message.frames

    def _take(self, frame: pb.TokenFrame) -> TokenEvent | None:
        self._request.effect_id = frame.effect_id
        match frame.WhichOneof("body"):
            case "started":
                if frame.attempt == self._request.attempt:
                    return None
                self._move(frame.attempt, 0)
                return AttemptStarted(frame.effect_id, frame.attempt, frame.started.model)
            case "text":
                return self._text(frame)
            case "end":
                self._complete = True
                return convert.generation_end(frame)
        return None

    def _text(self, frame: pb.TokenFrame) -> Text | None:
        if frame.attempt != self._request.attempt:
            self._move(frame.attempt, frame.offset)
        known = self._request.offset
        if frame.offset > known:
            instance = convert.instance_ref(self._request.instance)
            raise errors.StreamGap(instance=instance, expected=known, received=frame.offset)
        text = frame.text[known - frame.offset :]
        if not text:
            return None
        self._move(frame.attempt, known + len(text))
        return Text(frame.effect_id, frame.attempt, known, text)

    def _move(self, attempt: int, offset: int) -> None:
        self._request.attempt = attempt
        self._request.offset = offset
