"""A bare grpc.aio server on uvloop: the ceiling of any gRPC service in Python.

``python -m bench.echo_server`` reads a request and writes an answer of the size of Durachart's, and does
nothing else.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import grpc
import uvloop
from google.protobuf.timestamp_pb2 import Timestamp

from bench.load import UNARY
from durachart.rpc.gen import state_machine_service_pb2 as pb
from durachart.rpc.gen import types_pb2 as types

AT = Timestamp(seconds=1_900_000_000, nanos=123_000_000)
RESPONSE = pb.SendEventResponse(
    state=types.InstanceState(
        instance=types.InstanceRef(machine_id="payment", instance_id="payment-0000123"),
        uid="0f8fad5bd9cb469fa16570867728950e",
        version=77,
        machine_version=1,
        value_json='"declined"',
        status=types.INSTANCE_STATUS_ACTIVE,
        create_time=AT,
        update_time=AT,
    ),
    changed=True,
)


async def echo(request: pb.SendEventRequest, context: Any) -> pb.SendEventResponse:
    return RESPONSE


async def serve_unary(handler: Any) -> None:
    """Serve one method with ``handler`` until the process is told to end."""
    made: Any = grpc.unary_unary_rpc_method_handler(
        handler,
        request_deserializer=pb.SendEventRequest.FromString,
        response_serializer=pb.SendEventResponse.SerializeToString,
    )
    server = grpc.aio.server()
    service, _, method = UNARY[1:].partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: made}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"gRPC 127.0.0.1:{port}\nCtrl-C ends it", flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await server.stop(0)


if __name__ == "__main__":
    uvloop.run(serve_unary(echo))
