"""What an answer that is not a page means: the upstream's own code first, then its HTTP status.

The tables are data. They are not the table of gRPC's `http-grpc-status-mapping.md`, which is for clients that got no
grpc-status and says itself that servers must not use it: SWR is an application that answers 400 for what a caller did
wrong and 403 for too many requests. Upstream codes: SWR API reference, "Error codes"; API Gateway, "Error codes", which
writes the same numbers as `APIG.` and as `APIGW.`: they are looked up by the longer spelling.
"""

from __future__ import annotations

import re
from dataclasses import replace

from google.rpc import code_pb2

from gateway.core.error_body import read_error_body, readable_request_id
from gateway.core.errors import UPSTREAM_MALFORMED_RESPONSE, UPSTREAM_PROTOCOL, Cause, GatewayError, Retry
from gateway.core.retry_after import read_retry_after

_OK = frozenset({200, 206})

# A wait helps against these alone.
_MAY_PASS = frozenset({code_pb2.UNAVAILABLE, code_pb2.RESOURCE_EXHAUSTED})

# Hints for callers where the upstream names no time to wait.
_SOON = 1.0

INVALID_ARGUMENT = Cause(code_pb2.INVALID_ARGUMENT, "UPSTREAM_INVALID_ARGUMENT", "the upstream refused the request")
CREDENTIAL_REJECTED = Cause(
    code_pb2.UNAUTHENTICATED, "UPSTREAM_CREDENTIAL_REJECTED", "the upstream refused the credential"
)
PERMISSION_DENIED = Cause(
    code_pb2.PERMISSION_DENIED, "UPSTREAM_PERMISSION_DENIED", "the credential may not list these repositories"
)
RATE_LIMITED = Cause(
    code_pb2.RESOURCE_EXHAUSTED,
    "UPSTREAM_RATE_LIMITED",
    "too many requests for the upstream",
    retry_delay=_SOON,
    retry=Retry.IF_RETRY_AFTER,
)
NOT_FOUND = Cause(code_pb2.NOT_FOUND, "UPSTREAM_NOT_FOUND", "the upstream did not find what was asked for")
MISCONFIGURED = Cause(
    code_pb2.INTERNAL,
    "UPSTREAM_MISCONFIGURED",
    "no such API, or one that is set up wrongly: check the URL of the upstream",
)
BUSY = Cause(code_pb2.UNAVAILABLE, "UPSTREAM_BUSY", "the upstream is busy", retry_delay=_SOON, retry=Retry.FREELY)
UNAVAILABLE = Cause(
    code_pb2.UNAVAILABLE,
    "UPSTREAM_UNAVAILABLE",
    "the upstream is not available",
    retry_delay=_SOON,
    retry=Retry.FREELY,
)
TIMED_OUT = Cause(code_pb2.UNAVAILABLE, "UPSTREAM_TIMEOUT", "the upstream gave up waiting", retry=Retry.FREELY)
GATEWAY_TIMED_OUT = Cause(
    code_pb2.UNAVAILABLE,
    "UPSTREAM_GATEWAY_TIMEOUT",
    "a proxy in front of the upstream gave up waiting",
    retry=Retry.ONCE,
)
CONFLICT = Cause(code_pb2.ABORTED, "UPSTREAM_CONFLICT", "the upstream reports a conflict")
PRECONDITION = Cause(
    code_pb2.FAILED_PRECONDITION, "UPSTREAM_PRECONDITION", "the upstream reports a failed precondition"
)
OFFSET_OUT_OF_RANGE = Cause(
    code_pb2.OUT_OF_RANGE, "UPSTREAM_OFFSET_OUT_OF_RANGE", "the offset lies behind the end of the list", field="offset"
)
LEGAL_BLOCK = Cause(code_pb2.PERMISSION_DENIED, "UPSTREAM_LEGAL_BLOCK", "the upstream may not answer for legal reasons")
INTERNAL = Cause(code_pb2.INTERNAL, "UPSTREAM_INTERNAL", "the upstream failed", retry=Retry.ONCE)
UNIMPLEMENTED = Cause(code_pb2.UNIMPLEMENTED, "UPSTREAM_UNIMPLEMENTED", "the upstream does not offer this")
STORAGE_EXHAUSTED = Cause(code_pb2.RESOURCE_EXHAUSTED, "UPSTREAM_STORAGE_EXHAUSTED", "the upstream has no storage left")
REJECTED_REQUEST = Cause(
    code_pb2.INTERNAL, "UPSTREAM_REJECTED_REQUEST", "the upstream does not accept the gateway's request"
)
INTERCEPTED = Cause(code_pb2.INTERNAL, "UPSTREAM_INTERCEPTED", "a proxy or portal answered in place of the upstream")
REDIRECT = Cause(
    code_pb2.INTERNAL, "UPSTREAM_REDIRECT", "the upstream points elsewhere, and redirects are not followed"
)
UNEXPECTED_CLIENT_ERROR = Cause(
    code_pb2.UNKNOWN, "UPSTREAM_UNEXPECTED_STATUS", "the upstream answered with an unexpected HTTP status"
)
UNEXPECTED_SERVER_ERROR = Cause(
    code_pb2.INTERNAL, "UPSTREAM_UNEXPECTED_STATUS", UNEXPECTED_CLIENT_ERROR.message, retry=Retry.ONCE
)

