"""From a failure to what a caller receives, and that it always fits into the trailers."""

from __future__ import annotations

import base64
import string
from urllib.parse import quote

import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2
from google.rpc.status_pb2 import Status
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import INVALID_REQUEST, UPSTREAM_TIMEOUT, Cause, GatewayError, Violation
from gateway.core.filter import read_list_request
from gateway.core.rpc_status import RpcStatus, to_rpc_status
from gateway.core.status import find_cause, read_error
from gateway.swr.v1.repos_pb2 import ListReposRequest, RepoFilter

REQUEST_ID = "0123456789abcdef" * 2
FAILED = Cause(code_pb2.INTERNAL, "TEST_FAILED", "it failed")
EXHAUSTED = Cause(code_pb2.RESOURCE_EXHAUSTED, "TEST_EXHAUSTED", "it is too much", field="filter", retry_delay=1.0)


def unpacked(status: RpcStatus) -> list[Message]:
    details: list[Message] = []
    for packed in Status.FromString(status.details).details:
        detail = getattr(error_details_pb2, packed.TypeName().rpartition(".")[2])()
        assert packed.Unpack(detail)
        details.append(detail)
    return details


def names(status: RpcStatus) -> list[str]:
    return [detail.DESCRIPTOR.name for detail in unpacked(status)]


def trailer_bytes(status: RpcStatus, request_id: str) -> int:
    """What the trailers take as HTTP/2 counts them, with 32 bytes for each."""
    trailers = {
        "grpc-status": str(status.code),
        "grpc-message": quote(status.message, safe=string.punctuation.replace("%", "") + " "),
        "grpc-status-details-bin": base64.b64encode(status.details).decode(),
        "grpc-retry-pushback-ms": str(status.pushback_ms),
        "x-request-id": request_id,
    }
    return sum(len(name) + len(value) + 32 for name, value in trailers.items())


def test_a_plain_failure_says_its_cause_and_the_request() -> None:
    status = to_rpc_status(GatewayError(FAILED), REQUEST_ID)
    assert (status.code, status.message, status.pushback_ms) == (code_pb2.INTERNAL, "it failed", None)
    assert unpacked(status) == [
        error_details_pb2.ErrorInfo(reason="TEST_FAILED", domain="gateway.swr.v1"),
        error_details_pb2.RequestInfo(request_id=REQUEST_ID),
    ]


def test_the_details_repeat_code_and_message() -> None:
    status = to_rpc_status(GatewayError(FAILED, message="no luck"), REQUEST_ID)
    details = Status.FromString(status.details)
    assert (details.code, details.message) == (status.code, status.message) == (code_pb2.INTERNAL, "no luck")


def test_a_failure_with_everything_says_everything_once() -> None:
    error = GatewayError(
        EXHAUSTED,
        message="too many requests",
        violations=(Violation("limit", "must be from 1 to 1000"),),
        http_status=403,
        upstream_code="SVCSTG.SWR.4031042",
        upstream_request_id="of-the-upstream",
        phase="body",
        retry_delay=2.5,
    )
    status = to_rpc_status(error, REQUEST_ID)
    metadata = {"httpStatus": "403", "upstreamCode": "SVCSTG.SWR.4031042", "phase": "body"}
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(2500)
    assert status.pushback_ms == -1
    assert unpacked(status) == [
        error_details_pb2.ErrorInfo(reason="TEST_EXHAUSTED", domain="gateway.swr.v1", metadata=metadata),
        error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(field="limit", description="must be from 1 to 1000"),
                error_details_pb2.BadRequest.FieldViolation(field="filter", description="too many requests"),
            ]
        ),
        retry,
        error_details_pb2.QuotaFailure(
            violations=[error_details_pb2.QuotaFailure.Violation(subject="upstream", description="too many requests")]
        ),
        error_details_pb2.RequestInfo(request_id=REQUEST_ID, serving_data="of-the-upstream"),
    ]


