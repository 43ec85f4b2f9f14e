"""Text from node to node: TokenService between servers that share a database.

A node that is watched for text that another one has opens WatchTokens there, like any client, and says with a
header that it is a node: then it is given what is made there and nothing that is copied, so that nodes cannot
ask each other in circles. The header is an expiry and an HMAC over it, the method and the effect, made with a
secret that only servers of this database can read. A header that is not right counts as none.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, Protocol

from google.protobuf.message import DecodeError

from durachart.rpc import convert
from durachart.rpc.context import CallContext, Entry
from durachart.rpc.gen import token_service_pb2 as pb
from durachart.runtime.errors import RelayUnavailable
from durachart.runtime.generation.frames import GenerationOutcome, TokenAttemptStarted, TokenEnd, TokenFrame
from durachart.runtime.nodes import Nodes, RelayRow
from durachart.store.errors import StoreFailed
from durachart.store.keys import InstanceKey

_log = logging.getLogger(__name__)

RELAY_HEADER: Final = "durachart-relay"
_PREFIX: Final = "/durachart.v1.TokenService/"
WATCH: Final = "WatchTokens"
APPEND: Final = "AppendTokens"
# Long enough for clocks that differ, and for a call that waits to be taken up.
_VALID_S: Final = 300
_LATEST_S: Final = 2 * _VALID_S


class CallNode(Protocol):
    """Calls another server; messages are bytes."""

    def stream(
        self, address: str, path: str, request: bytes, metadata: Sequence[Entry]
    ) -> AsyncGenerator[bytes, None]:
        """Call a method with one request and any number of responses; closing ends the call.

        Raises:
            ConnectionError: The server cannot be called, or the call failed.
        """

    async def send(
        self, address: str, path: str, requests: AsyncIterable[bytes], metadata: Sequence[Entry]
    ) -> bytes:
        """Call a method with any number of requests and one response.

        Raises:
            ConnectionError: The server cannot be called, or the call failed.
        """


class RelaySigner:
    """Makes and checks the header by which a node knows another one."""

    def __init__(self, secret: str, *, now: Callable[[], float] = time.time) -> None:
        """Sign with ``secret``; where it is empty nothing is ever right.

        Args:
            secret: What the servers of a database share.
            now: The wall clock, in seconds.
        """
        self._secret = secret.encode()
        self._now = now

    def sign(self, method: str, effect_id: str) -> tuple[str, str]:
        """The header for a call of ``method`` about an effect."""
        expires = str(int(self._now()) + _VALID_S)
        return RELAY_HEADER, f"{expires}.{self._mac(method, effect_id, expires)}"

    def is_node(self, ctx: CallContext, method: str, effect_id: str) -> bool:
        """Whether the call was made by another node."""
        return self.is_right({RELAY_HEADER: ctx.metadata.get(RELAY_HEADER)}, method, effect_id)

    def is_right(self, headers: Mapping[str, str], method: str, effect_id: str) -> bool:
        """Whether the headers are those of another node."""
        expires, _, mac = headers.get(RELAY_HEADER, "").partition(".")
        if not self._secret or not (expires.isascii() and expires.isdecimal()) or len(expires) > 12:
            return False
        if not hmac.compare_digest(mac.encode(), self._mac(method, effect_id, expires).encode()):
            return False
        return 0 < int(expires) - self._now() <= _LATEST_S

    def _mac(self, method: str, effect_id: str, expires: str) -> str:
        signed = f"durachart-relay-1\0{method}\0{effect_id}\0{expires}".encode()
        return hmac.new(self._secret, signed, hashlib.sha256).hexdigest()


class NodeRelay:
    """The other nodes, called over gRPC; an `OtherNodes`."""

    def __init__(self, nodes: Nodes, call: CallNode, signer: RelaySigner) -> None:
        """Find text with ``nodes`` and fetch it with ``call``."""
        self._nodes = nodes
        self._call = call
        self._signer = signer
        self.find_relay = nodes.find_relay

    async def watch(
        self, relay: RelayRow, key: InstanceKey, effect_id: str, attempt: int, offset: int
    ) -> AsyncGenerator[list[TokenFrame], None]:
        """See `OtherNodes.watch`."""
        address = relay.address
        request = pb.WatchTokensRequest(
            instance=convert.instance_ref(key), effect_id=effect_id, attempt=attempt, offset=offset
        )
        metadata = [self._signer.sign(WATCH, effect_id)]
        received = self._call.stream(address, _PREFIX + WATCH, request.SerializeToString(), metadata)
        async with aclosing(received) as messages:
            async for message in messages:
                try:
                    frames = [frame_of(frame) for frame in pb.WatchTokensResponse.FromString(message).frames]
                except (DecodeError, ValueError) as error:
                    raise ConnectionError(f"the node at {address} sent what cannot be read") from error
                yield frames

    async def append(
        self,
        key: InstanceKey,
        effect_id: str,
        first: pb.AppendTokensRequest,
        rest: AsyncIterable[pb.AppendTokensRequest],
    ) -> pb.AppendTokensResponse:
        """Pass text on to the node that has the attempt's.

        Raises:
            RelayUnavailable: It cannot be reached, or did not take it.
        """

        async def requests() -> AsyncGenerator[bytes, None]:
            yield first.SerializeToString()
            async for request in rest:
                yield request.SerializeToString()

        try:
            relay = await self._nodes.find_relay(key, effect_id)
            if relay is None:
                raise RelayUnavailable
            metadata = [self._signer.sign(APPEND, effect_id)]
            received = await self._call.send(relay.address, _PREFIX + APPEND, requests(), metadata)
            return pb.AppendTokensResponse.FromString(received)
        except (ConnectionError, StoreFailed, DecodeError) as error:
            _log.warning("text not passed on effect_id=%s error=%s", effect_id, error)
            raise RelayUnavailable from error


def frame_of(frame: pb.TokenFrame) -> TokenFrame:
    """What a node says; of an end no more than that it is one, for the store says how."""
    body: TokenAttemptStarted | str | TokenEnd = frame.text
    match frame.WhichOneof("body"):
        case "started":
            body = TokenAttemptStarted(frame.started.model)
        case "end":
            outcome = pb.TokenEnd.Outcome.Name(frame.end.outcome).removeprefix("OUTCOME_").lower()
            body = TokenEnd(GenerationOutcome(outcome))
    return TokenFrame(frame.effect_id, frame.attempt, frame.offset, frame.next_offset, body)
