# Generated from proto/ by `make generate`; do not edit.
from . import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AppendTokensRequest(_message.Message):
    __slots__ = ("instance", "effect_id", "lease_token", "model", "text")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    effect_id: str
    lease_token: str
    model: str
    text: str
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., effect_id: _Optional[str] = ..., lease_token: _Optional[str] = ..., model: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class AppendTokensResponse(_message.Message):
    __slots__ = ("length",)
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    length: int
    def __init__(self, length: _Optional[int] = ...) -> None: ...

class WatchTokensRequest(_message.Message):
    __slots__ = ("instance", "effect_id", "attempt", "offset")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    effect_id: str
    attempt: int
    offset: int
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., effect_id: _Optional[str] = ..., attempt: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class WatchTokensResponse(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[TokenFrame]
    def __init__(self, frames: _Optional[_Iterable[_Union[TokenFrame, _Mapping]]] = ...) -> None: ...

class TokenFrame(_message.Message):
    __slots__ = ("effect_id", "attempt", "offset", "next_offset", "started", "text", "end")
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    effect_id: str
    attempt: int
    offset: int
    next_offset: int
    started: TokenAttemptStarted
    text: str
    end: TokenEnd
    def __init__(self, effect_id: _Optional[str] = ..., attempt: _Optional[int] = ..., offset: _Optional[int] = ..., next_offset: _Optional[int] = ..., started: _Optional[_Union[TokenAttemptStarted, _Mapping]] = ..., text: _Optional[str] = ..., end: _Optional[_Union[TokenEnd, _Mapping]] = ...) -> None: ...

class TokenAttemptStarted(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class TokenEnd(_message.Message):
    __slots__ = ("outcome", "finish_reason", "model", "usage", "error_message", "error_reason")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[TokenEnd.Outcome]
        OUTCOME_COMPLETED: _ClassVar[TokenEnd.Outcome]
        OUTCOME_STOPPED: _ClassVar[TokenEnd.Outcome]
        OUTCOME_FAILED: _ClassVar[TokenEnd.Outcome]
        OUTCOME_CANCELLED: _ClassVar[TokenEnd.Outcome]
    OUTCOME_UNSPECIFIED: TokenEnd.Outcome
    OUTCOME_COMPLETED: TokenEnd.Outcome
    OUTCOME_STOPPED: TokenEnd.Outcome
    OUTCOME_FAILED: TokenEnd.Outcome
    OUTCOME_CANCELLED: TokenEnd.Outcome
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ERROR_REASON_FIELD_NUMBER: _ClassVar[int]
    outcome: TokenEnd.Outcome
    finish_reason: str
    model: str
    usage: TokenUsage
    error_message: str
    error_reason: str
    def __init__(self, outcome: _Optional[_Union[TokenEnd.Outcome, str]] = ..., finish_reason: _Optional[str] = ..., model: _Optional[str] = ..., usage: _Optional[_Union[TokenUsage, _Mapping]] = ..., error_message: _Optional[str] = ..., error_reason: _Optional[str] = ...) -> None: ...

class TokenUsage(_message.Message):
    __slots__ = ("input_tokens", "output_tokens")
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    input_tokens: int
    output_tokens: int
    def __init__(self, input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ...) -> None: ...

class StopGenerationRequest(_message.Message):
    __slots__ = ("instance", "effect_id", "request_id")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    effect_id: str
    request_id: str
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., effect_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class StopGenerationResponse(_message.Message):
    __slots__ = ("state", "stopped", "effect_id")
    STATE_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    state: _types_pb2.InstanceState
    stopped: bool
    effect_id: str
    def __init__(self, state: _Optional[_Union[_types_pb2.InstanceState, _Mapping]] = ..., stopped: _Optional[bool] = ..., effect_id: _Optional[str] = ...) -> None: ...
