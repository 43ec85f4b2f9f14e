# Generated from proto/ by `make generate`; do not edit.
import datetime

from . import types_pb2 as _types_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EffectState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EFFECT_STATE_UNSPECIFIED: _ClassVar[EffectState]
    EFFECT_STATE_AVAILABLE: _ClassVar[EffectState]
    EFFECT_STATE_RUNNING: _ClassVar[EffectState]
    EFFECT_STATE_RETRYABLE: _ClassVar[EffectState]
    EFFECT_STATE_COMPLETED: _ClassVar[EffectState]
    EFFECT_STATE_DISCARDED: _ClassVar[EffectState]
    EFFECT_STATE_CANCELLED: _ClassVar[EffectState]
EFFECT_STATE_UNSPECIFIED: EffectState
EFFECT_STATE_AVAILABLE: EffectState
EFFECT_STATE_RUNNING: EffectState
EFFECT_STATE_RETRYABLE: EffectState
EFFECT_STATE_COMPLETED: EffectState
EFFECT_STATE_DISCARDED: EffectState
EFFECT_STATE_CANCELLED: EffectState

class EffectError(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Effect(_message.Message):
    __slots__ = ("instance", "uid", "effect_id", "type", "handler", "params_json", "state", "priority", "attempt", "max_attempts", "schedule_time", "worker_id", "create_time", "finalize_time", "output_json", "error", "machine_version", "traceparent", "attempts", "steps")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    HANDLER_FIELD_NUMBER: _ClassVar[int]
    PARAMS_JSON_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_TIME_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    FINALIZE_TIME_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_JSON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    MACHINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    uid: str
    effect_id: str
    type: str
    handler: str
    params_json: str
    state: EffectState
    priority: int
    attempt: int
    max_attempts: int
    schedule_time: _timestamp_pb2.Timestamp
    worker_id: str
    create_time: _timestamp_pb2.Timestamp
    finalize_time: _timestamp_pb2.Timestamp
    output_json: str
    error: EffectError
    machine_version: int
    traceparent: str
    attempts: _containers.RepeatedCompositeFieldContainer[EffectAttempt]
    steps: _containers.RepeatedCompositeFieldContainer[EffectStep]
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., uid: _Optional[str] = ..., effect_id: _Optional[str] = ..., type: _Optional[str] = ..., handler: _Optional[str] = ..., params_json: _Optional[str] = ..., state: _Optional[_Union[EffectState, str]] = ..., priority: _Optional[int] = ..., attempt: _Optional[int] = ..., max_attempts: _Optional[int] = ..., schedule_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., worker_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finalize_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., output_json: _Optional[str] = ..., error: _Optional[_Union[EffectError, _Mapping]] = ..., machine_version: _Optional[int] = ..., traceparent: _Optional[str] = ..., attempts: _Optional[_Iterable[_Union[EffectAttempt, _Mapping]]] = ..., steps: _Optional[_Iterable[_Union[EffectStep, _Mapping]]] = ...) -> None: ...

class EffectAttempt(_message.Message):
    __slots__ = ("attempt", "worker_id", "start_time", "end_time", "outcome", "error")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[EffectAttempt.Outcome]
        OUTCOME_COMPLETED: _ClassVar[EffectAttempt.Outcome]
        OUTCOME_FAILED: _ClassVar[EffectAttempt.Outcome]
        OUTCOME_REJECTED: _ClassVar[EffectAttempt.Outcome]
        OUTCOME_CANCELLED: _ClassVar[EffectAttempt.Outcome]
        OUTCOME_LOST: _ClassVar[EffectAttempt.Outcome]
    OUTCOME_UNSPECIFIED: EffectAttempt.Outcome
    OUTCOME_COMPLETED: EffectAttempt.Outcome
    OUTCOME_FAILED: EffectAttempt.Outcome
    OUTCOME_REJECTED: EffectAttempt.Outcome
    OUTCOME_CANCELLED: EffectAttempt.Outcome
    OUTCOME_LOST: EffectAttempt.Outcome
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    worker_id: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    outcome: EffectAttempt.Outcome
    error: EffectError
    def __init__(self, attempt: _Optional[int] = ..., worker_id: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., outcome: _Optional[_Union[EffectAttempt.Outcome, str]] = ..., error: _Optional[_Union[EffectError, _Mapping]] = ...) -> None: ...