HTTP_STATUSES: dict[int, Cause] = {
    204: UPSTREAM_MALFORMED_RESPONSE,
    400: INVALID_ARGUMENT,
    401: CREDENTIAL_REJECTED,
    403: PERMISSION_DENIED,
    404: NOT_FOUND,
    **dict.fromkeys((405, 406, 411, 413, 414, 415, 417, 418, 426, 428, 431), REJECTED_REQUEST),
    407: INTERCEPTED,
    408: TIMED_OUT,
    409: CONFLICT,
    412: PRECONDITION,
    416: OFFSET_OUT_OF_RANGE,
    422: INVALID_ARGUMENT,
    423: BUSY,
    425: BUSY,
    429: RATE_LIMITED,
    451: LEGAL_BLOCK,
    499: UNAVAILABLE,
    500: INTERNAL,
    501: UNIMPLEMENTED,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: GATEWAY_TIMED_OUT,
    **dict.fromkeys((505, 506, 508, 510), REJECTED_REQUEST),
    507: STORAGE_EXHAUSTED,
    511: INTERCEPTED,
}

# For statuses that have no line of their own, by their first digit.
_STATUS_CLASSES: dict[int, Cause] = {
    3: REDIRECT,
    4: UNEXPECTED_CLIENT_ERROR,
    5: UNEXPECTED_SERVER_ERROR,
}


def _invalid(field: str) -> Cause:
    return replace(INVALID_ARGUMENT, field=field)


# The API gateway's own configuration. Regions answer 400, 404 or 500 for them, and no caller can mend any.
_ROUTING_CODES = dict.fromkeys(
    ("APIGW.0101", "APIGW.0103", "APIGW.0104", "APIGW.0105", "APIGW.0106", "APIGW.0607"), MISCONFIGURED
)

