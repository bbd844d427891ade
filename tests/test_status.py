"""What an answer that is not a page means, status by status and code by code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from google.rpc import code_pb2

from gateway.core import errors, status
from gateway.core.error_body import MAX_BODY_BYTES, read_error_body
from gateway.core.errors import Cause
from gateway.core.status import find_cause, is_page, read_error

DATA = Path(__file__).parent / "data"
ERROR_BODIES = json.loads((DATA / "error_bodies.json").read_text())
DOCUMENTED = json.loads((DATA / "swr_error_codes.json").read_text())

PAGES = {200, 206}
STATUSES = [99, *range(100, 600), 600, 999]

# The gRPC code and the reason of every status. Later lines refine earlier ones.
EXPECTED = {
    **dict.fromkeys((99, *range(100, 200), *range(200, 300), 600, 999), ("INTERNAL", "UPSTREAM_PROTOCOL")),
    204: ("INTERNAL", "UPSTREAM_MALFORMED_RESPONSE"),
    **dict.fromkeys(range(300, 400), ("INTERNAL", "UPSTREAM_REDIRECT")),
    **dict.fromkeys(range(400, 500), ("UNKNOWN", "UPSTREAM_UNEXPECTED_STATUS")),
    400: ("INVALID_ARGUMENT", "UPSTREAM_INVALID_ARGUMENT"),
    401: ("UNAUTHENTICATED", "UPSTREAM_CREDENTIAL_REJECTED"),
    403: ("PERMISSION_DENIED", "UPSTREAM_PERMISSION_DENIED"),
    404: ("NOT_FOUND", "UPSTREAM_NOT_FOUND"),
    405: ("INTERNAL", "UPSTREAM_REJECTED_REQUEST"),
    406: ("INTERNAL", "UPSTREAM_REJECTED_REQUEST"),
    407: ("INTERNAL", "UPSTREAM_INTERCEPTED"),
    408: ("UNAVAILABLE", "UPSTREAM_TIMEOUT"),
    409: ("ABORTED", "UPSTREAM_CONFLICT"),
    411: ("INTERNAL", "UPSTREAM_REJECTED_REQUEST"),
    412: ("FAILED_PRECONDITION", "UPSTREAM_PRECONDITION"),
    413: ("INTERNAL", "UPSTREAM_REJECTED_REQUEST"),
    414: ("INTERNAL", "UPSTREAM_REJECTED_REQUEST"),
    415: ("INTERNAL", "UPSTREAM_REJECTED_REQUEST"),
    416: ("OUT_OF_RANGE", "UPSTREAM_OFFSET_OUT_OF_RANGE"),
    417: ("INTERNAL", "UPSTREAM_REJECTED_REQUEST"),
    418: ("INTERNAL", "UPSTREAM_REJECTED_REQUEST"),
    422: ("INVALID_ARGUMENT", "UPSTREAM_INVALID_ARGUMENT"),
    423: ("UNAVAILABLE", "UPSTREAM_BUSY"),
    425: ("UNAVAILABLE", "UPSTREAM_BUSY"),
    426: ("INTERNAL", "UPSTREAM_REJECTED_REQUEST"),
    428: ("INTERNAL", "UPSTREAM_REJECTED_REQUEST"),
    429: ("RESOURCE_EXHAUSTED", "UPSTREAM_RATE_LIMITED"),
    431: ("INTERNAL", "UPSTREAM_REJECTED_REQUEST"),
    451: ("PERMISSION_DENIED", "UPSTREAM_LEGAL_BLOCK"),
    499: ("UNAVAILABLE", "UPSTREAM_UNAVAILABLE"),
    **dict.fromkeys(range(500, 600), ("INTERNAL", "UPSTREAM_UNEXPECTED_STATUS")),
    500: ("INTERNAL", "UPSTREAM_INTERNAL"),
    501: ("UNIMPLEMENTED", "UPSTREAM_UNIMPLEMENTED"),
    502: ("UNAVAILABLE", "UPSTREAM_UNAVAILABLE"),
    503: ("UNAVAILABLE", "UPSTREAM_UNAVAILABLE"),
    504: ("UNAVAILABLE", "UPSTREAM_GATEWAY_TIMEOUT"),
    505: ("INTERNAL", "UPSTREAM_REJECTED_REQUEST"),
    506: ("INTERNAL", "UPSTREAM_REJECTED_REQUEST"),
    507: ("RESOURCE_EXHAUSTED", "UPSTREAM_STORAGE_EXHAUSTED"),
    508: ("INTERNAL", "UPSTREAM_REJECTED_REQUEST"),
    510: ("INTERNAL", "UPSTREAM_REJECTED_REQUEST"),
    511: ("INTERNAL", "UPSTREAM_INTERCEPTED"),
}

INVALID = ("INVALID_ARGUMENT", "UPSTREAM_INVALID_ARGUMENT")
REJECTED = ("UNAUTHENTICATED", "UPSTREAM_CREDENTIAL_REJECTED")
DENIED = ("PERMISSION_DENIED", "UPSTREAM_PERMISSION_DENIED")
LIMITED = ("RESOURCE_EXHAUSTED", "UPSTREAM_RATE_LIMITED")
NOT_FOUND = ("NOT_FOUND", "UPSTREAM_NOT_FOUND")
MISCONFIGURED = ("INTERNAL", "UPSTREAM_MISCONFIGURED")

# Codes that say more than their status: the status they come with, what they mean, and the field they blame.
TELLING = {
    "SVCSTG.SWR.4000014": (400, INVALID, ""),
    "SVCSTG.SWR.4001025": (400, INVALID, ""),
    "SVCSTG.SWR.4000055": (400, INVALID, "filter"),
    "SVCSTG.SWR.4000056": (400, INVALID, "limit"),
    "SVCSTG.SWR.4001028": (400, INVALID, "filter.namespace"),
    "SVCSTG.SWR.4009010": (400, INVALID, "filter.namespace"),
    "SVCSTG.SWR.4001029": (400, INVALID, "filter.name"),
    "SVCSTG.SWR.4009011": (400, INVALID, "filter.name"),
    "SVCSTG.SWR.4001035": (400, INVALID, "filter"),
    "SVCSTG.SWR.4009014": (400, INVALID, "filter"),
    "SVCSTG.SWR.4000031": (400, REJECTED, ""),
    "SVCSTG.SWR.4001048": (400, REJECTED, ""),
    "SVCSTG.SWR.4031043": (403, REJECTED, ""),
    "SVCSTG.SWR.4010000": (401, REJECTED, ""),
    "SVCSTG.S2I.4019000": (401, REJECTED, ""),
    "APIGW.0301": (401, REJECTED, ""),
    "APIGW.0305": (401, REJECTED, ""),
    "APIGW.0307": (401, REJECTED, ""),
    "SVCSTG.SWR.4011044": (401, DENIED, ""),
    "SVCSTG.SWR.4011064": (401, DENIED, ""),
    "SVCSTG.SWR.4039001": (403, DENIED, ""),
    "SVCSTG.SWR.4039002": (403, DENIED, ""),
    "SVCSTG.SWR.4037017": (403, DENIED, ""),
    "SVCSTG.SWR.4037018": (403, DENIED, ""),
    "SVCSTG.SWR.4037019": (403, DENIED, ""),
    "SVCSTG.SWR.4037020": (403, DENIED, ""),
    "SVCSTG.SWR.4030170": (403, DENIED, ""),
    "SVCSTG.SWR.4031032": (403, LIMITED, ""),
    "SVCSTG.SWR.4031042": (403, LIMITED, ""),
    "APIGW.0308": (429, LIMITED, ""),
    "SVCSTG.SWR.4031033": (403, ("UNAVAILABLE", "UPSTREAM_UNAVAILABLE"), ""),
    "SVCSTG.SWR.4090023": (409, ("UNAVAILABLE", "UPSTREAM_BUSY"), ""),
    "SVCSTG.SWR.5001076": (500, ("UNAVAILABLE", "UPSTREAM_UNAVAILABLE"), ""),
    "SVCSTG.SWR.4040009": (404, NOT_FOUND, ""),
    "SVCSTG.SWR.4040058": (404, NOT_FOUND, ""),
    "SVCSTG.SWR.4041061": (404, NOT_FOUND, ""),
    "SVCSTG.SWR.4040083": (404, MISCONFIGURED, ""),
}
# Of the API gateway's own set-up, with whatever error they come: no caller can mend it.
ROUTING = ("APIGW.0101", "APIGW.0103", "APIGW.0104", "APIGW.0105", "APIGW.0106", "APIGW.0607")
TELLING |= dict.fromkeys(ROUTING, (404, MISCONFIGURED, ""))

CODES = {entry["code"]: entry["status"] for entry in DOCUMENTED["codes"] + DOCUMENTED["seen_elsewhere"]}
ALL_CODES = sorted(CODES.keys() | TELLING.keys())


def meaning(http_status: int, upstream_code: str = "") -> tuple[str, str]:
    cause = find_cause(http_status, upstream_code)
    return code_pb2.Code.Name(cause.code), cause.reason


def test_only_200_and_206_promise_a_page() -> None:
    assert {http_status for http_status in STATUSES if is_page(http_status)} == PAGES


@pytest.mark.parametrize("http_status", [number for number in STATUSES if number not in PAGES])
def test_a_status_has_one_meaning(http_status: int) -> None:
    assert meaning(http_status) == EXPECTED[http_status]
    error = read_error(http_status, b"")
    assert error.cause == find_cause(http_status)
    assert error.http_status == http_status
    assert error.message == error.cause.message != ""


@pytest.mark.parametrize("code", TELLING)
def test_a_telling_code_counts_more_than_any_status_of_its_class(code: str) -> None:
    http_status, expected, field = TELLING[code]
    statuses = range(500, 600) if http_status >= 500 else range(400, 500)
    assert {meaning(number, code) for number in statuses} == {expected}
    assert find_cause(http_status, code).field == field


@pytest.mark.parametrize("code", ROUTING)
@pytest.mark.parametrize("http_status", [400, 404, 500])
def test_a_request_that_the_api_gateway_cannot_route_is_not_the_callers_fault(http_status: int, code: str) -> None:
    assert meaning(http_status, code) == MISCONFIGURED


@pytest.mark.parametrize("code", [code for code in TELLING if code.startswith("APIGW.")])
def test_the_api_gateways_codes_mean_the_same_in_both_spellings(code: str) -> None:
    short = code.replace("APIGW.", "APIG.")
    assert [meaning(number, short) for number in STATUSES] == [meaning(number, code) for number in STATUSES]
    error = read_error(400, f'{{"error_code":"{short}","error_msg":"text"}}'.encode())
    assert (error.cause.reason, error.upstream_code) == (TELLING[code][1][1], short)


@pytest.mark.parametrize("code", ["APIGW", "APIG", "APIGX.0101", "XAPIG.0101", "APIG.APIGW.0101", "0101"])
def test_only_the_two_spellings_are_the_api_gateways(code: str) -> None:
    assert meaning(404, code) == NOT_FOUND


@pytest.mark.parametrize(("code", "http_status"), CODES.items())
def test_any_other_documented_code_leaves_the_status_its_meaning(code: str, http_status: int) -> None:
    _, expected, _ = TELLING.get(code, (0, EXPECTED[http_status], ""))
    assert meaning(http_status, code) == expected


@pytest.mark.parametrize("code", ALL_CODES)
def test_no_code_makes_a_failure_of_the_upstream_the_callers(code: str) -> None:
    server_side = {"INTERNAL", "UNAVAILABLE", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED"}
    assert {meaning(http_status, code)[0] for http_status in (*range(500, 600), 600, 999)} <= server_side


@pytest.mark.parametrize("code", ALL_CODES)
def test_no_code_makes_an_error_a_success(code: str) -> None:
    assert "OK" not in {meaning(http_status, code)[0] for http_status in range(400, 500)}


@pytest.mark.parametrize("code", ALL_CODES)
def test_a_code_is_looked_at_only_where_the_status_is_an_error(code: str) -> None:
    no_errors = [number for number in STATUSES if not 400 <= number < 600]
    assert [meaning(number, code) for number in no_errors] == [EXPECTED[number] for number in no_errors]


@pytest.mark.parametrize("code", ["", "DENIED", "SVCSTG.SWR.4999999", "svcstg.swr.4031032", "4031032"])
def test_an_unknown_code_leaves_the_status_its_meaning(code: str) -> None:
    assert meaning(403, code) == DENIED


# Failures that have no HTTP status, or none that can be trusted.
WITHOUT_STATUS = {
    errors.INVALID_REQUEST: ("INVALID_ARGUMENT", "INVALID_REQUEST"),
    errors.UNREADABLE_REQUEST: ("INVALID_ARGUMENT", "UNREADABLE_REQUEST"),
    errors.CREDENTIAL_MISSING: ("UNAUTHENTICATED", "CREDENTIAL_MISSING"),
    errors.DEADLINE_EXCEEDED: ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
    errors.GATEWAY_INTERNAL: ("INTERNAL", "GATEWAY_INTERNAL"),
    errors.GATEWAY_DRAINING: ("UNAVAILABLE", "GATEWAY_DRAINING"),
    errors.CREDENTIAL_UNAVAILABLE: ("UNAVAILABLE", "CREDENTIAL_SOURCE_UNAVAILABLE"),
    errors.UPSTREAM_UNREACHABLE: ("UNAVAILABLE", "UPSTREAM_UNREACHABLE"),
    errors.UPSTREAM_TLS_UNTRUSTED: ("INTERNAL", "UPSTREAM_TLS_UNTRUSTED"),
    errors.UPSTREAM_TLS_FAILED: ("UNAVAILABLE", "UPSTREAM_TLS_FAILED"),
    errors.UPSTREAM_CONNECTION_LOST: ("UNAVAILABLE", "UPSTREAM_CONNECTION_LOST"),
    errors.UPSTREAM_TIMEOUT: ("UNAVAILABLE", "UPSTREAM_TIMEOUT"),
    errors.UPSTREAM_PROTOCOL: ("INTERNAL", "UPSTREAM_PROTOCOL"),
    errors.UPSTREAM_RESPONSE_TOO_LARGE: ("INTERNAL", "UPSTREAM_RESPONSE_TOO_LARGE"),
    errors.UPSTREAM_NO_PROGRESS: ("INTERNAL", "UPSTREAM_NO_PROGRESS"),
    errors.UPSTREAM_MALFORMED_RESPONSE: ("INTERNAL", "UPSTREAM_MALFORMED_RESPONSE"),
}
CAUSES = [cause for module in (errors, status) for cause in vars(module).values() if isinstance(cause, Cause)]


@pytest.mark.parametrize(("cause", "expected"), WITHOUT_STATUS.items(), ids=lambda part: getattr(part, "reason", ""))
def test_a_failure_without_a_status_has_its_meaning(cause: Cause, expected: tuple[str, str]) -> None:
    assert (code_pb2.Code.Name(cause.code), cause.reason) == expected


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.reason)
def test_every_cause_has_a_reason_to_program_by_and_a_text_to_read(cause: Cause) -> None:
    assert re.fullmatch(r"[A-Z][A-Z0-9_]{0,61}[A-Z0-9]", cause.reason)
    assert re.fullmatch(r"[ -~]{10,256}", cause.message)


@pytest.mark.parametrize("code", [code for code, (_, _, field) in TELLING.items() if field])
def test_a_code_that_blames_a_field_reads_as_one_that_does_not(code: str) -> None:
    assert find_cause(400, code).message == "the upstream refused the request"


BODY_MEANINGS = {
    "docs bare array": INVALID,
    "errors object (terraform jmespath errors|[0].errorCode)": INVALID,
    "flat errorCode/errorMessage (terraform errorCode)": INVALID,
    "flat errorCode/errorMsg": INVALID,
    "error_code/error_msg": INVALID,
    "apigw 401": REJECTED,
    "apigw 404": MISCONFIGURED,
    "iam 401": REJECTED,
    "registry 401": REJECTED,
    "apigw 429": LIMITED,
    "html 502": ("UNAVAILABLE", "UPSTREAM_UNAVAILABLE"),
    "empty 500": ("INTERNAL", "UPSTREAM_INTERNAL"),
    "204": ("INTERNAL", "UPSTREAM_MALFORMED_RESPONSE"),
    "302": ("INTERNAL", "UPSTREAM_REDIRECT"),
}
CAPTURED = {
    entry["label"]: (int(entry["http"][:3]), entry["body"])
    for entry in ERROR_BODIES
    if not entry["http"].startswith("200")
}


@pytest.mark.parametrize("label", CAPTURED)
def test_a_captured_error_has_its_meaning(label: str) -> None:
    http_status, body = CAPTURED[label]
    error = read_error(http_status, body.encode())
    assert (code_pb2.Code.Name(error.cause.code), error.cause.reason) == BODY_MEANINGS[label]
    assert error.upstream_code == read_error_body(body.encode()).code


def test_an_error_says_all_that_the_upstream_said() -> None:
    error = read_error(429, CAPTURED["apigw 429"][1].encode())
    assert error.message == (
        "The throttling threshold has been reached: policy user over ratelimit,limit:100,time:1 minute"
    )
    assert error.http_status == 429
    assert error.upstream_code == "APIGW.0308"
    assert error.upstream_request_id == "d58d1fe6196832aebb76f1c43c169128"
    assert error.retry_delay == 60


def test_the_header_names_the_request_before_the_body_does() -> None:
    body = b'{"error_code":"APIGW.0301","request_id":"of-the-body"}'
    assert read_error(401, body, request_id="of-the-header").upstream_request_id == "of-the-header"
    assert read_error(401, body, request_id="of two words").upstream_request_id == "of-the-body"
    assert read_error(401, b"", request_id="of two words").upstream_request_id == ""


@pytest.mark.parametrize("http_status", [429, 502, 503])
def test_a_passing_failure_has_a_time_to_wait(http_status: int) -> None:
    assert read_error(http_status, b"").retry_delay == 1
    assert read_error(http_status, b"", retry_after="7").retry_delay == 7
    assert read_error(http_status, b"", retry_after="0").retry_delay == 0
    assert read_error(http_status, b"", retry_after="Thu, 01 Jan 1970 00:01:40 GMT", now=60.0).retry_delay == 40


@pytest.mark.parametrize("http_status", [204, 302, 400, 401, 403, 404, 409, 412, 416, 500, 501])
def test_a_lasting_failure_has_no_time_to_wait(http_status: int) -> None:
    assert read_error(http_status, b"").retry_delay is None
    assert read_error(http_status, b"", retry_after="7").retry_delay is None


@pytest.mark.parametrize("http_status", [204, 302])
def test_the_body_of_what_is_no_error_is_not_looked_at(http_status: int) -> None:
    error = read_error(http_status, b'{"error_code":"APIGW.0301","error_msg":"text","request_id":"id"}')
    assert (error.upstream_code, error.upstream_request_id) == ("", "")
    assert error.message == error.cause.message


def test_a_secret_that_the_upstream_repeats_is_masked() -> None:
    error = read_error(401, b'{"error_msg":"bad token: s3cr3t"}', secrets=("s3cr3t",))
    assert error.message == "bad token: ***"


def test_a_code_or_a_request_id_that_shows_a_secret_is_left_out() -> None:
    body = b'{"error_code":"S3CR3T","error_msg":"bad","request_id":"of-S3CR3T"}'
    error = read_error(401, body, request_id="S3CR3T", secrets=("S3CR3T",))
    assert (error.upstream_code, error.upstream_request_id, error.message) == ("", "", "bad")


def test_a_secret_of_a_few_characters_leaves_words_whole() -> None:
    error = read_error(401, b'{"error_msg":"decrypt token fail"}', secrets=("e",))
    assert error.message == "decrypt token fail"


def test_a_body_too_large_leaves_the_status_its_meaning() -> None:
    body = b'{"error_code":"SVCSTG.SWR.4031042","x":"%b"}' % (b"x" * MAX_BODY_BYTES)
    error = read_error(403, body)
    assert (error.cause.reason, error.upstream_code) == ("UPSTREAM_PERMISSION_DENIED", "")