@pytest.mark.parametrize(
    ("http_status", "expected"),
    [
        (400, ["ErrorInfo", "RequestInfo"]),
        (401, ["ErrorInfo", "RequestInfo"]),
        (416, ["ErrorInfo", "BadRequest", "RequestInfo"]),
        (429, ["ErrorInfo", "RetryInfo", "QuotaFailure", "RequestInfo"]),
        (500, ["ErrorInfo", "RequestInfo"]),
        (502, ["ErrorInfo", "RetryInfo", "RequestInfo"]),
        (503, ["ErrorInfo", "RetryInfo", "RequestInfo"]),
    ],
)
def test_a_status_has_its_details(http_status: int, expected: list[str]) -> None:
    assert names(to_rpc_status(read_error(http_status, b""), REQUEST_ID)) == expected


def test_the_offset_is_blamed_where_it_lies_behind_the_end() -> None:
    _, bad_request, _ = unpacked(to_rpc_status(GatewayError(find_cause(416)), REQUEST_ID))
    assert isinstance(bad_request, error_details_pb2.BadRequest)
    assert [violation.field for violation in bad_request.field_violations] == ["offset"]


def test_the_worst_request_learns_of_every_violation() -> None:
    value = ":|::'\x01" + "x" * 200 + " "
    wanted = RepoFilter(namespace=value, name=value, category=value)
    wanted.MergeFromString(b"\x08\x7f")  # a center that there is not
    with pytest.raises(GatewayError) as raised:
        read_list_request(ListReposRequest(filter=wanted, offset=-1, limit=0))
    assert len(raised.value.violations) == 24
    request_id = "x" * 128
    status = to_rpc_status(raised.value, request_id)
    _, bad_request, *_ = unpacked(status)
    assert isinstance(bad_request, error_details_pb2.BadRequest)
    assert len(bad_request.field_violations) == 24
    assert trailer_bytes(status, request_id) <= 4096


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("x" * 512, "x" * 512),
        ("x" * 513, "x" * 512),
        ("é" * 256, "é" * 256),
        ("x" + "é" * 256, "x" + "é" * 255),
        ("🐬" * 128, "🐬" * 128),
        ("xxx" + "🐬" * 256, "xxx" + "🐬" * 127),
    ],
    ids=["512 bytes", "513 bytes", "fits", "two bytes cut", "four bytes fit", "four bytes cut"],
)
def test_a_message_has_at_most_512_bytes_of_whole_characters(message: str, kept: str) -> None:
    error = GatewayError(EXHAUSTED, message=message)
    status = to_rpc_status(error, REQUEST_ID)
    assert status.message == kept
    _, bad_request, *_ = unpacked(status)
    assert isinstance(bad_request, error_details_pb2.BadRequest)
    assert bad_request.field_violations[0].description == kept


@pytest.mark.parametrize("character", ["x", "%", "\n", "é", "镜", "🐬"])
def test_the_worst_message_with_dozens_of_violations_fits(character: str) -> None:
    violations = tuple(Violation("filter.namespace", character * 100) for _ in range(60))
    error = GatewayError(
        EXHAUSTED,
        message=character * 256,
        violations=violations,
        http_status=429,
        upstream_code="X" * 128,
        upstream_request_id="x" * 128,
        phase="headers",
        retry_delay=86_400.0,
    )
    request_id = "x" * 128
    status = to_rpc_status(error, request_id)
    assert trailer_bytes(status, request_id) <= 4096
    assert names(status)[0] == "ErrorInfo"


def test_what_is_worth_least_is_dropped_first() -> None:
    long, short = "🐬" * 128, "x" * 128
    error = GatewayError(EXHAUSTED, message=long, upstream_code="X" * 128, upstream_request_id=short)
    assert names(to_rpc_status(error, short)) == ["ErrorInfo", "BadRequest", "RetryInfo"]


def test_error_info_stays_whatever_it_takes() -> None:
    assert names(to_rpc_status(GatewayError(EXHAUSTED, upstream_code="X" * 9000), REQUEST_ID)) == ["ErrorInfo"]