# Codes that say more than their HTTP status does. They refine an answer below 500.
CLIENT_ERROR_CODES: dict[str, Cause] = {
    "SVCSTG.SWR.4000014": INVALID_ARGUMENT,
    "SVCSTG.SWR.4001025": INVALID_ARGUMENT,
    "SVCSTG.SWR.4000055": _invalid("filter"),
    "SVCSTG.SWR.4000056": _invalid("limit"),
    "SVCSTG.SWR.4001028": _invalid("filter.namespace"),
    "SVCSTG.SWR.4009010": _invalid("filter.namespace"),
    "SVCSTG.SWR.4001029": _invalid("filter.name"),
    "SVCSTG.SWR.4009011": _invalid("filter.name"),
    "SVCSTG.SWR.4001035": _invalid("filter"),
    "SVCSTG.SWR.4009014": _invalid("filter"),
    "SVCSTG.SWR.4000031": CREDENTIAL_REJECTED,
    "SVCSTG.SWR.4001048": CREDENTIAL_REJECTED,
    "SVCSTG.SWR.4010000": CREDENTIAL_REJECTED,
    "SVCSTG.SWR.4031043": CREDENTIAL_REJECTED,
    "SVCSTG.S2I.4019000": CREDENTIAL_REJECTED,
    **dict.fromkeys(("APIGW.0301", "APIGW.0305", "APIGW.0307"), CREDENTIAL_REJECTED),
    "SVCSTG.SWR.4011044": PERMISSION_DENIED,
    "SVCSTG.SWR.4011064": PERMISSION_DENIED,
    "SVCSTG.SWR.4030170": PERMISSION_DENIED,
    "SVCSTG.SWR.4037017": PERMISSION_DENIED,
    "SVCSTG.SWR.4037018": PERMISSION_DENIED,
    "SVCSTG.SWR.4037019": PERMISSION_DENIED,
    "SVCSTG.SWR.4037020": PERMISSION_DENIED,
    "SVCSTG.SWR.4039001": PERMISSION_DENIED,
    "SVCSTG.SWR.4039002": PERMISSION_DENIED,
    "SVCSTG.SWR.4031032": RATE_LIMITED,
    "SVCSTG.SWR.4031042": RATE_LIMITED,
    "APIGW.0308": RATE_LIMITED,
    "SVCSTG.SWR.4031033": UNAVAILABLE,
    "SVCSTG.SWR.4090023": BUSY,
    "SVCSTG.SWR.4040009": NOT_FOUND,
    "SVCSTG.SWR.4040058": NOT_FOUND,
    "SVCSTG.SWR.4041061": NOT_FOUND,
    "SVCSTG.SWR.4040083": MISCONFIGURED,
    **_ROUTING_CODES,
}

# From 500 on the upstream is to blame, whatever the body says: no code may turn that into a caller's error.
SERVER_ERROR_CODES: dict[str, Cause] = {
    "SVCSTG.SWR.5001076": UNAVAILABLE,
    **_ROUTING_CODES,
}


def is_page(http_status: int) -> bool:
    """Tell whether an answer's body is a page: only 200 and 206 promise one."""
    return http_status in _OK


def find_cause(http_status: int, upstream_code: str = "") -> Cause:
    """Return the cause that an HTTP status and the upstream's own code stand for.

    Args:
        http_status: Any number that a status line can hold, but for those of `is_page`.
        upstream_code: The code of the answer's body, empty where it has none. It is looked at only where the status
            is an error, and can change the cause only within the blame that the status puts.
    """
    code = re.sub(r"^APIG\.", "APIGW.", upstream_code)
    if 400 <= http_status < 500 and code in CLIENT_ERROR_CODES:
        return CLIENT_ERROR_CODES[code]
    if 500 <= http_status < 600 and code in SERVER_ERROR_CODES:
        return SERVER_ERROR_CODES[code]
    return HTTP_STATUSES.get(http_status) or _STATUS_CLASSES.get(http_status // 100, UPSTREAM_PROTOCOL)


def read_error(
    http_status: int,
    body: bytes,
    *,
    request_id: str = "",
    retry_after: str = "",
    now: float = 0.0,
    secrets: tuple[str, ...] = (),
) -> GatewayError:
    """Turn an answer that is not a page into the error it stands for.

    Args:
        http_status: As for `find_cause`.
        body: The answer's body, empty where it was too large to be looked at.
        request_id: The upstream's X-Request-Id header; the body's own request id stands in for a missing one.
        retry_after: The Retry-After header.
        now: Seconds since 1970, to which a date in Retry-After is compared.
        secrets: Texts that no message may show, even where the upstream repeats them.
    """
    told = read_error_body(body if http_status >= 400 else b"", secrets)
    cause = find_cause(http_status, told.code)
    return GatewayError(
        cause,
        message=told.message,
        http_status=http_status,
        upstream_code=told.code,
        upstream_request_id=readable_request_id(request_id, secrets) or told.request_id,
        retry_delay=read_retry_after(retry_after, told.message, now) if cause.code in _MAY_PASS else None,
    )
