"""How calls run in the core: every kind, its deadline, who is let in, how a server that ends ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from google.protobuf.message import Message

from durachart.rpc.assembly import Served, assemble
from durachart.rpc.context import CallContext
from durachart.rpc.gen import state_machine_service_pb2 as instances
from durachart.rpc.health import HEALTH
from durachart.rpc.service import Method, Service, methods_of
from durachart.rpc.state_machine_service import STATE_MACHINE_SERVICE
from durachart.rpc.status import Code, RpcError
from tests.unit.rpc.echo_contract import ECHO_SERVICE, Text


class Echo:
    """Handlers of every kind; ``hang`` never ends.

    Attributes:
        began: Set when a handler that hangs does.
        unwound: What ended it.
    """

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.unwound: list[str] = []

    async def _hang(self) -> None:
        self.began.set()
        try:
            await asyncio.get_running_loop().create_future()
        except BaseException as error:
            self.unwound.append(type(error).__name__)
            raise

    async def echo_one(self, request: Any, ctx: CallContext) -> Any:
        if request.text == "hang":
            await self._hang()
        if request.text == "timeout":
            raise TimeoutError("of the handler's own")
        if request.text == "who":
            return Text(text=ctx.identity)
        return Text(text=request.text)

    async def list_words(self, request: Any, ctx: CallContext) -> AsyncGenerator[Any, None]:
        ctx.farewell = lambda: Text(text="goodbye")
        try:
            for word in request.text.split():
                if word == "hang":
                    await self._hang()
                if word == "wrong":
                    yield None
                yield Text(text=word)
        except GeneratorExit:
            self.unwound.append("GeneratorExit")
            raise

    async def join_words(self, requests: AsyncIterator[Any], ctx: CallContext) -> Any:
        return Text(text=" ".join([request.text async for request in requests]))

    async def echo_each(self, requests: AsyncIterator[Any], ctx: CallContext) -> AsyncGenerator[Any, None]:
        async for request in requests:
            yield request


class Core:
    """The service around `Echo`, called as a front would."""

    def __init__(self, **options: Any) -> None:
        self.echo = Echo()
        self.service = assemble([Served(ECHO_SERVICE, self.echo)], **options)

    def method(self, name: str) -> Method:
        return self.service.methods[f"test.v1.EchoService/{name}"]

    async def unary(self, name: str, request: Any, **options: Any) -> str:
        method = self.method(name)
        response: Any = await self.service.invoke_unary(
            method, request, CallContext(method.full_name, **options)
        )
        return str(response.text)

    def stream(self, name: str, request: Any, ctx: CallContext | None = None) -> AsyncGenerator[Any, None]:
        method = self.method(name)
        return self.service.invoke_stream(method, request, ctx or CallContext(method.full_name))

    async def hear(self, responses: AsyncGenerator[Any, None], heard: list[str]) -> None:
        """Keep each response as it comes, whatever comes after it."""
        async for response in responses:
            heard += [response.text]

    async def words(self, name: str, request: Any, ctx: CallContext | None = None) -> list[str]:
        async with aclosing(self.stream(name, request, ctx)) as responses:
            return [response.text async for response in responses]


async def texts(words: Sequence[str]) -> AsyncIterator[Message]:
    for word in words:
        yield Text(text=word)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_methods_of_every_kind_run() -> None:
    core = Core()
    assert await core.unary("EchoOne", Text(text="a")) == "a"
    assert await core.words("ListWords", Text(text="a b c")) == ["a", "b", "c"]
    assert await core.unary("JoinWords", texts(["a", "b"])) == "a b"
    assert await core.words("EchoEach", texts(["a", "b"])) == ["a", "b"]


def test_the_table_is_made_from_the_contract() -> None:
    core = Core()
    kinds = {method.full_name: method.kind for method in core.service.methods.values()}
    assert kinds["test.v1.EchoService/EchoOne"] == "unary"
    assert kinds["test.v1.EchoService/ListWords"] == "server_stream"
    assert kinds["test.v1.EchoService/JoinWords"] == "client_stream"
    assert kinds["test.v1.EchoService/EchoEach"] == "bidi"
    assert kinds["grpc.health.v1.Health/Check"] == "unary"
    assert core.method("EchoOne").path == "/test.v1.EchoService/EchoOne"


def test_a_declared_method_without_a_handler_is_refused_at_the_start() -> None:
    with pytest.raises(TypeError, match=r"object has no create_instance\(\)"):
        methods_of(STATE_MACHINE_SERVICE, object())


def test_a_method_cannot_be_served_twice() -> None:
    with pytest.raises(ValueError, match="Health/Check is served twice"):
        assemble([Served(HEALTH, assemble_health())])


def assemble_health() -> object:
    class Handlers:
        check = list = watch = staticmethod(lambda: None)

    return Handlers()


def test_bytes_become_a_request_or_an_error() -> None:
    method = Core().method("EchoOne")
    assert method.parse(b"\x0a\x01a") == Text(text="a")
    with pytest.raises(RpcError) as malformed:
        method.parse(b"\xff")
    assert malformed.value.reason == "MESSAGE_MALFORMED"
    with pytest.raises(RpcError) as large:
        method.parse(b"x" * (method.max_request_bytes + 1))
    assert large.value.reason == "MESSAGE_TOO_LARGE"


# --- who is let in ------------------------------------------------------------------------------------------


async def test_who_calls_is_said_before_the_handler_runs() -> None:
    assert await Core().unary("EchoOne", Text(text="who")) == "anonymous"
    known = Core(identify=lambda ctx: ctx.peer.partition(":")[0])
    assert await known.unary("EchoOne", Text(text="who"), peer="10.0.0.7:1") == "10.0.0.7"


async def test_a_caller_who_is_refused_reaches_no_handler() -> None:
    def refuse(ctx: CallContext) -> str:
        raise RpcError(Code.UNAUTHENTICATED, "UNAUTHENTICATED", "who are you?")

    core = Core(identify=refuse)
    with pytest.raises(RpcError, match="who are you"):
        await core.unary("EchoOne", Text(text="hang"))
    with pytest.raises(RpcError, match="who are you"):
        await core.words("ListWords", Text(text="hang"))
    assert not core.echo.began.is_set()


async def test_a_stream_ends_when_its_caller_is_not_allowed_any_more() -> None:
    asked = 0

    def for_a_while(ctx: CallContext) -> str:
        nonlocal asked
        asked += 1
        if asked > 3:
            raise RpcError(Code.UNAUTHENTICATED, "UNAUTHENTICATED", "not any more")
        return "ada"

    core = Core(identify=for_a_while, identify_every_s=0.001)
    with pytest.raises(RpcError, match="not any more"):
        await core.words("ListWords", Text(text="one hang"))
    assert (asked, core.echo.unwound) == (4, ["CancelledError"])


async def test_nobody_is_asked_about_a_stream_that_has_ended() -> None:
    asked: list[CallContext] = []

    def note(ctx: CallContext) -> str:
        asked.append(ctx)
        return "ada"

    core = Core(identify=note, identify_every_s=0.0)
    await core.words("ListWords", Text(text="one two"))
    count = len(asked)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(asked) == count


async def test_every_request_of_a_stream_is_checked() -> None:
    async def watches() -> AsyncIterator[Message]:
        yield instances.GetStateRequest()

    core = Core()
    with pytest.raises(RpcError) as refused:
        await core.unary("JoinWords", watches())
    assert refused.value.reason == "REQUEST_INVALID"


# --- deadlines ----------------------------------------------------------------------------------------------


async def test_a_deadline_unwinds_the_handler() -> None:
    core = Core()
    with pytest.raises(RpcError) as late:
        await core.unary("EchoOne", Text(text="hang"), deadline=now() + 0.01)
    assert late.value.code is Code.DEADLINE_EXCEEDED
    assert core.echo.unwound == ["CancelledError"]


async def test_a_call_whose_time_is_up_already_does_not_run() -> None:
    core = Core()
    with pytest.raises(RpcError) as late:
        await core.unary("EchoOne", Text(text="hang"), deadline=now() - 1)
    assert late.value.code is Code.DEADLINE_EXCEEDED
    assert not core.echo.began.is_set()


async def test_a_deadline_unwinds_a_stream_and_keeps_what_was_said() -> None:
    core = Core()
    ctx = CallContext("x", deadline=now() + 0.01)
    heard: list[str] = []
    with pytest.raises(RpcError) as late:
        await core.hear(core.stream("ListWords", Text(text="a hang"), ctx), heard)
    assert (heard, late.value.code) == (["a"], Code.DEADLINE_EXCEEDED)
    assert core.echo.unwound == ["CancelledError"]


async def test_a_deadline_that_passes_while_nobody_reads_ends_the_stream_at_the_next_step() -> None:
    core = Core()
    deadline = now() + 0.01
    ctx = CallContext("x", deadline=deadline)
    async with aclosing(core.stream("ListWords", Text(text="a b"), ctx)) as responses:
        assert (await anext(responses)).text == "a"
        passed = asyncio.Event()
        asyncio.get_running_loop().call_at(deadline + 0.001, passed.set)
        await passed.wait()
        with pytest.raises(RpcError) as late:
            await anext(responses)
        assert late.value.code is Code.DEADLINE_EXCEEDED


async def test_a_timeout_of_the_handlers_own_is_not_the_callers_deadline() -> None:
    with pytest.raises(RpcError) as failed:
        await Core().unary("EchoOne", Text(text="timeout"), deadline=now() + 60)
    assert failed.value.code is Code.INTERNAL


# --- callers who leave --------------------------------------------------------------------------------------


async def test_cancellation_reaches_the_handler_and_is_raised_on() -> None:
    core = Core()
    calling = asyncio.create_task(core.unary("EchoOne", Text(text="hang"), deadline=now() + 60))
    await core.echo.began.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert core.echo.unwound == ["CancelledError"]
    assert core.service.running == 0


async def test_a_stream_that_is_closed_between_responses_closes_its_handler() -> None:
    core = Core()
    ctx = CallContext("x")
    async with aclosing(core.stream("ListWords", Text(text="a b"), ctx)) as responses:
        await anext(responses)
        assert core.service.running == 1
    assert core.echo.unwound == ["GeneratorExit"]
    assert ctx.cancelled
    assert core.service.running == 0


async def test_a_caller_who_leaves_a_server_that_drains_is_still_gone() -> None:
    core = Core()
    calling = asyncio.create_task(core.words("ListWords", Text(text="hang")))
    await core.echo.began.wait()
    calling.cancel()
    await core.service.drain(0)
    with pytest.raises(asyncio.CancelledError):
        await calling


# --- the end of the server ----------------------------------------------------------------------------------


async def test_draining_gives_streams_a_last_word() -> None:
    core = Core()
    heard: list[str] = []
    listening = asyncio.create_task(core.hear(core.stream("ListWords", Text(text="a hang")), heard))
    await core.echo.began.wait()
    assert await core.service.drain(1) is True
    with pytest.raises(RpcError) as ended:
        await listening
    assert (heard, ended.value.reason) == (["a", "goodbye"], "SHUTTING_DOWN")
    assert core.echo.unwound == ["CancelledError"]


async def test_draining_ends_a_stream_that_nobody_reads_just_now() -> None:
    core = Core()
    async with aclosing(core.stream("ListWords", Text(text="a b"))) as responses:
        assert (await anext(responses)).text == "a"
        assert await core.service.drain(0) is False
        assert (await anext(responses)).text == "goodbye"
        with pytest.raises(RpcError, match="shutting down"):
            await anext(responses)
    assert await core.service.drain(0) is True


async def test_draining_waits_for_calls_under_way_and_takes_no_new_ones() -> None:
    core = Core()
    calling = asyncio.create_task(core.unary("EchoOne", Text(text="hang")))
    await core.echo.began.wait()
    assert await core.service.drain(0) is False
    with pytest.raises(RpcError) as refused:
        await core.unary("EchoOne", Text(text="a"))
    assert refused.value.reason == "SHUTTING_DOWN"
    assert core.service.running == 1
    calling.cancel()
    assert await core.service.drain(1) is True


# --- handlers with bugs -------------------------------------------------------------------------------------


async def test_a_stream_that_gives_no_response_is_an_internal_error(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RpcError) as failed:
        await Core().words("ListWords", Text(text="a wrong"))
    assert failed.value.code is Code.INTERNAL
    assert "gave a NoneType" in caplog.text


def test_a_service_without_services_still_has_health_and_reflection() -> None:
    names = {name.partition("/")[0] for name in Service(assemble([]).methods.values()).methods}
    assert names == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
