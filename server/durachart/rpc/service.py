"""The core that every front shares: a table of methods made from the contract, and how a call runs.

A call passes identity, tracing, validation, its deadline and the error table here and nowhere else, so that
gRPC, gRPC-Web and Connect cannot differ. A front makes a `CallContext`, calls `Service.invoke_unary` or
`Service.invoke_stream`, and sends what comes out.

Three things end a call early. The caller goes away: the front cancels its own task, ``CancelledError``
reaches the handler and is raised on. The deadline passes, or the server shuts down: the core stops the
handler the same way and turns it into DEADLINE_EXCEEDED or SHUTTING_DOWN. For a stream that works between two
responses only: while the front is writing, the core remembers it and raises at the next step, because a task
that is cancelled inside a front's write could not tell why.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Mapping,
)
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from durachart.rpc.context import CallContext
from durachart.rpc.deadlines import before
from durachart.rpc.errors import (
    deadline_exceeded,
    error_of,
    malformed_message,
    message_too_large,
    shutting_down,
)
from durachart.rpc.status import Code, RpcError
from durachart.rpc.tracing import RpcTracing
from durachart.rpc.validation import check

Kind = Literal["unary", "server_stream", "client_stream", "bidi"]
Identify = Callable[[CallContext], str]

_END = object()
DEFAULT_MAX_REQUEST_BYTES = 4 * 1024 * 1024
DEFAULT_IDENTIFY_EVERY_S = 300.0
ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC of the contract and what serves it.

    Attributes:
        full_name: ``durachart.v1.StateMachineService/SendEvent``, without a leading slash.
        kind: Which sides stream.
        request_type: Class of each request.
        response_type: Class of each response.
        handler: ``(request, ctx)``: a coroutine function for unary and client_stream, an async generator
            function for server_stream and bidi. Where requests stream, the first argument is an async
            iterator of them.
        max_request_bytes: Bound of one serialised request.
        serves_while_draining: Whether new calls are taken after the server began to shut down.
    """

    full_name: str
    kind: Kind
    request_type: type[Message]
    response_type: type[Message]
    handler: Callable[[Any, CallContext], Any]
    max_request_bytes: int = DEFAULT_MAX_REQUEST_BYTES
    serves_while_draining: bool = False

    @property
    def path(self) -> str:
        """Where fronts find it: the full name with a leading slash."""
        return "/" + self.full_name

    def parse(self, data: bytes) -> Message:
        """The request in ``data``.

        Raises:
            RpcError: MESSAGE_TOO_LARGE or MESSAGE_MALFORMED.
        """
        if len(data) > self.max_request_bytes:
            raise message_too_large(len(data), self.max_request_bytes)
        try:
            return self.request_type.FromString(data)
        except DecodeError as error:
            raise malformed_message(
                f"the bytes are not a {self.request_type.DESCRIPTOR.full_name}"
            ) from error

    def check_response(self, response: object) -> Message:
        """What a handler gave, which must be a response of this method; else the handler has a bug."""
        if not isinstance(response, self.response_type):
            raise TypeError(f"the handler of {self.full_name} gave a {type(response).__name__}")
        return response


def methods_of(
    descriptor: ServiceDescriptor,
    handlers: object,
    *,
    full_name: str = "",
    max_request_bytes: int = DEFAULT_MAX_REQUEST_BYTES,
    serves_while_draining: bool = False,
) -> list[Method]:
    """The methods of one service, each bound to the handler that bears its name in snake case.

    Args:
        descriptor: The service as the contract declares it.
        handlers: Object with one handler per method.
        full_name: Name to serve it under; empty for its own.
        max_request_bytes: Bound of one serialised request of these methods.
        serves_while_draining: As in `Method`.

    Raises:
        TypeError: A handler is missing: a declared RPC is never a stub.
    """
    made = []
    for method in descriptor.methods:
        attribute = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", method.name).lower()
        handler = getattr(handlers, attribute, None)
        if handler is None:
            raise TypeError(
                f"{type(handlers).__name__} has no {attribute}() for {descriptor.full_name}/{method.name}"
            )
        made.append(
            Method(
                full_name=f"{full_name or descriptor.full_name}/{method.name}",
                kind=_kind(method),
                request_type=GetMessageClass(method.input_type),
                response_type=GetMessageClass(method.output_type),
                handler=handler,
                max_request_bytes=max_request_bytes,
                serves_while_draining=serves_while_draining,
            )
        )
    return made


