"""Signing each request with an access key, as the cloud's API gateway wants it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from yarl import URL

from gateway.core.signature import DATE_HEADER, sign, write_date
from gateway.credentials.base import IDENTITY_BYTES, AuthHeaders, Credential


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key.

    Attributes:
        name: Its public half, sent with each request.
        secret: The half that signs, never sent.
        security_token: What comes with a temporary key; empty for a permanent one.
        project_id: The project that requests are made in; empty for the region's own.
    """

    name: str = field(repr=False)
    secret: str = field(repr=False)
    security_token: str = field(default="", repr=False)
    project_id: str = ""


class AccessKeySigner(Credential):
    """Signs each request by itself.

    Args:
        key: What to sign with, until it is replaced.
        origin: The upstream's scheme, host and port.
        now: Seconds since 1970. The upstream tolerates 15 minutes of difference to its own clock.
    """

    def __init__(self, key: AccessKey, origin: str, now: Callable[[], float] = time.time) -> None:
        self._host = URL(origin).host_port_subcomponent or ""
        self._now = now
        self._replaced = 0
        self._use(key)

    def replace(self, key: AccessKey) -> None:
        """Sign with another key from now on."""
        self._use(key)
        self._replaced += 1

    def _use(self, key: AccessKey) -> None:
        self._key = key
        # The host is sent as it is signed, rather than left to the HTTP client.
        headers = {"Host": self._host, "X-Project-Id": key.project_id, "X-Security-Token": key.security_token}
        self._headers = {name: value for name, value in headers.items() if value}

    async def auth_headers(self, target: str, metadata: Mapping[str, str]) -> AuthHeaders:
        """Return the signature and the headers that it covers."""
        key = self._key
        headers = {**self._headers, DATE_HEADER: write_date(self._now())}
        signature = sign(key.secret, "GET", target, headers)
        headers["Authorization"] = signature.authorization(key.name)
        return AuthHeaders(headers, (key.name, key.security_token, signature.value))

    def identity(self, metadata: Mapping[str, str]) -> bytes:
        """Return how often the key was replaced: the next one may have other rights."""
        return self._replaced.to_bytes(IDENTITY_BYTES)
