"""A contract made here, with a method of every kind: what the real one does not have yet."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass


def _declared() -> FileDescriptorProto:
    file = FileDescriptorProto(name="test/echo.proto", package="test.v1", syntax="proto3")
    message = file.message_type.add(name="Text")
    message.field.add(
        name="text",
        number=1,
        type=FieldDescriptorProto.TYPE_STRING,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
    )
    service = file.service.add(name="EchoService")
    for name, client, server in (
        ("EchoOne", False, False),
        ("ListWords", False, True),
        ("JoinWords", True, False),
        ("EchoEach", True, True),
    ):
        service.method.add(
            name=name,
            input_type=".test.v1.Text",
            output_type=".test.v1.Text",
            client_streaming=client,
            server_streaming=server,
        )
    return file


_pool = DescriptorPool()
_pool.Add(_declared())  # type: ignore[no-untyped-call]
ECHO_SERVICE: ServiceDescriptor = _pool.FindServiceByName("test.v1.EchoService")
Text: Any = GetMessageClass(_pool.FindMessageTypeByName("test.v1.Text"))
