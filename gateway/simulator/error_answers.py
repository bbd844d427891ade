"""Errors of the embedded upstream, in the shapes and words that clients of SWR have met."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec
from aiohttp import web

REQUEST_ID = web.RequestKey("request_id", str)

_encode = msgspec.json.Encoder().encode


class Shape(StrEnum):
    """How an error's body looks."""

    LIST = "list"
    ERRORS = "errors"
    FLAT = "flat"
    APIGW = "apigw"
    IAM = "iam"
    REGISTRY = "registry"
    HTML = "html"
    EMPTY = "empty"


class Rejection(StrEnum):
    """How HTTP 401 looks for a token that is no good: in the words of whoever looks at it."""

    EXPIRES = "expires"
    SWR = "swr"
    MUST_BE_UPDATED = "must-be-updated"
    INCORRECT = "incorrect"
    DECRYPT = "decrypt"
    INVALID = "invalid"
    UNAUTHORIZED = "unauthorized"
    KEYSTONE = "keystone"
    HTML = "html"
    EMPTY = "empty"


# Code, text and shape of each.
_REJECTIONS: dict[Rejection, tuple[str, str, Shape]] = {
    Rejection.EXPIRES: ("APIGW.0301", "Incorrect IAM authentication information: token expires", Shape.APIGW),
    Rejection.SWR: ("SVCSTG.SWR.4010000", "The token has expired.", Shape.LIST),
    Rejection.MUST_BE_UPDATED: ("APIGW.0307", "The token must be updated.", Shape.APIGW),
    Rejection.INCORRECT: ("APIG.0305", "Incorrect authentication information", Shape.APIGW),
    Rejection.DECRYPT: ("APIGW.0301", "Incorrect IAM authentication information: decrypt token fail", Shape.APIGW),
    Rejection.INVALID: ("", "Invalid token.", Shape.IAM),
    Rejection.UNAUTHORIZED: ("", "Unauthorized", Shape.REGISTRY),
    Rejection.KEYSTONE: ("", "The request you have made requires authentication.", Shape.IAM),
    Rejection.HTML: ("", "", Shape.HTML),
    Rejection.EMPTY: ("", "", Shape.EMPTY),
}


def error_response(status: int, code: str, message: str, shape: Shape, request: web.Request) -> web.Response:
    """Answer with an error."""
    if status in (204, 304) or shape is Shape.EMPTY:
        return web.Response(status=status)
    if shape is Shape.HTML:
        text = f"<html><body><h1>{status}</h1></body></html>"
        return web.Response(status=status, text=text, content_type="text/html")
    bodies: dict[Shape, Any] = {
        Shape.LIST: [{"errorCode": code, "errorMessage": message, "detail": ""}],
        Shape.ERRORS: {"errors": [{"errorCode": code, "errorMessage": message}]},
        Shape.FLAT: {"errorCode": code, "errorMsg": message},
        Shape.APIGW: {"error_code": code, "error_msg": message, "request_id": request[REQUEST_ID]},
        Shape.IAM: {"error": {"code": status, "message": message, "title": "Error"}},
        Shape.REGISTRY: {"errors": [{"code": "DENIED", "message": message}]},
    }
    return web.Response(status=status, body=_encode(bodies[shape]), content_type="application/json")


def rejection_response(rejection: Rejection, request: web.Request) -> web.Response:
    """Answer that a token is no good."""
    return error_response(401, *_REJECTIONS[rejection], request)
