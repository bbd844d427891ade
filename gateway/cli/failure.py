"""How a failed call looks to a person: code, message, reason, violations, when to try again, ids to quote."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

_DETAILS: tuple[type[Message], ...] = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.RetryInfo,
    error_details_pb2.QuotaFailure,
    error_details_pb2.RequestInfo,
)


def describe_failure(error: grpc.aio.AioRpcError) -> str:
    """Return the lines that tell what happened."""
    return "\n".join([f"{error.code().name}: {error.details()}", *_describe_details(error)])


def _describe_details(error: grpc.aio.AioRpcError) -> Iterator[str]:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for packed in status.details if status else ():
        for kind in _DETAILS:
            if packed.Is(kind.DESCRIPTOR):
                detail = kind()
                packed.Unpack(detail)
                yield from _describe(detail)


def _describe(detail: Message) -> Iterator[str]:
    match detail:
        case error_details_pb2.ErrorInfo():
            known = ", ".join(f"{key} {value}" for key, value in sorted(detail.metadata.items()))
            yield f"  reason: {detail.reason}" + (f" ({known})" if known else "")
        case error_details_pb2.BadRequest():
            for violation in detail.field_violations:
                yield f"  {violation.field}: {violation.description}"
        case error_details_pb2.RetryInfo():
            yield f"  try again after: {detail.retry_delay.ToTimedelta().total_seconds():g} s"
        case error_details_pb2.RequestInfo():
            upstream = f", upstream's {detail.serving_data}" if detail.serving_data else ""
            yield f"  request id: {detail.request_id}{upstream}"