def _kind(method: MethodDescriptor) -> Kind:
    if method.client_streaming:
        return "bidi" if method.server_streaming else "client_stream"
    return "server_stream" if method.server_streaming else "unary"


class Service:
    """The method table and the way calls run.

    Args:
        methods: What is served; full names are unique.
        identify: Says who calls, before anything else happens, and again while a stream lasts; raises a
            domain error or `RpcError` to refuse, which ends a stream. None: everyone is ``anonymous``.
        tracing: None: no spans, at no cost.
        identify_every_s: How often a stream is asked about again, in seconds, > 0.
    """

    def __init__(
        self,
        methods: Iterable[Method],
        *,
        identify: Identify | None = None,
        tracing: RpcTracing | None = None,
        identify_every_s: float = DEFAULT_IDENTIFY_EVERY_S,
    ) -> None:
        table: dict[str, Method] = {}
        for method in methods:
            if method.full_name in table:
                raise ValueError(f"{method.full_name} is served twice")
            table[method.full_name] = method
        self.methods: Mapping[str, Method] = MappingProxyType(table)
        self._identify = identify
        self._identify_every_s = identify_every_s
        self._tracing = tracing
        self._draining = False
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._streams: dict[_Interruptible, CallContext] = {}

    @property
    def draining(self) -> bool:
        """Whether the server is shutting down and takes no new calls."""
        return self._draining

    @property
    def running(self) -> int:
        """How many calls are under way."""
        return self._running

    async def drain(self, grace: float) -> bool:
        """Take no new calls, end every stream, and wait for the calls under way.

        A stream ends with its farewell and SHUTTING_DOWN; one that wants to end by itself is told.

        Args:
            grace: Seconds to wait, >= 0. Calls that take longer are left to the fronts, which cut them when
                they stop.

        Returns:
            Whether every call ended in time. Calling it again only waits again.
        """
        self._draining = True
        for stream, ctx in tuple(self._streams.items()):
            if ctx.on_drain is not None:
                ctx.on_drain()
            else:
                stream.interrupt(shutting_down())
        try:
            async with asyncio.timeout(grace):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def invoke_unary(
        self, method: Method, request: Message | AsyncIterable[Message], ctx: CallContext
    ) -> Message:
        """Run a call with one response.

        Args:
            method: Of kind unary or client_stream.
            request: The request, or an iterable of them for client_stream.
            ctx: The call's own context.

        Raises:
            RpcError: The call failed; nothing else is ever raised for a failure.
            CancelledError: The caller went away; the handler has been unwound.
        """
        code, reason = Code.CANCELLED, ""
        self._enter(ctx)
        try:
            self._admit(method, ctx)
            given = self._checked(method, request)
            if ctx.deadline is None:
                response = await method.handler(given, ctx)
            else:
                response = await before(ctx.deadline, method.handler(given, ctx))
            checked = method.check_response(response)
            code = Code.OK
        except asyncio.CancelledError:
            ctx.cancelled = True
            raise
        except Exception as error:  # noqa: BLE001 - is said to the caller
            failure = error_of(error, ctx.method)
            code, reason = failure.code, failure.reason
            try:
                raise failure from None
            finally:
                # By its traceback it would keep this frame, with the request, until the collector comes.
                del failure
        finally:
            self._leave(ctx, code, reason)
        return checked

    async def invoke_stream(
        self, method: Method, request: Message | AsyncIterable[Message], ctx: CallContext
    ) -> AsyncGenerator[Message, None]:
        """Run a call with any number of responses.

        Close the generator whatever happens, with `contextlib.aclosing`.

        Args:
            method: Of kind server_stream or bidi.
            request: The request, or an iterable of them for bidi.
            ctx: The call's own context.

        Yields:
            Each response. The handler runs only while the next one is asked for: a slow reader holds it up.

        Raises:
            RpcError: The call failed; nothing else is ever raised for a failure.
            CancelledError: The caller went away; the handler has been unwound.
        """
        code, reason = Code.CANCELLED, ""
        steps = _Interruptible()
        timer: asyncio.TimerHandle | None = None
        self._enter(ctx)
        self._streams[steps] = ctx
        try:
            self._admit(method, ctx)
            if ctx.deadline is not None:
                loop = asyncio.get_running_loop()
                timer = loop.call_at(ctx.deadline, steps.interrupt, deadline_exceeded())
            self._identify_later(ctx, steps)
            responses = method.handler(self._checked(method, request), ctx)
            try:
                while (response := await steps.next(responses)) is not _END:
                    yield method.check_response(response)
            finally:
                await responses.aclose()
            code = Code.OK
        except asyncio.CancelledError:
            ctx.cancelled = True
            raise
        except GeneratorExit:
            ctx.cancelled = True
            raise
        except Exception as error:  # noqa: BLE001 - is said to the caller
            failure = error_of(error, ctx.method)
            code, reason = failure.code, failure.reason
            if self._draining and steps.interrupted and ctx.farewell is not None:
                yield ctx.farewell()
            try:
                raise failure from None
            finally:
                del failure
        finally:
            if timer is not None:
                timer.cancel()
            steps.end()
            del self._streams[steps]
            # They know the call, and the call knows them.
            ctx.farewell = ctx.on_drain = ctx.outlet = None
            self._leave(ctx, code, reason)

    def _enter(self, ctx: CallContext) -> None:
        if not self._running:
            self._idle.clear()
        self._running += 1
        if self._tracing is not None:
            self._tracing.begin(ctx)

    def _leave(self, ctx: CallContext, code: Code, reason: str) -> None:
        if self._tracing is not None:
            if code is Code.CANCELLED and ctx.time_remaining() == 0.0:
                code = Code.DEADLINE_EXCEEDED  # the caller left because its time was up
            self._tracing.end(ctx, code, reason)
        self._running -= 1
        if not self._running:
            self._idle.set()

    def _admit(self, method: Method, ctx: CallContext) -> None:
        if self._draining and not method.serves_while_draining:
            raise shutting_down()
        ctx.identity = ANONYMOUS if self._identify is None else self._identify(ctx)

    def _identify_later(self, ctx: CallContext, steps: _Interruptible) -> None:
        """Ask again who the caller of a stream is: what was allowed may not be any more."""
        if self._identify is not None:
            loop = asyncio.get_running_loop()
            steps.asking = loop.call_later(self._identify_every_s, self._identify_again, ctx, steps)

    def _identify_again(self, ctx: CallContext, steps: _Interruptible) -> None:
        assert self._identify is not None
        try:
            ctx.identity = self._identify(ctx)
        except Exception as error:  # noqa: BLE001 - whatever it is, the table says how the caller is told
            steps.interrupt(error_of(error, ctx.method))
        else:
            self._identify_later(ctx, steps)

    def _checked(
        self, method: Method, request: Message | AsyncIterable[Message]
    ) -> Message | AsyncIterator[Message]:
        if isinstance(request, Message):
            check(request)
            return request
        return _checked_each(request)


