"""What the fronts and the core cost: an echo through them against the bare servers they are built on.

``python bench/fronts.py`` prints, as ratios within one interleaved run on this machine:

- gRPC: our front and core against a bare `grpc.aio` echo, which parses and writes protobuf and does nothing
else;
- gRPC-Web: our front and core against a bare ASGI echo under the same uvicorn, and against `grpc.aio`'s.

Every server is a process of its own with uvloop; only the one that is measured is loaded. The load comes from
Node, the same for all, and its use of its core is printed: near 1.0 the client, not the server, was the
limit. The server's own processor time for a call, on Linux, is the figure that a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import uvloop

from durachart.fronts.address import Address
from durachart.fronts.grpc_settings import GrpcSettings
from durachart.fronts.http_server import HttpSettings, serve_http
from durachart.fronts.serving import serving
from durachart.rpc.assembly import Served, assemble
from durachart.rpc.context import CallContext
from durachart.rpc.gen import state_machine_service_pb2 as pb
from durachart.rpc.gen import types_pb2 as types
from durachart.rpc.state_machine_service import STATE_MACHINE_SERVICE

PROTOCOLS = ("grpc", "grpc_web")
PATH = "/durachart.v1.StateMachineService/SendEvent"
ANY_PORT = Address("127.0.0.1", 0)
LOAD = Path(__file__).with_name("echo_load.mjs")
REQUEST = pb.SendEventRequest(
    instance=types.InstanceRef(machine_id="order", instance_id="order-000123"),
    event=types.Event(type="ADD_ITEM", data_json='{"sku":"A-1","quantity":2}'),
    request_id="0f8fad5b-d9cb-469f-a165-70867728950e",
    view=types.INSTANCE_VIEW_BASIC,
)


def answer(request: pb.SendEventRequest) -> pb.SendEventResponse:
    """What every server here does with a request."""
    state = types.InstanceState(instance=request.instance, version=7, value_json='"draft"')
    return pb.SendEventResponse(state=state, changed=True)


class Echo:
    """The handler behind our fronts; its other methods are never called."""

    async def send_event(self, request: pb.SendEventRequest, ctx: CallContext) -> pb.SendEventResponse:
        return answer(request)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[None]]:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.send_event


async def ours() -> None:
    """Our fronts and core around the echo."""
    service = assemble([Served(STATE_MACHINE_SERVICE, Echo())])
    grpc_settings, http_settings = GrpcSettings(address=ANY_PORT), HttpSettings(address=ANY_PORT)
    async with serving(service, grpc=grpc_settings, http=http_settings) as addresses:
        assert addresses.grpc is not None
        assert addresses.http is not None
        await until_told(addresses.grpc.port, addresses.http.port)


async def bare() -> None:
    """The servers our fronts are built on, with nothing in between."""

    async def unary(request: pb.SendEventRequest, context: Any) -> pb.SendEventResponse:
        return answer(request)

    handler: Any = grpc.unary_unary_rpc_method_handler(
        unary,  # type: ignore[arg-type]
        request_deserializer=pb.SendEventRequest.FromString,
        response_serializer=pb.SendEventResponse.SerializeToString,
    )
    server = grpc.aio.server()
    service, _, method = PATH[1:].partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port(str(ANY_PORT))
    await server.start()
    async with serve_http(bare_asgi, HttpSettings(address=ANY_PORT)) as address:
        await until_told(port, address.port)
    await server.stop(0)


async def bare_asgi(scope: Any, receive: Any, send: Any) -> None:
    """gRPC-Web without a protocol: the bytes at their places."""
    event = await receive()
    message = answer(pb.SendEventRequest.FromString(event["body"][5:])).SerializeToString()
    body = b"\0" + len(message).to_bytes(4, "big") + message + b"\x80\0\0\0\x0fgrpc-status:0\r\n"
    headers = [(b"content-type", b"application/grpc-web+proto"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def until_told(*ports: int) -> None:
    """Say where, and serve until standard input closes."""
    print(json.dumps(ports), flush=True)
    await asyncio.to_thread(sys.stdin.read)


SERVERS = {"ours": ours, "bare": bare}


class Server:
    """One of the servers as a process."""

    def __init__(self, name: str) -> None:
        command = [sys.executable, __file__, "--serve", name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.grpc_port, self.http_port = json.loads(self._process.stdout.readline())

    def cpu_s(self) -> float:
        """Processor time used so far, in seconds."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self._process.communicate(timeout=30)


def load(protocol: str, port: int, callers: int, seconds: float) -> dict[str, float]:
    """One measurement."""
    node = shutil.which("node")
    assert node, "the load comes from Node"
    body = base64.b64encode(REQUEST.SerializeToString()).decode()
    command = [node, str(LOAD), protocol, str(port), PATH, body, str(callers), str(seconds)]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(finished.stdout)
    result["per_second"] = result["calls"] / result["seconds"]
    return result


def measure(rounds: int, seconds: float) -> None:
    """Run everything in turn, ``rounds`` times, and print the medians and their ratios."""
    servers = {name: Server(name) for name in SERVERS}
    cases = [
        (f"{protocol} {name}", protocol, server) for protocol in PROTOCOLS for name, server in servers.items()
    ]
    results: dict[tuple[str, int], list[dict[str, float]]] = {}
    try:
        for number in range(-1, rounds):
            for callers in (64, 1):
                for title, protocol, server in cases if number % 2 else reversed(cases):
                    port = server.grpc_port if protocol == "grpc" else server.http_port
                    before = server.cpu_s()
                    result = load(protocol, port, callers, 0.5 if number < 0 else seconds)
                    result["server_us"] = (server.cpu_s() - before) / result["calls"] * 1e6
                    if number >= 0:
                        results.setdefault((title, callers), []).append(result)
    finally:
        for server in servers.values():
            server.stop()

    def median(title: str, callers: int, what: str) -> float:
        return statistics.median(result[what] for result in results[title, callers])

    print("    64 callers  calls/s  p99 ms  server us/call  client CPU   1 caller: p50 us")
    for title, _, _ in cases:
        print(
            f"{title:>14} {median(title, 64, 'per_second'):>8,.0f} "
            f"{median(title, 64, 'p99_us') / 1000:>7.1f} {median(title, 64, 'server_us'):>15.1f} "
            f"{median(title, 64, 'client_cpu'):>11.2f} {median(title, 1, 'p50_us'):>18,.0f}"
        )

    def ratio(one: str, other: str) -> str:
        pairs = zip(results[one, 64], results[other, 64], strict=True)
        each = [ours["per_second"] / theirs["per_second"] for ours, theirs in pairs]
        latency = median(one, 1, "p50_us") / median(other, 1, "p50_us")
        cpu = median(one, 64, "server_us") / median(other, 64, "server_us")
        spread = f"{min(each):.2f} to {max(each):.2f}"
        return f"throughput {statistics.median(each):.2f} ({spread}), server CPU {cpu:.2f}, p50 {latency:.2f}"

    print("gRPC, ours / bare grpc.aio:      ", ratio("grpc ours", "grpc bare"))
    print("gRPC-Web, ours / bare ASGI:      ", ratio("grpc_web ours", "grpc_web bare"))
    print("gRPC-Web, ours / bare grpc.aio:  ", ratio("grpc_web ours", "grpc bare"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        uvloop.run(SERVERS[arguments.serve]())
    else:
        measure(arguments.rounds, arguments.seconds)
