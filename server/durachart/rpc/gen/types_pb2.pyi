# Generated from proto/ by `make generate`; do not edit.
import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InstanceView(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INSTANCE_VIEW_UNSPECIFIED: _ClassVar[InstanceView]
    INSTANCE_VIEW_BASIC: _ClassVar[InstanceView]
    INSTANCE_VIEW_FULL: _ClassVar[InstanceView]

class InstanceStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INSTANCE_STATUS_UNSPECIFIED: _ClassVar[InstanceStatus]
    INSTANCE_STATUS_ACTIVE: _ClassVar[InstanceStatus]
    INSTANCE_STATUS_DONE: _ClassVar[InstanceStatus]

class JournalOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOURNAL_OUTCOME_UNSPECIFIED: _ClassVar[JournalOutcome]
    JOURNAL_OUTCOME_ACCEPTED: _ClassVar[JournalOutcome]
    JOURNAL_OUTCOME_REFUSED: _ClassVar[JournalOutcome]

class JournalCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOURNAL_CAUSE_UNSPECIFIED: _ClassVar[JournalCause]
    JOURNAL_CAUSE_CREATE: _ClassVar[JournalCause]
    JOURNAL_CAUSE_EVENT: _ClassVar[JournalCause]
    JOURNAL_CAUSE_TIMER: _ClassVar[JournalCause]
    JOURNAL_CAUSE_EFFECT: _ClassVar[JournalCause]
    JOURNAL_CAUSE_DELETE: _ClassVar[JournalCause]
INSTANCE_VIEW_UNSPECIFIED: InstanceView
INSTANCE_VIEW_BASIC: InstanceView
INSTANCE_VIEW_FULL: InstanceView
INSTANCE_STATUS_UNSPECIFIED: InstanceStatus
INSTANCE_STATUS_ACTIVE: InstanceStatus
INSTANCE_STATUS_DONE: InstanceStatus
JOURNAL_OUTCOME_UNSPECIFIED: JournalOutcome
JOURNAL_OUTCOME_ACCEPTED: JournalOutcome
JOURNAL_OUTCOME_REFUSED: JournalOutcome
JOURNAL_CAUSE_UNSPECIFIED: JournalCause
JOURNAL_CAUSE_CREATE: JournalCause
JOURNAL_CAUSE_EVENT: JournalCause
JOURNAL_CAUSE_TIMER: JournalCause
JOURNAL_CAUSE_EFFECT: JournalCause
JOURNAL_CAUSE_DELETE: JournalCause

class InstanceRef(_message.Message):
    __slots__ = ("namespace", "machine_id", "instance_id")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    MACHINE_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    machine_id: str
    instance_id: str
    def __init__(self, namespace: _Optional[str] = ..., machine_id: _Optional[str] = ..., instance_id: _Optional[str] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("type", "data_json")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_JSON_FIELD_NUMBER: _ClassVar[int]
    type: str
    data_json: str
    def __init__(self, type: _Optional[str] = ..., data_json: _Optional[str] = ...) -> None: ...

class InstanceState(_message.Message):
    __slots__ = ("instance", "uid", "version", "machine_version", "value_json", "context_json", "allowed_events", "tags", "meta_json", "labels", "status", "output_json", "running_effects", "create_time", "update_time", "evaluate_time")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MACHINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    VALUE_JSON_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_JSON_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    META_JSON_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_JSON_FIELD_NUMBER: _ClassVar[int]
    RUNNING_EFFECTS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EVALUATE_TIME_FIELD_NUMBER: _ClassVar[int]
    instance: InstanceRef
    uid: str
    version: int
    machine_version: int
    value_json: str
    context_json: str
    allowed_events: _containers.RepeatedScalarFieldContainer[str]
    tags: _containers.RepeatedScalarFieldContainer[str]
    meta_json: str
    labels: _containers.ScalarMap[str, str]
    status: InstanceStatus
    output_json: str
    running_effects: _containers.RepeatedCompositeFieldContainer[RunningEffect]
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    evaluate_time: _timestamp_pb2.Timestamp
    def __init__(self, instance: _Optional[_Union[InstanceRef, _Mapping]] = ..., uid: _Optional[str] = ..., version: _Optional[int] = ..., machine_version: _Optional[int] = ..., value_json: _Optional[str] = ..., context_json: _Optional[str] = ..., allowed_events: _Optional[_Iterable[str]] = ..., tags: _Optional[_Iterable[str]] = ..., meta_json: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., status: _Optional[_Union[InstanceStatus, str]] = ..., output_json: _Optional[str] = ..., running_effects: _Optional[_Iterable[_Union[RunningEffect, _Mapping]]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., evaluate_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RunningEffect(_message.Message):
    __slots__ = ("effect_id", "type", "handler", "attempt", "executing", "create_time")
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    HANDLER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    EXECUTING_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    effect_id: str
    type: str
    handler: str
    attempt: int
    executing: bool
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, effect_id: _Optional[str] = ..., type: _Optional[str] = ..., handler: _Optional[str] = ..., attempt: _Optional[int] = ..., executing: _Optional[bool] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class JournalEntry(_message.Message):
    __slots__ = ("instance", "uid", "seq", "revision", "cause", "event_type", "data_json", "actor", "create_time", "outcome", "reason", "message", "from_version", "to_version", "from_value_json", "to_value_json", "effects", "machine_version", "expected_version", "request_id", "traceparent", "hash")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_JSON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FROM_VERSION_FIELD_NUMBER: _ClassVar[int]
    TO_VERSION_FIELD_NUMBER: _ClassVar[int]
    FROM_VALUE_JSON_FIELD_NUMBER: _ClassVar[int]
    TO_VALUE_JSON_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    MACHINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    instance: InstanceRef
    uid: str
    seq: int
    revision: int
    cause: JournalCause
    event_type: str
    data_json: str
    actor: str
    create_time: _timestamp_pb2.Timestamp
    outcome: JournalOutcome
    reason: str
    message: str
    from_version: int
    to_version: int
    from_value_json: str
    to_value_json: str
    effects: _containers.RepeatedCompositeFieldContainer[JournalEffect]
    machine_version: int
    expected_version: int
    request_id: str
    traceparent: str
    hash: str
    def __init__(self, instance: _Optional[_Union[InstanceRef, _Mapping]] = ..., uid: _Optional[str] = ..., seq: _Optional[int] = ..., revision: _Optional[int] = ..., cause: _Optional[_Union[JournalCause, str]] = ..., event_type: _Optional[str] = ..., data_json: _Optional[str] = ..., actor: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., outcome: _Optional[_Union[JournalOutcome, str]] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., from_version: _Optional[int] = ..., to_version: _Optional[int] = ..., from_value_json: _Optional[str] = ..., to_value_json: _Optional[str] = ..., effects: _Optional[_Iterable[_Union[JournalEffect, _Mapping]]] = ..., machine_version: _Optional[int] = ..., expected_version: _Optional[int] = ..., request_id: _Optional[str] = ..., traceparent: _Optional[str] = ..., hash: _Optional[str] = ...) -> None: ...

class JournalEffect(_message.Message):
    __slots__ = ("effect_id", "type", "params_json", "emitted")
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PARAMS_JSON_FIELD_NUMBER: _ClassVar[int]
    EMITTED_FIELD_NUMBER: _ClassVar[int]
    effect_id: str
    type: str
    params_json: str
    emitted: bool
    def __init__(self, effect_id: _Optional[str] = ..., type: _Optional[str] = ..., params_json: _Optional[str] = ..., emitted: _Optional[bool] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("code", "path", "message", "hint", "severity", "line", "column")
    class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SEVERITY_UNSPECIFIED: _ClassVar[Finding.Severity]
        SEVERITY_ERROR: _ClassVar[Finding.Severity]
        SEVERITY_WARNING: _ClassVar[Finding.Severity]
    SEVERITY_UNSPECIFIED: Finding.Severity
    SEVERITY_ERROR: Finding.Severity
    SEVERITY_WARNING: Finding.Severity
    CODE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    code: str
    path: str
    message: str
    hint: str
    severity: Finding.Severity
    line: int
    column: int
    def __init__(self, code: _Optional[str] = ..., path: _Optional[str] = ..., message: _Optional[str] = ..., hint: _Optional[str] = ..., severity: _Optional[_Union[Finding.Severity, str]] = ..., line: _Optional[int] = ..., column: _Optional[int] = ...) -> None: ...