class _Interruptible:
    """Runs a generator step by step, so that somebody else can end it between or inside steps.

    Attributes:
        asking: When its caller is identified again; None: never.
    """

    __slots__ = ("_driver", "_error", "_task", "asking")

    def __init__(self) -> None:
        self.asking: asyncio.TimerHandle | None = None
        self._error: RpcError | None = None
        # Who takes the steps, and who is in one: the same task, or nobody.
        self._driver: asyncio.Task[Any] | None = None
        self._task: asyncio.Task[Any] | None = None

    @property
    def interrupted(self) -> bool:
        return self._error is not None

    def end(self) -> None:
        """No step follows. What interrupted them knows who took them, by its traceback, and is let go of."""
        if self.asking is not None:
            self.asking.cancel()
        self._error = None

    def interrupt(self, error: RpcError) -> None:
        """Make the step under way, or else the next one, raise ``error``; the first call counts."""
        if self._error is None:
            self._error = error
            if self._task is not None:
                self._task.cancel()

    async def next(self, responses: AsyncGenerator[Message, None]) -> object:
        """The next response; `_END` after the last."""
        self._raise_error()
        task = self._driver
        if task is None:
            task = self._driver = asyncio.current_task()
            assert task is not None
        self._task = task
        try:
            return await anext(responses, _END)
        except asyncio.CancelledError:
            # Whoever else cancelled the task must see it cancelled.
            if self.interrupted and task.uncancel() == 0:
                self._raise_error()
            raise
        finally:
            self._task = None

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error


async def _checked_each(requests: AsyncIterable[Message]) -> AsyncIterator[Message]:
    async for request in requests:
        check(request)
        yield request
