"""From a GatewayError to what a caller receives: code, message, google.rpc details, and a hint when to try again.

Everything fits into 4 KiB of trailers: clients drop a call whose metadata passes 8 KiB, and then the error is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2
from google.rpc.status_pb2 import Status

from gateway.core.errors import GatewayError

DOMAIN = "gateway.swr.v1"
MAX_MESSAGE_BYTES = 512
# gRPC clients that are asked to wait for no time at all have been seen to wait for ever.
MIN_PUSHBACK_MS = 100
# Of the 4 KiB, what is left beside the trailers' names and the request id.
MAX_ENCODED_BYTES = 3584


@dataclass(frozen=True, slots=True)
class RpcStatus:
    """A status as it goes out.

    Attributes:
        code: A number of google.rpc.Code.
        message: At most 512 bytes of UTF-8.
        details: A serialized google.rpc.Status, the value of `grpc-status-details-bin`.
        pushback_ms: The value of `grpc-retry-pushback-ms`, which gRPC clients wait for; -1 keeps them from trying
            again, None is no hint.
    """

    code: int
    message: str
    details: bytes
    pushback_ms: int | None


def to_rpc_status(error: GatewayError, request_id: str, remaining: float | None = None) -> RpcStatus:
    """Build the status of a failed call.

    Args:
        error: The failure.
        request_id: The call's id, which the caller can quote.
        remaining: Seconds until the caller's deadline; None where it set none.
    """
    message = _cut(error.message)
    details = [_pack(detail) for detail in _details(error, request_id)]
    status = Status(code=error.cause.code, message=message, details=details)
    while _encoded_size(status) > MAX_ENCODED_BYTES and len(status.details) > 1:
        del status.details[-1]
    return RpcStatus(
        code=error.cause.code,
        message=message,
        details=status.SerializeToString(),
        pushback_ms=_pushback(error, remaining),
    )


def _pushback(error: GatewayError, remaining: float | None) -> int | None:
    """Return the pushback in milliseconds, -1 for "do not retry", None for none.

    -1 where the gateway has retried by itself, for attempts of two layers would multiply; and for a wait that does not
    fit. A code other than UNAVAILABLE has no wait here, but in its RetryInfo: grpc-java retries whatever has one,
    whether the service config lists the code or not.
    """
    delay = error.retry_delay
    if error.attempts > 1:
        return -1
    if delay is None:
        return None
    if error.cause.code != code_pb2.UNAVAILABLE or (remaining is not None and delay >= remaining):
        return -1
    return max(round(delay * 1000), MIN_PUSHBACK_MS)


def _details(error: GatewayError, request_id: str) -> Iterator[Message]:
    """Return the details, most useful first: where room is short the last are left out, and ErrorInfo never."""
    yield error_details_pb2.ErrorInfo(reason=error.cause.reason, domain=DOMAIN, metadata=_metadata(error))
    if violations := list(_field_violations(error)):
        yield error_details_pb2.BadRequest(field_violations=violations)
    if error.retry_delay is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_delay * 1e9))
        yield retry
    if error.cause.code == code_pb2.RESOURCE_EXHAUSTED:
        subject = "upstream" if error.http_status else "gateway"
        violation = error_details_pb2.QuotaFailure.Violation(subject=subject, description=_cut(error.message))
        yield error_details_pb2.QuotaFailure(violations=[violation])
    yield error_details_pb2.RequestInfo(request_id=request_id, serving_data=error.upstream_request_id)


def _metadata(error: GatewayError) -> dict[str, str]:
    known = {
        "httpStatus": str(error.http_status or ""),
        "upstreamCode": error.upstream_code,
        "attempts": str(error.attempts or ""),
        "phase": error.phase,
    }
    return {key: value for key, value in known.items() if value}


def _field_violations(error: GatewayError) -> Iterator[error_details_pb2.BadRequest.FieldViolation]:
    for violation in error.violations:
        yield error_details_pb2.BadRequest.FieldViolation(field=violation.field, description=violation.description)
    if error.cause.field:
        yield error_details_pb2.BadRequest.FieldViolation(field=error.cause.field, description=_cut(error.message))


def _pack(detail: Message) -> Any:
    packed = Any()
    packed.Pack(detail)
    return packed


def _cut(message: str) -> str:
    """Cut to the limit without cutting a character in two."""
    return message.encode()[:MAX_MESSAGE_BYTES].decode(errors="ignore")


def _encoded_size(status: Status) -> int:
    """Bytes on the wire: the message percent-encoded, the details in base64."""
    plain = sum(0x20 <= byte <= 0x7E and byte != 0x25 for byte in status.message.encode())
    return plain + 3 * (len(status.message.encode()) - plain) + (status.ByteSize() + 2) // 3 * 4
