# Generated from proto/ by `make generate`; do not edit.
import datetime

from . import token_service_pb2 as _token_service_pb2
from . import types_pb2 as _types_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateInstanceRequest(_message.Message):
    __slots__ = ("instance", "input_json", "request_id", "labels", "view")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    INPUT_JSON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    input_json: str
    request_id: str
    labels: _containers.ScalarMap[str, str]
    view: _types_pb2.InstanceView
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., input_json: _Optional[str] = ..., request_id: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., view: _Optional[_Union[_types_pb2.InstanceView, str]] = ...) -> None: ...

class CreateInstanceResponse(_message.Message):
    __slots__ = ("state", "replayed")
    STATE_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    state: _types_pb2.InstanceState
    replayed: bool
    def __init__(self, state: _Optional[_Union[_types_pb2.InstanceState, _Mapping]] = ..., replayed: _Optional[bool] = ...) -> None: ...

class SendEventRequest(_message.Message):
    __slots__ = ("instance", "event", "expected_version", "request_id", "create_if_missing", "input_json", "view")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_IF_MISSING_FIELD_NUMBER: _ClassVar[int]
    INPUT_JSON_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    event: _types_pb2.Event
    expected_version: int
    request_id: str
    create_if_missing: bool
    input_json: str
    view: _types_pb2.InstanceView
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., event: _Optional[_Union[_types_pb2.Event, _Mapping]] = ..., expected_version: _Optional[int] = ..., request_id: _Optional[str] = ..., create_if_missing: _Optional[bool] = ..., input_json: _Optional[str] = ..., view: _Optional[_Union[_types_pb2.InstanceView, str]] = ...) -> None: ...

class SendEventResponse(_message.Message):
    __slots__ = ("state", "changed", "replayed", "effects")
    STATE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    state: _types_pb2.InstanceState
    changed: bool
    replayed: bool
    effects: _containers.RepeatedCompositeFieldContainer[_types_pb2.JournalEffect]
    def __init__(self, state: _Optional[_Union[_types_pb2.InstanceState, _Mapping]] = ..., changed: _Optional[bool] = ..., replayed: _Optional[bool] = ..., effects: _Optional[_Iterable[_Union[_types_pb2.JournalEffect, _Mapping]]] = ...) -> None: ...

class SendEventsRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[SendEventRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[SendEventRequest, _Mapping]]] = ...) -> None: ...

class SendEventsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[SendEventResult]
    def __init__(self, results: _Optional[_Iterable[_Union[SendEventResult, _Mapping]]] = ...) -> None: ...

