"""Whom the embedded upstream lets in: by token, by a token of its own identity service, or by signature."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

from gateway.core.iam_messages import SUBJECT_TOKEN_HEADER
from gateway.core.json_text import REFUSED
from gateway.core.signature import ALGORITHM, DATE_FORMAT, DATE_HEADER, sign

# As the cloud's API gateway has them.
CLOCK_SKEW = 15 * 60.0
FAILURES_TO_LOCK = 5
LOCKED_FOR = 5 * 60.0
# What ended so long ago is no token any more.
FORGOTTEN_AFTER = 3600.0


@dataclass(frozen=True, slots=True)
class Access:
    """Who is let in; everyone, where nothing is said.

    Attributes:
        token: Whoever sends this X-Auth-Token.
        access_key: Whoever signs with this key.
        secret_key: What belongs to it.
        security_token: What belongs to it if it is a temporary one.
        username: Whoever sends a token that was issued to this user.
        password: The user's.
        token_life: Seconds for which an issued token is good, as its answer says.
        token_dies: Seconds after which it is refused all the same; 0 for never.
        token_size: Characters of an issued token.
    """

    token: str = ""
    access_key: str = ""
    secret_key: str = ""
    security_token: str = ""
    username: str = ""
    password: str = ""
    token_life: float = 24 * 3600.0
    token_dies: float = 0.0
    token_size: int = 12_000

    @property
    def is_open(self) -> bool:
        """Whether everyone is let in."""
        return not (self.token or self.access_key or self.username)


@dataclass(slots=True)
class Authenticator:
    """Lets requests in or says why not, and issues tokens.

    Args:
        access: Who is let in.
        now: Seconds since 1970.
    """

    access: Access
    now: Callable[[], float] = time.time
    _issued: dict[str, float] = field(default_factory=dict)
    _failures: int = 0
    _locked_until: float = 0.0

    def refusal(self, request: web.Request) -> str:
        """Return why a request is not let in, in the words of the API gateway; nothing if it is."""
        access, headers = self.access, request.headers
        if access.is_open:
            return ""
        if access.access_key and headers.get("Authorization", "").startswith(ALGORITHM):
            return self._refusal_of_signature(request)
        token = headers.get("X-Auth-Token", "")
        if access.token and _same(token, access.token):
            return ""
        if token in self._issued:
            return "token expires" if self.now() >= self._issued[token] else ""
        return "decrypt token fail"

    def issue(self, body: bytes) -> web.Response:
        """Answer a request for a token."""
        try:
            user = msgspec.json.decode(body)["auth"]["identity"]["password"]["user"]
            known = (user["name"], user["password"]) == (self.access.username, self.access.password)
        except (*REFUSED, LookupError, TypeError):
            return _iam_error(400, "Bad Request", "Request parameter is invalid.")
        if not known or not self.access.username:
            return _iam_error(401, "Unauthorized", "The username or password is wrong.")
        now = self.now()
        token = secrets.token_urlsafe(self.access.token_size)[: self.access.token_size]
        self._issued = {token: ends for token, ends in self._issued.items() if ends > now - FORGOTTEN_AFTER}
        self._issued[token] = now + (self.access.token_dies or self.access.token_life)
        told = {
            "expires_at": _iam_time(now + self.access.token_life),
            "issued_at": _iam_time(now),
            "methods": ["password"],
        }
        return web.Response(
            status=201,
            body=msgspec.json.encode({"token": told}),
            content_type="application/json",
            headers={SUBJECT_TOKEN_HEADER: token},
        )

    def revoke(self) -> None:
        """Let no token that was issued so far live any longer."""
        self._issued = dict.fromkeys(self._issued, self.now())

    def _refusal_of_signature(self, request: web.Request) -> str:
        """Return why a signature is refused; a key that signed wrongly too often in a row is locked."""
        if self.now() < self._locked_until:
            return "AK access failed to reach the limit,forbidden"
        refusal = self._fault_of_signature(request)
        self._failures = self._failures + 1 if refusal else 0
        if self._failures >= FAILURES_TO_LOCK:
            self._failures, self._locked_until = 0, self.now() + LOCKED_FOR
        return refusal

    def _fault_of_signature(self, request: web.Request) -> str:
        told = _read_authorization(request.headers["Authorization"])
        names = told.get("SignedHeaders", "").split(";")
        # Whatever the client chose to sign: the date has to be there, the host need not.
        headers = {name: request.headers.get(name, "") for name in names if name}
        try:
            date = datetime.strptime(headers[DATE_HEADER.lower()], DATE_FORMAT).replace(tzinfo=UTC)
        except (LookupError, ValueError):
            return "x-sdk-date is missing or unreadable"
        if abs(date.timestamp() - self.now()) > CLOCK_SKEW:
            return "signature expired"
        if told.get("Access") != self.access.access_key:
            return "AK does not exist"
        if request.headers.get("X-Security-Token", "") != self.access.security_token:
            return "the security token does not belong to the AK"
        try:
            expected = sign(self.access.secret_key, request.method, request.raw_path, headers).value
        except UnicodeEncodeError:  # a header that is no text
            return "verify aksk signature fail"
        return "" if _same(told.get("Signature", ""), expected) else "verify aksk signature fail"


def _same(sent: str, expected: str) -> bool:
    """Compare in constant time; aiohttp keeps bytes that are no text as surrogates."""
    return secrets.compare_digest(sent.encode(errors="surrogateescape"), expected.encode())


def _read_authorization(value: str) -> Mapping[str, str]:
    """Take `SDK-HMAC-SHA256 Access=.., SignedHeaders=..;.., Signature=..` apart."""
    pairs = (part.strip().partition("=") for part in value.removeprefix(ALGORITHM).split(","))
    return {key: content for key, _, content in pairs}


def _iam_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _iam_error(status: int, title: str, message: str) -> web.Response:
    body: Any = {"error": {"code": status, "message": message, "title": title}}
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
