"""Text from node to node over a broker: sent once by the node that has it, for all nodes where it is watched.

A node that is watched asks the one that has the text, as often as every second, for what it is missing, and
hears what comes in between on the generation's own subject. So a message that is lost costs a second and no
text; a broker that is not there, or a node that does not answer there, costs nothing but another way: the
direct one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Final, Protocol

from google.protobuf.message import DecodeError

from durachart.rpc import convert
from durachart.rpc.gen import token_service_pb2 as pb
from durachart.rpc.relay import WATCH, NodeRelay, RelaySigner, frame_of
from durachart.runtime.errors import DurachartError
from durachart.runtime.generation.frames import TokenAttemptStarted, TokenEnd, TokenFrame
from durachart.runtime.generation.tokens import TokenRelay
from durachart.runtime.nodes import RelayRow
from durachart.store.keys import InstanceKey

_ASK_EVERY_S: Final = 1.0
_ANSWER_WITHIN_S: Final = 0.5
_LOOK_S: Final = 0.25
_UNWANTED_AFTER_S: Final = 5.0
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")


class Inbox(Protocol):
    """What comes on one subject."""

    async def next(self, max_wait_s: float) -> bytes | None:
        """The next message; None: there was none for so long."""


class Broker(Protocol):
    """Carries messages; any of them may be lost."""

    @property
    def connected(self) -> bool:
        """Whether it is there now."""

    async def publish(self, subject: str, data: bytes) -> None:
        """Send to whoever listens."""

    async def ask(
        self, subject: str, data: bytes, headers: Mapping[str, str], timeout_s: float
    ) -> bytes | None:
        """Send, and wait for one answer; None: none came."""

    async def answer(
        self, subject: str, on_request: Callable[[bytes, Mapping[str, str]], Awaitable[bytes | None]]
    ) -> None:
        """Answer requests from when the broker is there, for ever."""

    def messages(self, subject: str) -> AbstractAsyncContextManager[Inbox]:
        """What comes on a subject. Raises ConnectionError."""


class _Subjects:
    def __init__(self, uid: str) -> None:
        self._prefix = f"durachart.{_UNSAFE.sub('_', uid)}"

    def of_node(self, node_id: str) -> str:
        return f"{self._prefix}.relay.{_UNSAFE.sub('_', node_id)}"

    def of_text(self, effect_id: str) -> str:
        return f"{self._prefix}.tokens.{_UNSAFE.sub('_', effect_id)}"


class BrokerRelay:
    """The other nodes, through a broker where that can be, else directly; an `OtherNodes`."""

    def __init__(self, broker: Broker, uid: str, direct: NodeRelay, signer: RelaySigner) -> None:
        """Hear through ``broker`` what nodes of the database ``uid`` send, and ask ``direct`` otherwise."""
        self._broker = broker
        self._subjects = _Subjects(uid)
        self._direct = direct
        self._signer = signer
        self.find_relay = direct.find_relay

    async def watch(
        self, relay: RelayRow, key: InstanceKey, effect_id: str, attempt: int, offset: int
    ) -> AsyncGenerator[list[TokenFrame], None]:
        """See `OtherNodes.watch`."""
        place = _Place(attempt, offset)
        if self._broker.connected:
            hearing = self._hear(relay, key, effect_id, place)
            async with aclosing(hearing) as batches:
                async for frames in batches:
                    yield frames
            if place.ended:
                return
        directly = self._direct.watch(relay, key, effect_id, place.attempt, place.offset)
        async with aclosing(directly) as batches:
            async for frames in batches:
                yield frames

    async def _hear(
        self, relay: RelayRow, key: InstanceKey, effect_id: str, place: _Place
    ) -> AsyncGenerator[list[TokenFrame], None]:
        """Until the generation ends, or the broker does not help any more."""
        loop = asyncio.get_running_loop()
        try:
            async with self._broker.messages(self._subjects.of_text(effect_id)) as inbox:
                while True:
                    answer = await self._ask(relay, key, effect_id, place)
                    if answer is None:
                        return
                    if frames := place.take(answer):
                        yield frames
                    ask_at = loop.time() + _ASK_EVERY_S
                    while not place.ended and not place.missing and (left := ask_at - loop.time()) > 0:
                        if not self._broker.connected:
                            return
                        message = await inbox.next(min(left, _LOOK_S))
                        if message is not None and (frames := place.take(message)):
                            yield frames
                    if place.ended:
                        return
        except (ConnectionError, DecodeError, ValueError):
            return

    async def _ask(self, relay: RelayRow, key: InstanceKey, effect_id: str, place: _Place) -> bytes | None:
        request = pb.WatchTokensRequest(
            instance=convert.instance_ref(key),
            effect_id=effect_id,
            attempt=place.attempt,
            offset=place.offset,
        )
        subject = self._subjects.of_node(relay.node_id)
        headers = dict([self._signer.sign(WATCH, effect_id)])
        return await self._broker.ask(subject, request.SerializeToString(), headers, _ANSWER_WITHIN_S)


class _Place:
    """Where a reader is, over messages that may come twice, late or never."""

    def __init__(self, attempt: int, offset: int) -> None:
        self.attempt = attempt
        self.offset = offset
        self.ended = False
        self.missing = False

    def take(self, message: bytes) -> list[TokenFrame]:
        """The frames of a message that go on from here."""
        self.missing = False
        found = map(frame_of, pb.WatchTokensResponse.FromString(message).frames)
        return [taken for frame in found if (taken := self._fitting(frame)) is not None]

    def _fitting(self, frame: TokenFrame) -> TokenFrame | None:
        """What of a frame goes on from here."""
        if isinstance(frame.body, TokenEnd):
            self.ended = True
            return frame
        if isinstance(frame.body, TokenAttemptStarted):
            if frame.attempt <= self.attempt:
                return None
            self.attempt, self.offset = frame.attempt, 0
            return frame
        if frame.attempt != self.attempt or frame.offset > self.offset:
            self.missing = self.missing or frame.attempt >= self.attempt
            return None
        known, self.offset = self.offset, max(self.offset, frame.next_offset)
        text = frame.body[known - frame.offset :]
        return frame._replace(offset=known, body=text) if text else None


class BrokerPublisher:
    """Sends the text that is made at this node to the nodes that ask for it."""

    def __init__(
        self, broker: Broker, uid: str, node_id: str, tokens: TokenRelay, signer: RelaySigner
    ) -> None:
        """Answer as ``node_id`` of the database ``uid`` with what ``tokens`` has."""
        self._broker = broker
        self._subjects = _Subjects(uid)
        self._node_id = node_id
        self._tokens = tokens
        self._signer = signer
        self._wanted_at: dict[str, float] = {}
        self._sending: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Answer until cancelled."""
        try:
            await self._broker.answer(self._subjects.of_node(self._node_id), self._asked)
            await asyncio.get_running_loop().create_future()
        finally:
            for task in self._sending.values():
                task.cancel()

    async def _asked(self, data: bytes, headers: Mapping[str, str]) -> bytes | None:
        try:
            request = pb.WatchTokensRequest.FromString(data)
        except DecodeError:
            return None
        effect_id = request.effect_id
        if not self._signer.is_right(headers, WATCH, effect_id):
            return None
        self._wanted_at[effect_id] = asyncio.get_running_loop().time()
        try:
            frames = self._tokens.read_here(effect_id, request.attempt, request.offset)
        except DurachartError:
            return None
        if effect_id not in self._sending:
            attempt, offset = (frames[-1].attempt, frames[-1].next_offset) if frames else (0, 0)
            if not frames and request.attempt:
                attempt, offset = request.attempt, request.offset
            sending = self._send(convert.key_of(request.instance), effect_id, attempt, offset)
            self._sending[effect_id] = asyncio.create_task(sending)
        return _message(frames)

    async def _send(self, key: InstanceKey, effect_id: str, attempt: int, offset: int) -> None:
        loop = asyncio.get_running_loop()
        subject = self._subjects.of_text(effect_id)
        try:
            watching = self._tokens.watch_here(key, effect_id, attempt, offset)
            async with aclosing(watching) as batches:
                async for frames in batches:
                    await self._broker.publish(subject, _message(frames))
                    if loop.time() - self._wanted_at[effect_id] > _UNWANTED_AFTER_S:
                        return
        except DurachartError:
            return  # whoever asks again is answered anew
        finally:
            self._sending.pop(effect_id, None)
            self._wanted_at.pop(effect_id, None)


def _message(frames: Sequence[TokenFrame]) -> bytes:
    return convert.token_response(frames).SerializeToString()
