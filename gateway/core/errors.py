"""The one error of the gateway, and the causes that have no HTTP status.

A `Cause` is data: the gRPC code, the reason and the constant text of one kind of failure. Causes that an HTTP status
or an upstream code stands for are in `gateway.core.status`; those that arise on our side of the wire are here.
docs/errors.md lists all of them for callers, and is made of what is said here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from google.rpc import code_pb2


class Retry(Enum):
    """Whether the gateway itself sends a failed request again. All of them are reads: sending again changes nothing."""

    NEVER = auto()
    ONCE = auto()
    FREELY = auto()  # within the settings and the budget
    IF_RETRY_AFTER = auto()  # as FREELY, where the upstream says how long to wait


@dataclass(frozen=True, slots=True)
class Cause:
    """One kind of failure.

    Attributes:
        code: The gRPC status code, a number of google.rpc.Code.
        reason: UPPER_SNAKE_CASE name of the cause, the `reason` of google.rpc.ErrorInfo.
        message: What the caller reads where the upstream has no text of its own.
        field: The request's field that is to blame, as a path like `filter.name`. Empty where none is.
        retry_delay: Seconds after which a new try makes sense where the upstream named none; None where no hint is
            given.
        retry: Whether the gateway sends the request again.
        when: What docs/errors.md says of it, where the message is not enough; settings by the names of their variables.
    """

    code: int
    reason: str
    message: str
    field: str = ""
    retry_delay: float | None = None
    retry: Retry = Retry.NEVER
    when: str = ""


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule of a request: the field's path and what it should have been."""

    field: str
    description: str


class GatewayError(Exception):
    """A failure that has an answer for the caller.

    Args:
        cause: What kind of failure it is.
        message: Text of the upstream's, already cleaned; empty means the cause's own.
        violations: Broken rules of the request, all of them.
        http_status: The upstream's HTTP status, 0 where there was none.
        upstream_code: The upstream's own error code, such as `SVCSTG.SWR.4001035`.
        upstream_request_id: The upstream's name for the request, to be quoted to its support.
        phase: Where in the upstream request it happened: `queue`, `dns`, `connect`, `tls`, `headers` or `body`.
        retry_delay: Seconds the upstream asks to wait.
        detail: What operators read in the log beside the message, and callers do not; nothing of what a value holds.

    Attributes:
        retry_after: Seconds the upstream asks to wait; None where it names none.
        retry_delay: Seconds after which a new try makes sense: the upstream's, else those of the cause.
        attempts: Requests that were sent upstream for the call.
    """

    def __init__(
        self,
        cause: Cause,
        *,
        message: str = "",
        violations: tuple[Violation, ...] = (),
        http_status: int = 0,
        upstream_code: str = "",
        upstream_request_id: str = "",
        phase: str = "",
        retry_delay: float | None = None,
        detail: str = "",
    ) -> None:
        super().__init__(cause.reason)
        self.cause = cause
        self.message = message or cause.message
        self.violations = violations
        self.http_status = http_status
        self.upstream_code = upstream_code
        self.upstream_request_id = upstream_request_id
        self.phase = phase
        self.detail = detail
        self.retry_after = retry_delay
        self.retry_delay = cause.retry_delay if retry_delay is None else retry_delay
        self.attempts = 0

    def copy(self) -> GatewayError:
        """Return the same failure, to be raised elsewhere: an exception's traceback grows with each place."""
        twin = GatewayError(self.cause)
        twin.__dict__.update(self.__dict__)
        return twin


# The caller's side.
INVALID_REQUEST = Cause(
    code_pb2.INVALID_ARGUMENT,
    "INVALID_REQUEST",
    "the request breaks the rules of its fields",
    when="the request breaks a rule; all violations are named, nothing was sent upstream",
)
UNREADABLE_REQUEST = Cause(
    code_pb2.INVALID_ARGUMENT, "UNREADABLE_REQUEST", "the request is not a message of this method"
)
CREDENTIAL_MISSING = Cause(
    code_pb2.UNAUTHENTICATED,
    "CREDENTIAL_MISSING",
    "send the upstream's token as `x-auth-token` metadata",
    when="no `x-auth-token` metadata, with `passthrough`",
)
CALLER_NOT_ALLOWED = Cause(
    code_pb2.PERMISSION_DENIED,
    "CALLER_NOT_ALLOWED",
    "the caller's certificate has none of the names that may call",
    when="the caller's certificate has none of the names of `TLS_ALLOWED_SANS`",
)
DEADLINE_EXCEEDED = Cause(
    code_pb2.DEADLINE_EXCEEDED,
    "DEADLINE_EXCEEDED",
    "the call's deadline passed before the upstream had answered",
    when="the caller's own deadline passed",
)
CALL_CANCELLED = Cause(code_pb2.CANCELLED, "CALL_CANCELLED", "the call was cancelled")
REQUEST_MISSING = Cause(
    code_pb2.INTERNAL, "REQUEST_MISSING", "the call ended without a request message: the method takes exactly one"
)
REQUEST_TIMEOUT = Cause(
    code_pb2.UNAVAILABLE,
    "REQUEST_TIMEOUT",
    "the call's request did not arrive in time",
    when="the request did not arrive within `WRITE_TIMEOUT`",
)
# Not UNAVAILABLE: clients would begin a stream anew by themselves, and alerts take that for a fault of the service.
SLOW_READER = Cause(
    code_pb2.ABORTED,
    "SLOW_READER",
    "the caller did not read: resume behind the last message that was received",
    when="the caller did not take a message within `WRITE_TIMEOUT`, or leaves too many replies on its connection "
    "unread; `next_offset` resumes a stream",
)

