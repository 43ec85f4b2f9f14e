"""Watching instances: snapshots, then every transition, once, in order, over any number of connections."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from durachart_client import convert, errors
from durachart_client.calls import Connection
from durachart_client.gen import state_machine_service_pb2 as pb
from durachart_client.gen.token_service_pb2 import TokenFrame
from durachart_client.models import (
    InstanceRef,
    InstanceState,
    Snapshot,
    Synced,
    TokenEvent,
    Tokens,
    WatchEvent,
)
from durachart_client.streams import OnInterrupt, ResumableStream
from durachart_client.tokens import GenerationPosition

SHORTEST_PROGRESS = timedelta(seconds=1)
LONGEST_PROGRESS = timedelta(seconds=60)
_SILENT_INTERVALS = 2.5

# A watch over a machine may see instances without end; what is checked for duplicates and gaps are the most
# recent ones.
_REMEMBERED_INSTANCES = 100_000
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
        self._versions = _SeenVersions()
        self._texts = _SeenTexts()
        self._closing: errors.Unavailable | None = None

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
                return transition if self._versions.advance(transition.state, transition.matches) else None
            case "gap":
                gap = convert.gap(frame)
                return gap if self._versions.skip(gap.state, gap.matches) else None
            case "tokens":
                return self._tokens(frame)
            case "deleted":
                self._versions.forget(convert.instance_ref(frame.deleted.instance))
                return convert.deleted(frame)
            case "synced":
                return Synced(frame.resume_token)
            case "closing":
                self._closing = errors.Unavailable(frame.closing.message)
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


class _Last(NamedTuple):
    """What was told last of an instance; once it left what is watched, any later version may be next."""

    uid: str
    version: int
    left: bool


class _SeenVersions:
    """The last version delivered of each recently seen instance: drops repetitions, finds gaps."""

    def __init__(self) -> None:
        self._last: OrderedDict[InstanceRef, _Last] = OrderedDict()

    def restart(self, state: InstanceState) -> bool:
        """Take a snapshot, which may skip versions; False when it tells nothing new."""
        last = self._last.get(state.instance)
        if last is not None and (last.uid, last.version) == (state.uid, state.version) and not last.left:
            return False
        self._remember(state)
        return True

    def skip(self, state: InstanceState, matches: bool) -> bool:
        """Take a gap that was told; False when it tells nothing new."""
        last = self._last.get(state.instance)
        if last is not None and last.uid == state.uid and state.version <= last.version:
            return False
        self._remember(state, left=not matches)
        return True

    def advance(self, state: InstanceState, matches: bool) -> bool:
        """Take a transition; False when it was delivered before.

        Raises:
            StreamGap: A version is missing before it.
        """
        last = self._last.get(state.instance)
        if last is not None and last.uid == state.uid:
            expected = last.version + 1
            if state.version < expected:
                return False
            if state.version > expected and not last.left:
                raise errors.StreamGap(instance=state.instance, expected=expected, received=state.version)
        self._remember(state, left=not matches)
        return True

    def forget(self, instance: InstanceRef) -> None:
        """Take a deletion: what comes under the name is another instance."""
        self._last.pop(instance, None)

    def _remember(self, state: InstanceState, *, left: bool = False) -> None:
        self._last[state.instance] = _Last(state.uid, state.version, left)
        self._last.move_to_end(state.instance)
        if len(self._last) > _REMEMBERED_INSTANCES:
            self._last.popitem(last=False)


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
