"""Watching instances: snapshots, then every transition, once, in order, over any number of connections."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from durachart_client import convert, errors
from durachart_client.calls import Connection
from durachart_client.gen import state_machine_service_pb2 as pb
from durachart_client.models import InstanceRef, InstanceState, Snapshot, Synced, WatchEvent
from durachart_client.streams import OnInterrupt, ResumableStream

SHORTEST_PROGRESS = timedelta(seconds=1)
LONGEST_PROGRESS = timedelta(seconds=60)
_SILENT_INTERVALS = 2.5

# A watch over a machine may see instances without end; what is checked for duplicates and gaps are the most
# recent ones.
_REMEMBERED_INSTANCES = 100_000


class Watch(ResumableStream[WatchEvent]):
    """Iterates over what watched instances are and become; made by ``Client.watch``.

    Raises while iterating:
        WatchCompacted: What was missed has been removed; start again with its token, or without one.
        StreamGap: A version was skipped.
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
                return transition if self._versions.advance(transition.state) else None
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

    async def _lost(self, failure: errors.ServerError) -> None:
        # What the server said while it could knows more than the status that followed.
        await super()._lost(self._closing or failure)


class _SeenVersions:
    """The last version delivered of each recently seen instance: drops repetitions, finds gaps."""

    def __init__(self) -> None:
        self._last: OrderedDict[InstanceRef, tuple[str, int]] = OrderedDict()

    def restart(self, state: InstanceState) -> bool:
        """Take a snapshot, which may skip versions; False when it tells nothing new."""
        if self._last.get(state.instance) == (state.uid, state.version):
            return False
        self._remember(state)
        return True

    def advance(self, state: InstanceState) -> bool:
        """Take a transition; False when it was delivered before."""
        uid, version = self._last.get(state.instance, ("", -1))
        if uid == state.uid:
            if state.version <= version:
                return False
            if state.version > version + 1:
                raise errors.StreamGap(instance=state.instance, expected=version + 1, received=state.version)
        self._remember(state)
        return True

    def forget(self, instance: InstanceRef) -> None:
        """Take a deletion: what comes under the name is another instance."""
        self._last.pop(instance, None)

    def _remember(self, state: InstanceState) -> None:
        self._last[state.instance] = (state.uid, state.version)
        self._last.move_to_end(state.instance)
        if len(self._last) > _REMEMBERED_INSTANCES:
            self._last.popitem(last=False)
