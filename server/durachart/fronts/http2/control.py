"""Frames that are about a connection or a stream, and bring nothing of a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from durachart.fronts.http2 import frames as h2
from durachart.fronts.http2.floods import FloodGuard
from durachart.fronts.http2.keepalive import Keepalive
from durachart.fronts.http2.payloads import ConnectionBroken
from durachart.fronts.http2.streams import Streams

# A change of all windows looks at every stream: it counts as one frame, and one more for this many.
_STREAMS_PER_FRAME: Final = 250


class Control:
    """See the module.

    Args:
        streams: Of the connection.
        keepalive: Of the connection.
    """

    __slots__ = ("_floods", "_keepalive", "_sender", "_streams")

    def __init__(self, streams: Streams, keepalive: Keepalive) -> None:
        self._streams = streams
        self._sender = streams.sender
        self._keepalive = keepalive
        self._floods = FloodGuard()

    def count(self, frames: int = 1) -> None:
        """One more frame that carries nothing; or as much work as so many."""
        if self._floods.is_too_much(self._keepalive.heard_s, frames):
            raise ConnectionBroken(h2.ENHANCE_YOUR_CALM, "too many frames that carry nothing")

    def read(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Take in a frame of a kind that is none of HEADERS, DATA and CONTINUATION.

        Raises:
            ConnectionBroken: It must not be, or there are too many that carry nothing.
        """
        reader = _READERS.get(kind)
        if reader is None:
            self.count()  # of an extension: ignored, and bounded
        else:
            reader(self, flags, stream, payload)

    def _priority(self, flags: int, stream: int, payload: bytes) -> None:
        self.count()
        if not stream:
            raise ConnectionBroken(h2.PROTOCOL_ERROR, "PRIORITY of no stream")
        if len(payload) != 5:
            self._streams.reset(stream, h2.FRAME_SIZE_ERROR)
        elif int.from_bytes(payload[:4], "big") & 0x7FFFFFFF == stream:
            self._streams.reset(stream, h2.PROTOCOL_ERROR)

    def _reset(self, flags: int, stream: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionBroken(h2.FRAME_SIZE_ERROR, "RST_STREAM has four bytes")
        if not stream or stream > self._streams.newest:
            raise ConnectionBroken(h2.PROTOCOL_ERROR, "RST_STREAM of a stream that is not open")
        exchange = self._streams.open.get(stream)
        if not self._streams.note_reset():
            self.count()
        if exchange is not None:
            self._streams.let_go(exchange)

    def _settings(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise ConnectionBroken(h2.PROTOCOL_ERROR, "SETTINGS of a stream")
        if flags & h2.ACK:
            if payload:
                raise ConnectionBroken(h2.FRAME_SIZE_ERROR, "an acknowledgement holds nothing")
            self.count()
            return
        if len(payload) % 6:
            raise ConnectionBroken(h2.FRAME_SIZE_ERROR, "SETTINGS come in six bytes each")
        self.count()
        self._keepalive.greeted = True
        window = self._sender.stream_window
        for name, value in h2.read_settings(payload):
            if name == h2.INITIAL_WINDOW_SIZE:
                if value > h2.LARGEST_WINDOW:
                    raise ConnectionBroken(h2.FLOW_CONTROL_ERROR, "the window is too large")
                window = value  # once for all that one frame says: it can say it thousands of times
            else:
                self._set(name, value)
        if window != self._sender.stream_window:
            self._set_windows(window)
        # Before what the new windows let out: the peer sees that they are known.
        self._sender.send(h2.frame(h2.SETTINGS, h2.ACK, 0))
        self._sender.go_on()

    def _set_windows(self, window: int) -> None:
        self.count(len(self._streams.open) // _STREAMS_PER_FRAME)
        more = window - self._sender.stream_window
        self._sender.stream_window = window
        for exchange in self._streams.open.values():
            exchange.window += more
            if exchange.window > h2.LARGEST_WINDOW:
                raise ConnectionBroken(h2.FLOW_CONTROL_ERROR, "a stream's window is too large")
            self._sender.queue(exchange)

    def _set(self, name: int, value: int) -> None:
        if name == h2.MAX_FRAME_SIZE:
            if not h2.LEAST_FRAME_BYTES <= value <= h2.MOST_FRAME_BYTES:
                raise ConnectionBroken(h2.PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE is out of bounds")
            self._sender.bound_frames(value)
        elif name == h2.ENABLE_PUSH and value > 1:
            raise ConnectionBroken(h2.PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH is 0 or 1")

    def _push(self, flags: int, stream: int, payload: bytes) -> None:
        raise ConnectionBroken(h2.PROTOCOL_ERROR, "a client pushes nothing")

    def _ping(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise ConnectionBroken(h2.PROTOCOL_ERROR, "PING of a stream")
        if len(payload) != 8:
            raise ConnectionBroken(h2.FRAME_SIZE_ERROR, "PING has eight bytes")
        if self._sender.measurable:
            self._sender.measurable = False
        else:
            self.count()
        if not flags & h2.ACK:
            self._sender.send(h2.frame(h2.PING, h2.ACK, 0, payload))

    def _goaway(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise ConnectionBroken(h2.PROTOCOL_ERROR, "GOAWAY of a stream")
        if len(payload) < 8:
            raise ConnectionBroken(h2.FRAME_SIZE_ERROR, "GOAWAY has at least eight bytes")
        self.count()  # what is under way goes on; the client closes the connection when it is done

    def _window(self, flags: int, stream: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionBroken(h2.FRAME_SIZE_ERROR, "WINDOW_UPDATE has four bytes")
        more = int.from_bytes(payload, "big") & 0x7FFFFFFF
        if not stream:
            if not more:
                raise ConnectionBroken(h2.PROTOCOL_ERROR, "a window grows by at least 1")
            self._sender.window += more
            if self._sender.window > h2.LARGEST_WINDOW:
                raise ConnectionBroken(h2.FLOW_CONTROL_ERROR, "the connection's window is too large")
            self._sender.go_on()
            return
        if stream > self._streams.newest:
            raise ConnectionBroken(h2.PROTOCOL_ERROR, "WINDOW_UPDATE of a stream that is not open")
        exchange = self._streams.open.get(stream)
        if exchange is None:
            return
        exchange.window += more
        if not more:
            self._streams.fail(exchange, h2.PROTOCOL_ERROR)
        elif exchange.window > h2.LARGEST_WINDOW:
            self._streams.fail(exchange, h2.FLOW_CONTROL_ERROR)
        elif exchange.pending:
            self._sender.queue(exchange)
            self._sender.go_on()


_READERS: Final[dict[int, Callable[[Control, int, int, bytes], None]]] = {
    h2.PRIORITY: Control._priority,
    h2.RST_STREAM: Control._reset,
    h2.SETTINGS: Control._settings,
    h2.PUSH_PROMISE: Control._push,
    h2.PING: Control._ping,
    h2.GOAWAY: Control._goaway,
    h2.WINDOW_UPDATE: Control._window,
}