class SendEventResult(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: SendEventResponse
    error: _status_pb2.Status
    def __init__(self, response: _Optional[_Union[SendEventResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class StreamEventsRequest(_message.Message):
    __slots__ = ("correlation_id", "send_event", "events")
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    SEND_EVENT_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    send_event: SendEventRequest
    events: _containers.RepeatedCompositeFieldContainer[StreamEvent]
    def __init__(self, correlation_id: _Optional[str] = ..., send_event: _Optional[_Union[SendEventRequest, _Mapping]] = ..., events: _Optional[_Iterable[_Union[StreamEvent, _Mapping]]] = ...) -> None: ...

class StreamEvent(_message.Message):
    __slots__ = ("correlation_id", "send_event")
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    SEND_EVENT_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    send_event: SendEventRequest
    def __init__(self, correlation_id: _Optional[str] = ..., send_event: _Optional[_Union[SendEventRequest, _Mapping]] = ...) -> None: ...

class StreamEventsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[StreamEventsResult]
    def __init__(self, results: _Optional[_Iterable[_Union[StreamEventsResult, _Mapping]]] = ...) -> None: ...

class StreamEventsResult(_message.Message):
    __slots__ = ("correlation_id", "response", "error")
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    response: SendEventResponse
    error: _status_pb2.Status
    def __init__(self, correlation_id: _Optional[str] = ..., response: _Optional[_Union[SendEventResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class PreviewEventRequest(_message.Message):
    __slots__ = ("instance", "event", "version", "view")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    event: _types_pb2.Event
    version: int
    view: _types_pb2.InstanceView
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., event: _Optional[_Union[_types_pb2.Event, _Mapping]] = ..., version: _Optional[int] = ..., view: _Optional[_Union[_types_pb2.InstanceView, str]] = ...) -> None: ...

class PreviewEventResponse(_message.Message):
    __slots__ = ("accepted", "state", "changed", "effects", "reason", "message", "transitions")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TRANSITIONS_FIELD_NUMBER: _ClassVar[int]
    accepted: bool
    state: _types_pb2.InstanceState
    changed: bool
    effects: _containers.RepeatedCompositeFieldContainer[_types_pb2.JournalEffect]
    reason: str
    message: str
    transitions: _containers.RepeatedCompositeFieldContainer[PreviewTransition]
    def __init__(self, accepted: _Optional[bool] = ..., state: _Optional[_Union[_types_pb2.InstanceState, _Mapping]] = ..., changed: _Optional[bool] = ..., effects: _Optional[_Iterable[_Union[_types_pb2.JournalEffect, _Mapping]]] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., transitions: _Optional[_Iterable[_Union[PreviewTransition, _Mapping]]] = ...) -> None: ...

class PreviewTransition(_message.Message):
    __slots__ = ("source_state_id", "event_descriptor", "target_state_ids", "guard", "passed")
    SOURCE_STATE_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_DESCRIPTOR_FIELD_NUMBER: _ClassVar[int]
    TARGET_STATE_IDS_FIELD_NUMBER: _ClassVar[int]
    GUARD_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    source_state_id: str
    event_descriptor: str
    target_state_ids: _containers.RepeatedScalarFieldContainer[str]
    guard: str
    passed: bool
    def __init__(self, source_state_id: _Optional[str] = ..., event_descriptor: _Optional[str] = ..., target_state_ids: _Optional[_Iterable[str]] = ..., guard: _Optional[str] = ..., passed: _Optional[bool] = ...) -> None: ...

class DeleteInstanceRequest(_message.Message):
    __slots__ = ("instance", "expected_version", "request_id", "purge")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PURGE_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    expected_version: int
    request_id: str
    purge: bool
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., expected_version: _Optional[int] = ..., request_id: _Optional[str] = ..., purge: _Optional[bool] = ...) -> None: ...

class DeleteInstanceResponse(_message.Message):
    __slots__ = ("state", "replayed")
    STATE_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    state: _types_pb2.InstanceState
    replayed: bool
    def __init__(self, state: _Optional[_Union[_types_pb2.InstanceState, _Mapping]] = ..., replayed: _Optional[bool] = ...) -> None: ...

class GetStateRequest(_message.Message):
    __slots__ = ("instance", "view")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    view: _types_pb2.InstanceView
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., view: _Optional[_Union[_types_pb2.InstanceView, str]] = ...) -> None: ...

class GetStateResponse(_message.Message):
    __slots__ = ("state",)
    STATE_FIELD_NUMBER: _ClassVar[int]
    state: _types_pb2.InstanceState
    def __init__(self, state: _Optional[_Union[_types_pb2.InstanceState, _Mapping]] = ...) -> None: ...

class WatchStateRequest(_message.Message):
    __slots__ = ("instances", "filter", "resume_token", "view", "progress_interval", "end_on_final", "conflate", "include_tokens")
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    END_ON_FINAL_FIELD_NUMBER: _ClassVar[int]
    CONFLATE_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    instances: _containers.RepeatedCompositeFieldContainer[_types_pb2.InstanceRef]
    filter: WatchFilter
    resume_token: str
    view: _types_pb2.InstanceView
    progress_interval: _duration_pb2.Duration
    end_on_final: bool
    conflate: bool
    include_tokens: bool
    def __init__(self, instances: _Optional[_Iterable[_Union[_types_pb2.InstanceRef, _Mapping]]] = ..., filter: _Optional[_Union[WatchFilter, _Mapping]] = ..., resume_token: _Optional[str] = ..., view: _Optional[_Union[_types_pb2.InstanceView, str]] = ..., progress_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end_on_final: _Optional[bool] = ..., conflate: _Optional[bool] = ..., include_tokens: _Optional[bool] = ...) -> None: ...

class WatchFilter(_message.Message):
    __slots__ = ("namespace", "machine_id", "state_ids", "tags", "labels", "status")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    MACHINE_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_IDS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    machine_id: str
    state_ids: _containers.RepeatedScalarFieldContainer[str]
    tags: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.ScalarMap[str, str]
    status: _types_pb2.InstanceStatus
    def __init__(self, namespace: _Optional[str] = ..., machine_id: _Optional[str] = ..., state_ids: _Optional[_Iterable[str]] = ..., tags: _Optional[_Iterable[str]] = ..., labels: _Optional[_Mapping[str, str]] = ..., status: _Optional[_Union[_types_pb2.InstanceStatus, str]] = ...) -> None: ...

class WatchStateResponse(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[WatchFrame]
    def __init__(self, frames: _Optional[_Iterable[_Union[WatchFrame, _Mapping]]] = ...) -> None: ...

class WatchFrame(_message.Message):
    __slots__ = ("resume_token", "snapshot", "transition", "synced", "progress", "closing", "deleted", "gap", "tokens")
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    TRANSITION_FIELD_NUMBER: _ClassVar[int]
    SYNCED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    CLOSING_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    resume_token: str
    snapshot: _types_pb2.InstanceState
    transition: WatchTransition
    synced: WatchSynced
    progress: WatchProgress
    closing: WatchClosing
    deleted: WatchDeleted
    gap: WatchGap
    tokens: WatchTokenFrames
    def __init__(self, resume_token: _Optional[str] = ..., snapshot: _Optional[_Union[_types_pb2.InstanceState, _Mapping]] = ..., transition: _Optional[_Union[WatchTransition, _Mapping]] = ..., synced: _Optional[_Union[WatchSynced, _Mapping]] = ..., progress: _Optional[_Union[WatchProgress, _Mapping]] = ..., closing: _Optional[_Union[WatchClosing, _Mapping]] = ..., deleted: _Optional[_Union[WatchDeleted, _Mapping]] = ..., gap: _Optional[_Union[WatchGap, _Mapping]] = ..., tokens: _Optional[_Union[WatchTokenFrames, _Mapping]] = ...) -> None: ...

class WatchTransition(_message.Message):
    __slots__ = ("state", "entry", "changed", "matches")
    STATE_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    MATCHES_FIELD_NUMBER: _ClassVar[int]
    state: _types_pb2.InstanceState
    entry: _types_pb2.JournalEntry
    changed: bool
    matches: bool
    def __init__(self, state: _Optional[_Union[_types_pb2.InstanceState, _Mapping]] = ..., entry: _Optional[_Union[_types_pb2.JournalEntry, _Mapping]] = ..., changed: _Optional[bool] = ..., matches: _Optional[bool] = ...) -> None: ...

class WatchDeleted(_message.Message):
    __slots__ = ("instance", "uid", "entry")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    uid: str
    entry: _types_pb2.JournalEntry
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., uid: _Optional[str] = ..., entry: _Optional[_Union[_types_pb2.JournalEntry, _Mapping]] = ...) -> None: ...

class WatchGap(_message.Message):
    __slots__ = ("state", "previous_version", "matches")
    STATE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_VERSION_FIELD_NUMBER: _ClassVar[int]
    MATCHES_FIELD_NUMBER: _ClassVar[int]
    state: _types_pb2.InstanceState
    previous_version: int
    matches: bool
    def __init__(self, state: _Optional[_Union[_types_pb2.InstanceState, _Mapping]] = ..., previous_version: _Optional[int] = ..., matches: _Optional[bool] = ...) -> None: ...

class WatchTokenFrames(_message.Message):
    __slots__ = ("instance", "frames")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    frames: _containers.RepeatedCompositeFieldContainer[_token_service_pb2.TokenFrame]
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., frames: _Optional[_Iterable[_Union[_token_service_pb2.TokenFrame, _Mapping]]] = ...) -> None: ...

class WatchSynced(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchProgress(_message.Message):
    __slots__ = ("server_time",)
    SERVER_TIME_FIELD_NUMBER: _ClassVar[int]
    server_time: _timestamp_pb2.Timestamp
    def __init__(self, server_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class WatchClosing(_message.Message):
    __slots__ = ("message", "reconnect_delay")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RECONNECT_DELAY_FIELD_NUMBER: _ClassVar[int]
    message: str
    reconnect_delay: _duration_pb2.Duration
    def __init__(self, message: _Optional[str] = ..., reconnect_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ListInstancesRequest(_message.Message):
    __slots__ = ("namespace", "machine_id", "status", "page_size", "page_token", "view", "state_ids", "tags", "labels", "filter")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    MACHINE_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    STATE_IDS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    machine_id: str
    status: _types_pb2.InstanceStatus
    page_size: int
    page_token: str
    view: _types_pb2.InstanceView
    state_ids: _containers.RepeatedScalarFieldContainer[str]
    tags: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.ScalarMap[str, str]
    filter: str
    def __init__(self, namespace: _Optional[str] = ..., machine_id: _Optional[str] = ..., status: _Optional[_Union[_types_pb2.InstanceStatus, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., view: _Optional[_Union[_types_pb2.InstanceView, str]] = ..., state_ids: _Optional[_Iterable[str]] = ..., tags: _Optional[_Iterable[str]] = ..., labels: _Optional[_Mapping[str, str]] = ..., filter: _Optional[str] = ...) -> None: ...

class ListInstancesResponse(_message.Message):
    __slots__ = ("instances", "next_page_token")
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    instances: _containers.RepeatedCompositeFieldContainer[_types_pb2.InstanceState]
    next_page_token: str
    def __init__(self, instances: _Optional[_Iterable[_Union[_types_pb2.InstanceState, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListJournalRequest(_message.Message):
    __slots__ = ("instance", "page_size", "page_token", "newest_first")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIRST_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.InstanceRef
    page_size: int
    page_token: str
    newest_first: bool
    def __init__(self, instance: _Optional[_Union[_types_pb2.InstanceRef, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., newest_first: _Optional[bool] = ...) -> None: ...

class ListJournalResponse(_message.Message):
    __slots__ = ("entries", "next_page_token")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[_types_pb2.JournalEntry]
    next_page_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[_types_pb2.JournalEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
