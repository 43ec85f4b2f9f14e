"""Frames of watches as responses: what many watchers are told is encoded once.

The runtime hands one and the same object to all watchers of a view, so an encoding is found again by the
object's identity. A response is put together of encoded frames: fields of a message may simply be joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from durachart.rpc import convert
from durachart.rpc.gen import state_machine_service_pb2 as pb
from durachart.runtime.outlet import Outlet
from durachart.runtime.views import WatchFrame, WatchTransition

# One response stays well under the 4 MiB that gRPC clients take by default; a single frame may exceed it,
# within the context's limit.
MAX_RESPONSE_BYTES: Final = 1024 * 1024
_KEPT_BYTES: Final = 4 * 1024 * 1024
_KEPT_FRAMES: Final = 1_024
_KEPT_BATCHES: Final = 8


class WatchResponses:
    """Makes the responses of all watches."""

    def __init__(self) -> None:
        self._recent = _Kept()
        self._before = _Kept()
        self._made: dict[tuple[int, ...], _Made] = {}
        self._made_bytes = 0

    def of(self, batch: Sequence[WatchFrame]) -> Sequence[tuple[pb.WatchStateResponse, str]]:
        """Responses with these frames, in order; each with the token of its last frame.

        Watchers that keep up are told the same at the same time, and share what is returned: nobody changes
        it.

        Args:
            batch: At least one frame.
        """
        if not isinstance(batch[0], WatchTransition):
            return list(self._joined(batch))
        identity = tuple(map(id, batch))
        made = self._made.get(identity)
        if made is None:
            responses = tuple(self._joined(batch))
            size_bytes = sum(response.ByteSize() for response, _ in responses)
            made = _Made(tuple(batch), responses, size_bytes)
            self._forget_oldest(size_bytes)
            self._made[identity] = made
            self._made_bytes += size_bytes
        return made.responses

    def _forget_oldest(self, size_bytes: int) -> None:
        """Make room for a batch, which is kept however large: those who are told it are told it now."""
        while self._made and (
            len(self._made) == _KEPT_BATCHES or self._made_bytes + size_bytes > _KEPT_BYTES
        ):
            oldest = self._made.pop(next(iter(self._made)))
            self._made_bytes -= oldest.size_bytes

    def _joined(self, batch: Sequence[WatchFrame]) -> Iterator[tuple[pb.WatchStateResponse, str]]:
        encoded: list[bytes] = []
        size = 0
        token = ""
        for frame in batch:
            data = self._encoded(frame)
            if encoded and size + len(data) > MAX_RESPONSE_BYTES:
                yield _response(encoded), token
                encoded, size = [], 0
            encoded.append(data)
            size += len(data)
            token = frame.resume_token
        yield _response(encoded), token

    def _encoded(self, frame: WatchFrame) -> bytes:
        """The frame as a field of a response."""
        if not isinstance(frame, WatchTransition):
            return _field(frame)  # of one watch alone
        identity = id(frame)
        kept = self._recent.frames.get(identity) or self._before.frames.get(identity)
        if kept is not None:
            return kept[1]
        data = _field(frame)
        if self._recent.is_full:
            self._before, self._recent = self._recent, _Kept()
        self._recent.keep(identity, frame, data)
        return data


class WatchTelling:
    """What one watch is told; its outlet for frames.

    Args:
        shared: Makes responses.
        outlet: Where they go while the watch waits; None: all are yielded.
        token: That it begins with.

    Attributes:
        last_token: Of the last frame it was told of.
    """

    __slots__ = ("_outlet", "_shared", "last_token")

    def __init__(
        self, shared: WatchResponses, outlet: Outlet[pb.WatchStateResponse] | None, token: str
    ) -> None:
        self.last_token = token
        self._shared = shared
        self._outlet = outlet

    @property
    def outlet(self) -> WatchTelling | None:
        """This, if responses can go anywhere but through the handler."""
        return None if self._outlet is None else self

    @property
    def is_open(self) -> bool:
        """See ``Outlet``."""
        return self._outlet is not None and self._outlet.is_open

    def put(self, response: list[WatchFrame], *, at_once: bool) -> None:
        """See ``Outlet``."""
        assert self._outlet is not None
        for made in self.responses(response):
            self._outlet.put(made, at_once=at_once)

    def responses(self, frames: Sequence[WatchFrame]) -> Iterator[pb.WatchStateResponse]:
        """The responses with these frames, in order."""
        for made, token in self._shared.of(frames):
            self.last_token = token
            yield made


class _Made(NamedTuple):
    """Responses, and the frames that they are of, which makes their identity theirs."""

    frames: tuple[WatchFrame, ...]
    responses: tuple[tuple[pb.WatchStateResponse, str], ...]
    size_bytes: int


class _Kept:
    """Encodings by identity, which is one's own for as long as the object is kept as well."""

    __slots__ = ("frames", "size_bytes")

    def __init__(self) -> None:
        self.frames: dict[int, tuple[WatchFrame, bytes]] = {}
        self.size_bytes = 0

    @property
    def is_full(self) -> bool:
        return len(self.frames) >= _KEPT_FRAMES or self.size_bytes >= _KEPT_BYTES

    def keep(self, identity: int, frame: WatchFrame, data: bytes) -> None:
        self.frames[identity] = frame, data
        self.size_bytes += len(data)


def _field(frame: WatchFrame) -> bytes:
    return pb.WatchStateResponse(frames=[convert.watch_frame(frame)]).SerializeToString()


def _response(encoded: list[bytes]) -> pb.WatchStateResponse:
    return pb.WatchStateResponse.FromString(b"".join(encoded))
