"""The one error of the client, and how it is read from what gRPC received."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from swr_gateway_client.faults import LASTING, ConnectionFault, find_fault

_DETAILS: tuple[type[Message], ...] = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.RetryInfo,
    error_details_pb2.RequestInfo,
)
_STATUS = "grpc-status-details-bin"
_PUSHBACK = "grpc-retry-pushback-ms"
_MILLISECONDS = re.compile(r"\d{1,10}", re.ASCII)
_REQUEST_ID = "x-request-id"
# The reason of what the gateway ended because its caller did not read.
SLOW_READER = "SLOW_READER"

# What protobuf raises of bytes that are no message: the second of a text that is no UTF-8, where it is Python alone.
UNREADABLE = (DecodeError, UnicodeDecodeError)

# What gRPC raises: with an event loop, and without.
Failed: TypeAlias = grpc.aio.AioRpcError | grpc.RpcError


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule of a request: the field's path and what it should have been."""

    field: str
    description: str


class CallError(Exception):
    """A call that failed. What the server did not tell is empty.

    Attributes:
        code: The gRPC status.
        message: The status message.
        reason: UPPER_SNAKE_CASE name of the cause, as docs/errors.md of the gateway lists them. Empty where unknown:
            the failure is not the gateway's own, or its details did not arrive.
        metadata: What else is known of the cause, such as `httpStatus` and `upstreamCode`.
        violations: Broken rules of the request, all of them.
        retry_delay: Seconds after which the server deems a new try sensible, 0 or more; None where it named none.
        may_retry: Whether the same call may be made again without a person's decision: the code is UNAVAILABLE, the
            call was broken off on the way, or its messages were not read for too long; and the server did not ask to
            stay away, and it is not TLS that somebody has to set up otherwise.
        connection_fault: Why no connection to the gateway came about; None where one did, and where that is not known.
            Where a name has several addresses, gRPC tells of the last one only. Where a deadline passed, `Client`
            knows NOT_IN_TIME, and `SyncClient` nothing: who wants to know at once why sets `wait_for_ready=False`.
        request_id: The gateway's id of the call, to be quoted to its operators.
        upstream_request_id: The upstream's id of the request behind it, to be quoted to its support.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.reason = ""
        self.metadata: dict[str, str] = {}
        self.violations: tuple[Violation, ...] = ()
        self.retry_delay: float | None = None
        self.may_retry = code is grpc.StatusCode.UNAVAILABLE
        self.connection_fault: ConnectionFault | None = None
        self.request_id = ""
        self.upstream_request_id = ""

    def __str__(self) -> str:
        """Return one line, whatever the message holds."""
        line = f"{self.code.name}: {' '.join(self.message.split())}"
        known = self.reason or (self.connection_fault.value if self.connection_fault else "")
        return f"{line} ({known})" if known else line


def _is_broken_off(failure: CallError) -> bool:
    """Tell whether a call that nobody gave details of ended for a reason that is not its own.

    A gRPC server that stops ends calls that have just arrived with a bare CANCELLED, and a proxy breaks off a stream
    with RST_STREAM where it loses the server. Who cancels a call of one's own gets no status.
    """
    # At the beginning, or inside of "Stream removed (...)".
    is_reset = failure.code is grpc.StatusCode.INTERNAL and "Received RST_STREAM" in failure.message
    return is_reset or failure.code is grpc.StatusCode.CANCELLED


def closed_under_call() -> CallError:
    """Return the error of a call whose client was closed."""
    failure = CallError(grpc.StatusCode.CANCELLED, "the client was closed")
    failure.may_retry = False
    return failure


def unreadable_reply() -> CallError:
    """Return the error of a call that was answered with something else than the protocol has."""
    return CallError(grpc.StatusCode.INTERNAL, "the reply is no message of the protocol")


def to_call_error(error: Failed) -> CallError:
    """Read a failed call. Details that are missing or broken leave their attributes empty."""
    failure = CallError(error.code(), error.details() or "")
    # A tuple of pairs, or a mapping of grpcio's own; the stubs have neither as what dict() takes.
    trailers: dict[str, str | bytes] = dict(cast(Any, error.trailing_metadata()) or ())
    # Where room in the trailers is short, the detail that holds the id is the first one that the gateway drops.
    failure.request_id = str(trailers.get(_REQUEST_ID, ""))
    details = list(_read_details(failure, trailers))
    failure.may_retry |= not details and _is_broken_off(failure)
    for detail in details:
        _apply(detail, failure)
    _apply_pushback(trailers, failure)
    if failure.code is grpc.StatusCode.UNAVAILABLE and not trailers:
        failure.connection_fault = find_fault(failure.message)
        failure.may_retry &= failure.connection_fault not in LASTING
    return failure


def _read_details(failure: CallError, trailers: Mapping[str, str | bytes]) -> Iterator[Message]:
    status = Status()
    try:
        status.ParseFromString(trailers.get(_STATUS, b""))  # type: ignore[arg-type] # names in -bin have bytes
    except UNREADABLE:
        return
    if (status.code, status.message) != (failure.code.value[0], failure.message):
        return  # of another failure: a proxy made this status
    for packed in status.details:
        for kind in _DETAILS:
            if packed.TypeName() == kind.DESCRIPTOR.full_name:
                detail = kind()
                try:
                    packed.Unpack(detail)
                except UNREADABLE:
                    continue
                yield detail


def _apply(detail: Message, failure: CallError) -> None:
    match detail:
        case error_details_pb2.ErrorInfo():
            failure.reason = detail.reason
            failure.may_retry |= detail.reason == SLOW_READER
            failure.metadata = dict(detail.metadata)
        case error_details_pb2.BadRequest():
            failure.violations = tuple(
                Violation(broken.field, broken.description) for broken in detail.field_violations
            )
        case error_details_pb2.RetryInfo():
            # Not by way of a timedelta, which cannot hold all that may stand here.
            _apply_delay(detail.retry_delay.seconds + detail.retry_delay.nanos / 1e9, failure)
        case error_details_pb2.RequestInfo():
            failure.request_id = detail.request_id or failure.request_id
            failure.upstream_request_id = detail.serving_data


def _apply_pushback(trailers: Mapping[str, str | bytes], failure: CallError) -> None:
    """Apply gRPC's own pushback, which wins over RetryInfo; as in gRPC, what is not a number means do not retry."""
    if _PUSHBACK in trailers:
        value = str(trailers[_PUSHBACK])
        _apply_delay(int(value) / 1000 if _MILLISECONDS.fullmatch(value) else -1, failure)


def _apply_delay(seconds: float, failure: CallError) -> None:
    if seconds < 0:
        failure.may_retry = False
    else:
        failure.retry_delay = seconds