class EffectStep(_message.Message):
    __slots__ = ("name", "state", "attempt", "output_json", "error", "start_time", "end_time")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[EffectStep.State]
        STATE_STARTED: _ClassVar[EffectStep.State]
        STATE_COMPLETED: _ClassVar[EffectStep.State]
        STATE_FAILED: _ClassVar[EffectStep.State]
    STATE_UNSPECIFIED: EffectStep.State
    STATE_STARTED: EffectStep.State
    STATE_COMPLETED: EffectStep.State
    STATE_FAILED: EffectStep.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_JSON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: EffectStep.State
    attempt: int
    output_json: str
    error: EffectError
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[EffectStep.State, str]] = ..., attempt: _Optional[int] = ..., output_json: _Optional[str] = ..., error: _Optional[_Union[EffectError, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class LeasedEffect(_message.Message):
    __slots__ = ("instance", "effect_id", "type", "handler", "params_json", "attempt", "max_attempts", "lease_token", "lease_expire_time", "timeout", "create_time", "machine_version", "traceparent", "steps")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    HANDLER_FIELD_NUMBER: _ClassVar[int]
    PARAMS_JSON_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEASE_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    MACHINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    effect_id: str
    type: str
    handler: str
    params_json: str
    attempt: int
    max_attempts: int
    lease_token: str
    lease_expire_time: _timestamp_pb2.Timestamp
    timeout: _duration_pb2.Duration
    create_time: _timestamp_pb2.Timestamp
    machine_version: int
    traceparent: str
    steps: _containers.RepeatedCompositeFieldContainer[EffectStep]
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., effect_id: _Optional[str] = ..., type: _Optional[str] = ..., handler: _Optional[str] = ..., params_json: _Optional[str] = ..., attempt: _Optional[int] = ..., max_attempts: _Optional[int] = ..., lease_token: _Optional[str] = ..., lease_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., machine_version: _Optional[int] = ..., traceparent: _Optional[str] = ..., steps: _Optional[_Iterable[_Union[EffectStep, _Mapping]]] = ...) -> None: ...

class LeaseEffectsRequest(_message.Message):
    __slots__ = ("handlers", "max_effects", "lease_duration", "wait", "worker_id")
    HANDLERS_FIELD_NUMBER: _ClassVar[int]
    MAX_EFFECTS_FIELD_NUMBER: _ClassVar[int]
    LEASE_DURATION_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    handlers: _containers.RepeatedScalarFieldContainer[str]
    max_effects: int
    lease_duration: _duration_pb2.Duration
    wait: _duration_pb2.Duration
    worker_id: str
    def __init__(self, handlers: _Optional[_Iterable[str]] = ..., max_effects: _Optional[int] = ..., lease_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., worker_id: _Optional[str] = ...) -> None: ...

class LeaseEffectsResponse(_message.Message):
    __slots__ = ("effects",)
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    effects: _containers.RepeatedCompositeFieldContainer[LeasedEffect]
    def __init__(self, effects: _Optional[_Iterable[_Union[LeasedEffect, _Mapping]]] = ...) -> None: ...

class StreamEffectsRequest(_message.Message):
    __slots__ = ("handlers", "credits", "lease_duration", "worker_id")
    HANDLERS_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    LEASE_DURATION_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    handlers: _containers.RepeatedScalarFieldContainer[str]
    credits: int
    lease_duration: _duration_pb2.Duration
    worker_id: str
    def __init__(self, handlers: _Optional[_Iterable[str]] = ..., credits: _Optional[int] = ..., lease_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., worker_id: _Optional[str] = ...) -> None: ...

class StreamEffectsResponse(_message.Message):
    __slots__ = ("effects", "cancelled")
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    effects: _containers.RepeatedCompositeFieldContainer[LeasedEffect]
    cancelled: _containers.RepeatedCompositeFieldContainer[CancelledEffect]
    def __init__(self, effects: _Optional[_Iterable[_Union[LeasedEffect, _Mapping]]] = ..., cancelled: _Optional[_Iterable[_Union[CancelledEffect, _Mapping]]] = ...) -> None: ...

class CancelledEffect(_message.Message):
    __slots__ = ("instance", "effect_id")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    effect_id: str
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., effect_id: _Optional[str] = ...) -> None: ...