@pytest.mark.parametrize(
    ("seconds", "pushback_ms"), [(0.0, 100), (0.0004, 100), (0.1, 100), (1.5, 1500), (86_400.0, 86_400_000)]
)
def test_the_time_to_wait_is_told_in_both_ways(seconds: float, pushback_ms: int) -> None:
    status = to_rpc_status(GatewayError(UPSTREAM_TIMEOUT, retry_delay=seconds), REQUEST_ID)
    assert status.pushback_ms == pushback_ms
    _, retry, _ = unpacked(status)
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToNanoseconds() == round(seconds * 1e9)


@pytest.mark.parametrize("code", sorted({*code_pb2.Code.values()} - {code_pb2.OK, code_pb2.UNAVAILABLE}))
def test_only_unavailable_has_a_pushback_that_clients_would_retry_after(code: int) -> None:
    cause = Cause(code, "TEST_WAIT", "wait", retry_delay=1.0)
    status = to_rpc_status(GatewayError(cause), REQUEST_ID)
    assert status.pushback_ms == -1
    assert "RetryInfo" in names(status)


@pytest.mark.parametrize("cause", [FAILED, EXHAUSTED, UPSTREAM_TIMEOUT], ids=lambda cause: cause.reason)
def test_what_the_gateway_has_retried_is_not_to_be_retried(cause: Cause) -> None:
    error = GatewayError(cause, retry_delay=1.0)
    error.attempts = 2
    assert to_rpc_status(error, REQUEST_ID).pushback_ms == -1


@pytest.mark.parametrize(("remaining", "pushback_ms"), [(None, 2000), (2.1, 2000), (2.0, -1), (0.0, -1)])
def test_a_wait_past_the_callers_deadline_is_no_advice(remaining: float | None, pushback_ms: int) -> None:
    status = to_rpc_status(GatewayError(UPSTREAM_TIMEOUT, retry_delay=2.0), REQUEST_ID, remaining)
    assert status.pushback_ms == pushback_ms
    assert "RetryInfo" in names(status)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=256) | st.sampled_from(["🐬" * 256, "%" * 512])
IDS = st.text(string.ascii_letters + "-_.:", max_size=128)
VIOLATIONS = st.lists(st.builds(Violation, st.sampled_from(["filter.name", "offset"]), TEXTS), max_size=40).map(tuple)


@settings(max_examples=300)
@given(
    st.builds(
        GatewayError,
        st.sampled_from([FAILED, EXHAUSTED, INVALID_REQUEST, *map(find_cause, range(400, 600))]),
        message=TEXTS,
        violations=VIOLATIONS,
        http_status=st.integers(0, 999),
        upstream_code=IDS,
        upstream_request_id=IDS,
        phase=st.sampled_from(["", "dns", "connect", "tls", "headers", "body"]),
        retry_delay=st.none() | st.floats(0, 86_400),
    ),
    IDS,
)
def test_any_failure_fits_and_says_what_it_can(error: GatewayError, request_id: str) -> None:
    status = to_rpc_status(error, request_id)
    assert trailer_bytes(status, request_id) <= 4096
    assert len(status.message.encode()) <= 512
    assert error.message.startswith(status.message)

    info, *others = unpacked(status)
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == (error.cause.reason, "gateway.swr.v1")
    assert info.metadata.keys() <= {"httpStatus", "upstreamCode", "attempts", "phase"}
    assert all(info.metadata.values())

    kinds = [detail.DESCRIPTOR.name for detail in others]
    order = ["BadRequest", "RetryInfo", "QuotaFailure", "RequestInfo"]
    assert kinds == [kind for kind in order if kind in kinds]
    for detail in others:
        if isinstance(detail, error_details_pb2.RetryInfo):
            assert status.pushback_ms is not None
            told = max(detail.retry_delay.ToNanoseconds() / 1e6, 100) if status.code == code_pb2.UNAVAILABLE else -1
            assert abs(told - status.pushback_ms) <= 0.5