# Our side.
GATEWAY_INTERNAL = Cause(
    code_pb2.INTERNAL,
    "GATEWAY_INTERNAL",
    "internal error of the gateway",
    when="a bug of the gateway's; its log has the traceback under the request id",
)
GATEWAY_DRAINING = Cause(code_pb2.UNAVAILABLE, "GATEWAY_DRAINING", "the gateway is shutting down")
GATEWAY_OVERLOADED = Cause(
    code_pb2.RESOURCE_EXHAUSTED,
    "GATEWAY_OVERLOADED",
    "too many calls queue for the upstream, or this one queued for too long",
    retry_delay=1.0,
    when="`MAX_QUEUE` calls wait for an upstream request already, or this one has for `QUEUE_TIMEOUT`",
)
CREDENTIAL_UNAVAILABLE = Cause(
    code_pb2.UNAVAILABLE,
    "CREDENTIAL_SOURCE_UNAVAILABLE",
    "the gateway has no credential for the upstream at this time",
    when="IAM gives no token, and there is no valid one",
)

# The upstream's side: no HTTP status, or none that can be trusted.
UPSTREAM_UNREACHABLE = Cause(
    code_pb2.UNAVAILABLE,
    "UPSTREAM_UNREACHABLE",
    "cannot connect to the upstream",
    retry=Retry.FREELY,
    when="no connection: refused, no such host, or too slow",
)
UPSTREAM_CIRCUIT_OPEN = Cause(
    code_pb2.UNAVAILABLE,
    "UPSTREAM_CIRCUIT_OPEN",
    "circuit breaker open: the upstream failed too often recently",
    when="circuit breaker open: the upstream failed too often recently; `RetryInfo` says until when",
)
UPSTREAM_TLS_UNTRUSTED = Cause(code_pb2.INTERNAL, "UPSTREAM_TLS_UNTRUSTED", "the upstream's certificate is not trusted")
UPSTREAM_TLS_FAILED = Cause(
    code_pb2.UNAVAILABLE, "UPSTREAM_TLS_FAILED", "no TLS connection to the upstream", retry=Retry.ONCE
)
UPSTREAM_CONNECTION_LOST = Cause(
    code_pb2.UNAVAILABLE,
    "UPSTREAM_CONNECTION_LOST",
    "the connection broke before the upstream had answered in full",
    retry=Retry.FREELY,
)
UPSTREAM_TIMEOUT = Cause(
    code_pb2.UNAVAILABLE,
    "UPSTREAM_TIMEOUT",
    "the upstream did not answer in time",
    retry=Retry.FREELY,
    when="no answer within the gateway's own limits, `ATTEMPT_TIMEOUT` and `TIMEOUT`",
)
UPSTREAM_PROTOCOL = Cause(
    code_pb2.INTERNAL,
    "UPSTREAM_PROTOCOL",
    "the upstream's answer is not the HTTP that was asked",
    when="not HTTP, an encoding that was not asked for, or a success that cannot be a list",
)
UPSTREAM_RESPONSE_TOO_LARGE = Cause(
    code_pb2.INTERNAL,
    "UPSTREAM_RESPONSE_TOO_LARGE",
    "the upstream's answer is larger than the gateway's limit",
    when="the body is over `MAX_RESPONSE_BYTES`, or has more than 10,000 rows",
)
UPSTREAM_NO_PROGRESS = Cause(
    code_pb2.INTERNAL,
    "UPSTREAM_NO_PROGRESS",
    "the upstream answers a further page with repositories of earlier ones",
    when="a stream gets no further: a page is full of repositories of earlier ones, and its `Content-Range` does not "
    "say that it is the page that was asked for; or more than 1000 pages in a row bring nothing new though the total "
    "says that more follow",
)
UPSTREAM_MALFORMED_RESPONSE = Cause(
    code_pb2.INTERNAL, "UPSTREAM_MALFORMED_RESPONSE", "the upstream's answer is not a list of repositories"
)
