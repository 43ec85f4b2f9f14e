"""What fits into a header, and how it is cut when it does not."""

from __future__ import annotations

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import DebugInfo, ErrorInfo, RetryInfo

from durachart.rpc.status import Code, RpcError, fitting, packed, shortened


def test_an_error_is_a_google_rpc_status() -> None:
    error = RpcError(
        Code.ABORTED, "X", "what happened", metadata={"a": "b"}, retry_after=timedelta(milliseconds=1500)
    )
    status = error.status()
    assert (status.code, status.message) == (10, "what happened")
    info, retry = ErrorInfo(), RetryInfo()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(retry)
    assert (info.reason, info.domain, dict(info.metadata)) == ("X", "durachart.dev", {"a": "b"})
    assert retry.retry_delay == Duration(seconds=1, nanos=500_000_000)
    assert packed(info).type_url == "type.googleapis.com/google.rpc.ErrorInfo"


def test_text_is_cut_between_characters() -> None:
    assert shortened("short", 10) == "short"
    assert shortened("é" * 10, 11) == "é" * 4 + "…"
    assert len(shortened("漢" * 100, 50).encode()) <= 50
    assert shortened("half \ud83d of an emoji", 100) == "half ? of an emoji"


def test_what_does_not_fit_is_left_out_and_what_must_stay_stays() -> None:
    small, large = DebugInfo(detail="x" * 10), DebugInfo(detail="x" * 100)
    assert fitting([small, large, small], 50) == [small, small]
    assert fitting([large, small], 50, always=1) == [large]
    assert fitting([], 50) == []


def test_details_that_are_too_large_never_push_the_reason_out() -> None:
    error = RpcError(Code.INTERNAL, "X", "y", DebugInfo(detail="x" * 100_000))
    assert [type(detail) for detail in error.details] == [ErrorInfo]
