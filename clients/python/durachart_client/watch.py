"""Watching instances: snapshots, then every transition, once, in order, over any number of connections."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from durachart_client import convert, errors
from durachart_client.calls import Connection
from durachart_client.gen import state_machine_service_pb2 as pb
from durachart_client.gen.token_service_pb2 import TokenFrame
from durachart_client.models import (
    InstanceRef,
    Snapshot,
    Synced,
    TokenEvent,
    Tokens,
    WatchEvent,
)
from durachart_client.seen import SeenVersions
from durachart_client.streams import OnInterrupt, ResumableStream
from durachart_client.tokens import GenerationPosition

SHORTEST_PROGRESS = timedelta(seconds=1)
LONGEST_PROGRESS = timedelta(seconds=60)
_SILENT_INTERVALS = 2.5

# A watch over a machine may see generations without end; what is checked are the most recent ones.
_REMEMBERED_GENERATIONS = 10_000


class Watch(ResumableStream[WatchEvent]):
    """Iterates over what watched instances are and become; made by ``Client.watch``.

    Raises while iterating:
        WatchCompacted: What was missed has been removed; start again with its token, or without one.
        StreamGap: A version was skipped that the server did not say it skipped, or text of a generation.
        Unavailable: No server answered within the client's timeout, and none had before.
        ServerError: The service refused the watch.
    """

    def __init__(
        self,
        connection: Connection,
        method: Any,
        request: pb.WatchStateRequest,
        *,
        progress_interval: timedelta,
        on_interrupt: OnInterrupt | None,
    ) -> None:
        interval = min(max(progress_interval, SHORTEST_PROGRESS), LONGEST_PROGRESS)
        super().__init__(connection, silence=_SILENT_INTERVALS * interval, on_interrupt=on_interrupt)
        self._method = method
        self._request = request
        self._request.progress_interval.FromTimedelta(interval)
        self._versions = SeenVersions()
        self._texts = _SeenTexts()
        self._closing: errors.StreamClosing | None = None

    @property
    def resume_token(self) -> str:
        """Where another watch goes on: strictly after the last event delivered; ``""`` before the first."""
        return self._request.resume_token

    def _open(self) -> Any:
        self._closing = None
        return self._method(self._request, metadata=self._connection.metadata())

    def _frames_of(self, message: pb.WatchStateResponse) -> Sequence[pb.WatchFrame]:
        return message.frames

    def _is_end(self) -> bool:
        return self._request.end_on_final and self._closing is None

    def _take(self, frame: pb.WatchFrame) -> WatchEvent | None:
        event = self._event_of(frame)
        if frame.resume_token:
            self._request.resume_token = frame.resume_token
        return event

    def _event_of(self, frame: pb.WatchFrame) -> WatchEvent | None:
        match frame.WhichOneof("body"):
            case "snapshot":
                state = convert.instance_state(frame.snapshot)
                return Snapshot(frame.resume_token, state) if self._versions.restart(state) else None
            case "transition":
                transition = convert.transition(frame)
                return transition if self._versions.advance(transition) else None
            case "gap":
                return self._versions.skip(convert.gap(frame))
            case "tokens":
                return self._tokens(frame)
            case "deleted":
                deleted = convert.deleted(frame)
                return deleted if self._versions.delete(deleted) else None
            case "synced":
                return Synced(frame.resume_token)
            case "closing":
                self._closing = errors.StreamClosing(frame.closing.message)
                if frame.closing.HasField("reconnect_delay"):
                    self._closing.retry_after = frame.closing.reconnect_delay.ToTimedelta()
            case _:  # progress, and what a newer server adds: the token is all there is to take from it
                pass
        return None

    def _tokens(self, frame: pb.WatchFrame) -> Tokens | None:
        instance = convert.instance_ref(frame.tokens.instance)
        told = (self._texts.take(instance, one) for one in frame.tokens.frames)
        events = tuple(event for event in told if event is not None)
        return Tokens(self.resume_token, instance, events) if events else None

    async def _lost(self, failure: errors.ServerError) -> None:
        # What the server said while it could knows more than the status that followed.
        await super()._lost(self._closing or failure)


class _SeenTexts:
    """How far each recently seen generation has been told; after a reconnect its text comes anew."""

    def __init__(self) -> None:
        self._positions: OrderedDict[tuple[InstanceRef, str], GenerationPosition] = OrderedDict()

    def take(self, instance: InstanceRef, frame: TokenFrame) -> TokenEvent | None:
        """Take a frame; what it says that is new, or None. Raises StreamGap when text was skipped."""
        key = (instance, frame.effect_id)
        position = self._positions.setdefault(key, GenerationPosition(frame.effect_id))
        self._positions.move_to_end(key)
        if len(self._positions) > _REMEMBERED_GENERATIONS:
            self._positions.popitem(last=False)
        return position.take(frame, instance)