class CompleteEffectRequest(_message.Message):
    __slots__ = ("instance", "effect_id", "lease_token", "output_json")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_JSON_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    effect_id: str
    lease_token: str
    output_json: str
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., effect_id: _Optional[str] = ..., lease_token: _Optional[str] = ..., output_json: _Optional[str] = ...) -> None: ...

class CompleteEffectResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FailEffectRequest(_message.Message):
    __slots__ = ("instance", "effect_id", "lease_token", "error", "retry_delay", "final")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RETRY_DELAY_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    effect_id: str
    lease_token: str
    error: EffectError
    retry_delay: _duration_pb2.Duration
    final: bool
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., effect_id: _Optional[str] = ..., lease_token: _Optional[str] = ..., error: _Optional[_Union[EffectError, _Mapping]] = ..., retry_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., final: _Optional[bool] = ...) -> None: ...

class FailEffectResponse(_message.Message):
    __slots__ = ("retry_time",)
    RETRY_TIME_FIELD_NUMBER: _ClassVar[int]
    retry_time: _timestamp_pb2.Timestamp
    def __init__(self, retry_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RejectEffectRequest(_message.Message):
    __slots__ = ("instance", "effect_id", "lease_token", "error")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    effect_id: str
    lease_token: str
    error: EffectError
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., effect_id: _Optional[str] = ..., lease_token: _Optional[str] = ..., error: _Optional[_Union[EffectError, _Mapping]] = ...) -> None: ...

class RejectEffectResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HeartbeatEffectRequest(_message.Message):
    __slots__ = ("instance", "effect_id", "lease_token", "lease_duration")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEASE_DURATION_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    effect_id: str
    lease_token: str
    lease_duration: _duration_pb2.Duration
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., effect_id: _Optional[str] = ..., lease_token: _Optional[str] = ..., lease_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class HeartbeatEffectResponse(_message.Message):
    __slots__ = ("cancelled", "lease_expire_time")
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    LEASE_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    cancelled: bool
    lease_expire_time: _timestamp_pb2.Timestamp
    def __init__(self, cancelled: _Optional[bool] = ..., lease_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RecordEffectStepRequest(_message.Message):
    __slots__ = ("instance", "effect_id", "lease_token", "step")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    effect_id: str
    lease_token: str
    step: EffectStep
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., effect_id: _Optional[str] = ..., lease_token: _Optional[str] = ..., step: _Optional[_Union[EffectStep, _Mapping]] = ...) -> None: ...

class RecordEffectStepResponse(_message.Message):
    __slots__ = ("step",)
    STEP_FIELD_NUMBER: _ClassVar[int]
    step: EffectStep
    def __init__(self, step: _Optional[_Union[EffectStep, _Mapping]] = ...) -> None: ...

class GetEffectRequest(_message.Message):
    __slots__ = ("instance", "effect_id")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    effect_id: str
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., effect_id: _Optional[str] = ...) -> None: ...

class GetEffectResponse(_message.Message):
    __slots__ = ("effect",)
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    effect: Effect
    def __init__(self, effect: _Optional[_Union[Effect, _Mapping]] = ...) -> None: ...

class ListEffectsRequest(_message.Message):
    __slots__ = ("namespace", "machine_id", "instance_id", "handler", "state", "page_size", "page_token")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    MACHINE_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    HANDLER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    machine_id: str
    instance_id: str
    handler: str
    state: EffectState
    page_size: int
    page_token: str
    def __init__(self, namespace: _Optional[str] = ..., machine_id: _Optional[str] = ..., instance_id: _Optional[str] = ..., handler: _Optional[str] = ..., state: _Optional[_Union[EffectState, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListEffectsResponse(_message.Message):
    __slots__ = ("effects", "next_page_token")
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    effects: _containers.RepeatedCompositeFieldContainer[Effect]
    next_page_token: str
    def __init__(self, effects: _Optional[_Iterable[_Union[Effect, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RetryEffectRequest(_message.Message):
    __slots__ = ("instance", "effect_id", "request_id")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    effect_id: str
    request_id: str
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., effect_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class RetryEffectResponse(_message.Message):
    __slots__ = ("effect",)
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    effect: Effect
    def __init__(self, effect: _Optional[_Union[Effect, _Mapping]] = ...) -> None: ...
