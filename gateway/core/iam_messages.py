"""The messages of the cloud's identity service, IAM: asking for a token by password, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from gateway.core.errors import UPSTREAM_MALFORMED_RESPONSE, GatewayError
from gateway.core.json_text import REFUSED, forgiving
from gateway.core.timestamps import parse_time
from gateway.core.tokens import is_token

TOKENS_PATH = "/v3/auth/tokens"
SUBJECT_TOKEN_HEADER = "X-Subject-Token"

NO_TOKEN = "IAM's answer is not that of a token: check the IAM URL"


class _Token(msgspec.Struct):
    expires_at: str
    issued_at: Any = None


class _Answer(msgspec.Struct):
    token: _Token


_decode = forgiving(msgspec.json.Decoder(_Answer).decode)


@dataclass(frozen=True, slots=True)
class IamUser:
    """Who signs in.

    Attributes:
        name: Of the IAM user.
        password: Theirs.
        domain: Name of the account that the user belongs to.
        project: Name of the project that the token is for, such as `cn-north-4`.
    """

    name: str
    password: str = field(repr=False)
    domain: str
    project: str

    def request(self) -> bytes:
        """Return the body that asks for a token."""
        user = {"name": self.name, "password": self.password, "domain": {"name": self.domain}}
        identity = {"methods": ["password"], "password": {"user": user}}
        return msgspec.json.encode({"auth": {"identity": identity, "scope": {"project": {"name": self.project}}}})


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token, how many seconds it lives from now on, and when it ends, in seconds since 1970."""

    value: str = field(repr=False)
    life: float
    expires_at: float


def read_issued_token(value: str, body: bytes, now: float) -> IssuedToken:
    """Read the answer to the request for a token.

    Where the answer says when the token was issued, its life is reckoned by IAM's clock alone.

    Args:
        value: The X-Subject-Token header.
        body: The answer's body.
        now: Seconds since 1970 by this machine's clock.

    Raises:
        GatewayError: There is no token that is valid for a time.
    """
    try:
        told = _decode(body).token
    except REFUSED as error:
        raise GatewayError(UPSTREAM_MALFORMED_RESPONSE, message=NO_TOKEN) from error
    expires_at = _seconds(told.expires_at)
    issued_at = _seconds(told.issued_at) if isinstance(told.issued_at, str) else None
    if expires_at is None or not is_token(value):
        raise GatewayError(UPSTREAM_MALFORMED_RESPONSE, message="IAM's answer has no token, or not when it ends")
    life = expires_at - (now if issued_at is None else issued_at)
    if life <= 0:
        text = "the token is past its end already: compare this machine's clock to IAM's"
        raise GatewayError(UPSTREAM_MALFORMED_RESPONSE, message=text)
    return IssuedToken(value, life, expires_at)


def is_refusal(error: GatewayError) -> bool:
    """Tell whether IAM refused a sign-in, rather than being unreachable or out of order."""
    return 400 <= error.http_status < 500 and error.http_status not in (408, 425, 429)


def describe(error: GatewayError) -> str:
    """Return why there is no token: in IAM's words, or in those of the cause, which speak of any upstream."""
    if error.message != error.cause.message:
        return error.message
    return error.message.replace("the upstream", "IAM")


def _seconds(text: str) -> float | None:
    time = parse_time(text)
    return None if time is None else time[0] + time[1] / 1e9
