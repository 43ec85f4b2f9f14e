# Generated from proto/ by `make generate`; do not edit.
from . import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EventRefusal(_message.Message):
    __slots__ = ("instance", "event_type", "value_json", "version", "allowed_events", "guards")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_JSON_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    GUARDS_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    event_type: str
    value_json: str
    version: int
    allowed_events: _containers.RepeatedScalarFieldContainer[str]
    guards: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., event_type: _Optional[str] = ..., value_json: _Optional[str] = ..., version: _Optional[int] = ..., allowed_events: _Optional[_Iterable[str]] = ..., guards: _Optional[_Iterable[str]] = ...) -> None: ...

class VersionConflict(_message.Message):
    __slots__ = ("instance", "expected_version", "actual_version", "value_json")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_VERSION_FIELD_NUMBER: _ClassVar[int]
    VALUE_JSON_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    expected_version: int
    actual_version: int
    value_json: str
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., expected_version: _Optional[int] = ..., actual_version: _Optional[int] = ..., value_json: _Optional[str] = ...) -> None: ...

class DefinitionProblems(_message.Message):
    __slots__ = ("findings",)
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    findings: _containers.RepeatedCompositeFieldContainer[_types_pb2.Finding]
    def __init__(self, findings: _Optional[_Iterable[_Union[_types_pb2.Finding, _Mapping]]] = ...) -> None: ...

class WatchCompacted(_message.Message):
    __slots__ = ("oldest_resume_token",)
    OLDEST_RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    oldest_resume_token: str
    def __init__(self, oldest_resume_token: _Optional[str] = ...) -> None: ...
