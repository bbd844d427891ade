"""What the upstream says in an error's body, in all of its shapes, and what of it is fit to be shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.error_body import MAX_BODY_BYTES, ErrorBody, read_error_body, readable_request_id

DATA = Path(__file__).parent / "data"
CAPTURED = {entry["label"]: entry["body"] for entry in json.loads((DATA / "error_bodies.json").read_text())}
NOTHING = ErrorBody()

SAID = {
    "docs bare array": ErrorBody("SVCSTG.SWR.4001035", "Invalid filter"),
    "errors object (terraform jmespath errors|[0].errorCode)": ErrorBody("SVCSTG.SWR.4001158", "x"),
    "flat errorCode/errorMessage (terraform errorCode)": ErrorBody("SVCSTG.SWR.4001090", "x"),
    "flat errorCode/errorMsg": ErrorBody("SVCSTG.SWR.4001090", "x"),
    "error_code/error_msg": ErrorBody("SVCSTG.SWR.4000014", "Invalid param"),
    "apigw 401": ErrorBody(
        "APIGW.0301",
        "Incorrect IAM authentication information: decrypt token fail",
        "2db4dab3ea3849bcb47b6478738635bd",
    ),
    "apigw 404": ErrorBody(
        "APIGW.0101",
        "The API does not exist or has not been published in the environment",
        "50525e844a57c5f9d849bc34753f7070",
    ),
    "iam 401": ErrorBody("", "The username or password is wrong."),
    "registry 401": ErrorBody("DENIED", "Authenticate Error"),
    "apigw 429": ErrorBody(
        "APIGW.0308",
        "The throttling threshold has been reached: policy user over ratelimit,limit:100,time:1 minute",
        "d58d1fe6196832aebb76f1c43c169128",
    ),
}

SHAPES: dict[str, tuple[Any, ErrorBody]] = {
    "1, a list of errors": ([{"errorCode": "A.1", "errorMessage": "text", "detail": ""}], ErrorBody("A.1", "text")),
    "2, errors in an object": ({"errors": [{"errorCode": "A.1", "errorMessage": "text"}]}, ErrorBody("A.1", "text")),
    "3, flat": ({"errorCode": "A.1", "errorMessage": "text"}, ErrorBody("A.1", "text")),
    "3, flat, errorMsg": ({"errorCode": "A.1", "errorMsg": "text"}, ErrorBody("A.1", "text")),
    "4, API gateway": ({"error_code": "A.1", "error_msg": "text", "request_id": "r"}, ErrorBody("A.1", "text", "r")),
    "5, IAM": ({"error": {"code": 401, "message": "text", "title": "Unauthorized"}}, ErrorBody("", "text")),
    "6, data plane": ({"errors": [{"code": "DENIED", "message": "text"}]}, ErrorBody("DENIED", "text")),
    "the first of several errors": ([{"errorCode": "A.1"}, {"errorCode": "A.2"}], ErrorBody("A.1")),
    "the first text that is one": ({"errorMessage": "", "error_msg": None, "message": "text"}, ErrorBody("", "text")),
    "the first code that is one": ({"errorCode": 7, "error_code": "no code", "code": "A.1"}, ErrorBody("A.1")),
    "a text in `error`": ({"error": "text", "message": "other"}, ErrorBody("", "other")),
    "keys of no shape": ({"fault": "text"}, NOTHING),
    "an empty list": ([], NOTHING),
    "an empty list of errors": ({"errors": []}, NOTHING),
    "a list of texts": (["text"], NOTHING),
    "null": (None, NOTHING),
    "a text": ("text", NOTHING),
    "a number": (404, NOTHING),
    "a nest that no shape has": ([[[[{"errorCode": "A.1"}]]]], NOTHING),
    "wrong types": ({"errorCode": ["A.1"], "errorMessage": {"a": "b"}, "request_id": 7}, NOTHING),
}

NO_JSON = {
    "nothing": b"",
    "blanks": b" \r\n",
    "HTML": b"<html><body>502 Bad Gateway</body></html>",
    "plain text": b"upstream connect error or disconnect/reset before headers",
    "cut off": b'{"errorCode":"A.1","errorMessage":"te',
    "a BOM": b'\xef\xbb\xbf{"errorMessage":"text"}',
    "NaN": b'{"errorMessage":"text","x":NaN}',
    "a bottomless nest": b"[" * MAX_BODY_BYTES,
}

CUT = {
    "half a surrogate pair": rb'{"errorCode":"A.1","errorMessage":"cut \ud83d"}',
    "the other half": rb'[{"errorCode":"A.1","errorMessage":"cut \ude00","detail":"\ud83d"}]',
    "half a character of UTF-8": b'{"errorCode":"A.1","errorMessage":"cut \xe9\x95"}',
    "another charset": '{"errorCode":"A.1","errorMessage":"cut \xe9"}'.encode("latin-1"),
}

UNFIT_MESSAGES = {
    "HTML": "<html><body>502 Bad Gateway</body></html>",
    "HTML in the middle": "proxy says: <P>go away</P>",
    "a closing tag": "go away</p>",
    "a doctype": "<!DOCTYPE html>",
    "a traceback of Python": 'Traceback (most recent call last):\n  File "app.py", line 1, in <module>\nKeyError: 1',
    "a stack of Java": "java.lang.IllegalStateException: x\n\tat com.acme.Repo.list(Repo.java:42)",
    "a stack of Java modules": "java.lang.Error\n\tat java.base/java.util.Optional.get(Optional.java:143)",
    "a stack of Go": "panic: x\n\ngoroutine 17 [running]:\nmain.main()\n\t/src/main.go:5 +0x1d",
}

CLEANED_MESSAGES = {
    "as it is": ("Invalid filter", "Invalid filter"),
    "other scripts": ("无效的过滤条件 🐬", "无效的过滤条件 🐬"),
    "what only looks like HTML": ("limit < 1 or > 1000, a<1", "limit < 1 or > 1000, a<1"),
    "a word of stacks": ("look at Repo.list(1)", "look at Repo.list(1)"),
    "line breaks": ("one\r\ntwo\nthree", "one two three"),
    "tabs and NUL": ("one\t\0two", "one two"),
    "escapes of terminals": ("\x1b[31mred\x9b0m", "[31mred 0m"),
    "delete and C1": ("a\x7fb\x85c", "a b c"),
    "line separators": ("a\u2028b\u2029c", "a b c"),
    "blanks at the ends": ("\n text \t", "text"),
    "nothing but controls": ("\r\n", ""),
    "256 characters": ("x " * 127 + "xx", "x " * 127 + "xx"),
    "256 characters of four bytes": ("🐬" * 256, "🐬" * 256),
    "257 characters": ("🐬" * 257, "🐬" * 255 + "…"),
    "thousands of characters": ("x " * 5000, "x " * 127 + "x…"),
    "99 characters in a run": ("a" * 99, "a" * 99),
    "100 characters in a run": (f"token {'a1+/=_-' * 20} is bad", "token *** is bad"),
    "a run over the cut": ("x " * 100 + "a" * 5000, "x " * 100 + "***"),
}

SECRETS = ("s3cr3t", "MIIC.t0ken")

REPEATED_SECRETS = {
    "once": ("bad token s3cr3t", "bad token ***"),
    "twice": ("s3cr3t is not s3cr3t", "*** is not ***"),
    "inside a word": ("Xs3cr3tX", "X***X"),
    "several": ("s3cr3t and MIIC.t0ken", "*** and ***"),
    "over the cut": ("x " * 126 + "s3cr3t", "x " * 126 + "***"),
    "behind the cut": ("x " * 200 + "s3cr3t", "x " * 127 + "x…"),
}


def read_message(message: str, secrets: tuple[str, ...] = ()) -> str:
    return read_error_body(json.dumps({"error_msg": message}).encode(), secrets).message


@pytest.mark.parametrize("label", CAPTURED)
def test_a_captured_body_is_understood(label: str) -> None:
    assert read_error_body(CAPTURED[label].encode()) == SAID.get(label, NOTHING)


@pytest.mark.parametrize(("body", "said"), SHAPES.values(), ids=SHAPES)
def test_every_shape_is_understood(body: Any, said: ErrorBody) -> None:
    assert read_error_body(json.dumps(body).encode()) == said


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json_says_nothing(body: bytes) -> None:
    assert read_error_body(body) == NOTHING


@pytest.mark.parametrize("body", CUT.values(), ids=CUT)
def test_a_text_that_was_cut_in_a_character_keeps_its_code(body: bytes) -> None:
    assert read_error_body(body) == ErrorBody("A.1", "cut \ufffd")


def test_a_body_over_16_kib_says_nothing() -> None:
    body = b'{"errorCode":"A.1","errorMessage":"text"}'
    assert read_error_body(body.ljust(16 * 1024)) == ErrorBody("A.1", "text")
    assert read_error_body(body.ljust(16 * 1024 + 1)) == NOTHING


@pytest.mark.parametrize("message", UNFIT_MESSAGES.values(), ids=UNFIT_MESSAGES)
def test_a_text_that_shows_the_upstreams_inside_is_dropped(message: str) -> None:
    body = json.dumps({"errorCode": "A.1", "errorMessage": message}).encode()
    assert read_error_body(body) == ErrorBody("A.1")


@pytest.mark.parametrize(("message", "shown"), CLEANED_MESSAGES.values(), ids=CLEANED_MESSAGES)
def test_a_text_is_cleaned_and_cut(message: str, shown: str) -> None:
    assert read_message(message) == shown


@pytest.mark.parametrize(("message", "shown"), REPEATED_SECRETS.values(), ids=REPEATED_SECRETS)
def test_a_secret_is_masked(message: str, shown: str) -> None:
    assert read_message(message, SECRETS) == shown


@pytest.mark.parametrize("secrets", [("s3cr3t", "s3cr3t-and-more"), ("s3cr3t-and-more", "s3cr3t")])
def test_a_secret_that_begins_another_leaves_nothing_of_it(secrets: tuple[str, ...]) -> None:
    assert read_message("bad token s3cr3t-and-more", secrets) == "bad token ***"


@pytest.mark.parametrize("code", ["A", "DENIED", "APIGW.0301", "SVCSTG.SWR.4001035", "A_B.C_1.2", "A" * 32])
def test_a_code_is_passed_on(code: str) -> None:
    assert read_error_body(json.dumps({"errorCode": code}).encode()).code == code


@pytest.mark.parametrize(
    "code", ["", "1", "a.1", "A.", ".A", "A..1", "A 1", "A.1\n", "A-1", "Ä.1", "A.1.2.3.4", "A" * 33, "A." + "1" * 32]
)
def test_what_is_no_code_is_not_passed_on(code: str) -> None:
    assert read_error_body(json.dumps({"errorCode": code}).encode()).code == ""


@pytest.mark.parametrize("name", ["r", "50525e844a57c5f9d849bc34753f7070", "a-b_c.d:e", "x" * 128])
def test_a_name_of_a_request_is_passed_on(name: str) -> None:
    assert readable_request_id(name, ()) == name


@pytest.mark.parametrize("name", ["", "a b", "a\n", "é", "<b>", "x" * 129, None, 7, ["r"]])
def test_what_is_no_name_of_a_request_is_not_passed_on(name: object) -> None:
    assert readable_request_id(name, ()) == ""


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=2000))
def test_a_shown_text_is_short_and_plain(message: str) -> None:
    shown = read_message(message)
    assert len(shown) <= 256
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in shown)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "errors", "code", "message", "request_id", "errorCode"]), inner)
    ),
)


@given(st.binary() | JSON.map(lambda body: json.dumps(body).encode()))
def test_no_body_is_too_odd(body: bytes) -> None:
    said = read_error_body(body)
    assert len(said.message) <= 256
    assert len(said.request_id) <= 128
