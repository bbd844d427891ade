"""What the upstream says in an error's body, in any of the seven shapes that are known of it.

1  [{"errorCode": "SVCSTG.SWR.4001035", "errorMessage": "..", "detail": ""}]      SWR, documented
2  {"errors": [{"errorCode": "..", "errorMessage": ".."}]}                         SWR
3  {"errorCode": "..", "errorMessage": ".."}, also with errorMsg                   SWR
4  {"error_code": "APIGW.0301", "error_msg": "..", "request_id": ".."}             API gateway
5  {"error": {"code": 401, "message": "..", "title": ".."}}                        IAM
6  {"errors": [{"code": "DENIED", "message": ".."}]}                               registry data plane
7  HTML, plain text, nothing                                                       proxies
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.core.json_text import REFUSED, forgiving
from gateway.core.masking import MASK, mask, shows

MAX_BODY_BYTES = 16 * 1024
MAX_MESSAGE_CHARACTERS = 256

_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,31}(?:\.[A-Z0-9_]{1,31}){0,3}", re.ASCII)
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_CODE_KEYS = ("errorCode", "error_code", "code")
_MESSAGE_KEYS = ("errorMessage", "errorMsg", "error_msg", "message")

# A text that shows the upstream's inside is no message for a caller: HTML, or a traceback of Python, Java or Go.
_UNFIT = re.compile(r"<[a-zA-Z!/]|Traceback \(most recent|^[ \t]{0,40}at [\w.$/@]+\(|goroutine \d+", re.MULTILINE)
# Tokens are long runs of base64; a text may repeat one in part.
_TOKEN_LIKE = re.compile(r"[A-Za-z0-9+/=_-]{100,}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

_decode = forgiving(msgspec.json.Decoder().decode)


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The upstream's own code, text and name of the request; empty where it gave none that can be shown."""

    code: str = ""
    message: str = ""
    request_id: str = ""


def read_error_body(body: bytes, secrets: tuple[str, ...] = ()) -> ErrorBody:
    """Read what can be read; bodies over 16 KiB and of no known shape say nothing.

    Args:
        body: The answer's body.
        secrets: Texts to mask, should the upstream repeat them.
    """
    if len(body) > MAX_BODY_BYTES:
        return ErrorBody()
    try:
        # A text that was cut in the middle of a character is still worth its code.
        error = _find_error(_decode(body.decode(errors="replace").encode()))
    except REFUSED:  # shape 7
        return ErrorBody()
    return ErrorBody(
        code=_unless_secret(_first_text(error, _CODE_KEYS, _CODE), secrets),
        message=_clean(_first_text(error, _MESSAGE_KEYS), secrets),
        request_id=readable_request_id(error.get("request_id"), secrets),
    )


def readable_request_id(value: object, secrets: tuple[str, ...]) -> str:
    """Return the upstream's name of a request, or nothing where it is no name that can be passed on."""
    return _unless_secret(value, secrets) if isinstance(value, str) and _REQUEST_ID.fullmatch(value) else ""


def _unless_secret(text: str, secrets: tuple[str, ...]) -> str:
    """Return a text, or nothing where it shows a secret."""
    return "" if shows(text, secrets) else text


def _find_error(value: Any) -> dict[str, Any]:
    """Unwrap lists and the keys `error` and `errors`, which hold one error in all shapes seen."""
    for _ in range(3):
        if isinstance(value, list) and value:
            value = value[0]
        elif isinstance(value, dict) and isinstance(inner := value.get("errors", value.get("error")), (list, dict)):
            value = inner
    return value if isinstance(value, dict) else {}


def _first_text(error: dict[str, Any], keys: tuple[str, ...], pattern: re.Pattern[str] | None = None) -> str:
    for key in keys:
        text = error.get(key)
        if isinstance(text, str) and text and (pattern is None or pattern.fullmatch(text)):
            return text
    return ""


def _clean(text: str, secrets: tuple[str, ...]) -> str:
    if _UNFIT.search(text):
        return ""
    text = _TOKEN_LIKE.sub(MASK, _CONTROL.sub(" ", mask(text, secrets))).strip()
    return text if len(text) <= MAX_MESSAGE_CHARACTERS else text[: MAX_MESSAGE_CHARACTERS - 1] + "…"
