"""What the upstream is shown of who asks: one credential is asked for the headers of one request."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from gateway.core.errors import CREDENTIAL_MISSING, CREDENTIAL_UNREADABLE, GatewayError

TOKEN_HEADER = "X-Auth-Token"
CALLER_TOKEN = "x-auth-token"

_log = logging.getLogger(__name__)


class Credential(Protocol):
    """A way to sign in to the upstream."""

    async def headers(self, target: str, metadata: Mapping[str, str]) -> Mapping[str, str]:
        """Return the headers that sign one request in.

        Args:
            target: Path and query of the request, as they will be sent.
            metadata: The caller's metadata.

        Raises:
            GatewayError: No credential can be had: the caller's fault or the gateway's.
        """
        ...


class NoCredential:
    """For an upstream that wants none: the embedded one, or a proxy that signs in by itself."""

    async def headers(self, target: str, metadata: Mapping[str, str]) -> Mapping[str, str]:
        """Return no headers."""
        return {}


class CallerToken:
    """The caller's own token, from the metadata of the call and for that call only."""

    async def headers(self, target: str, metadata: Mapping[str, str]) -> Mapping[str, str]:
        """Return the caller's token; CREDENTIAL_MISSING where there is none."""
        token = metadata.get(CALLER_TOKEN, "")
        if not is_token(token):
            raise GatewayError(CREDENTIAL_MISSING)
        return {TOKEN_HEADER: token}


class StaticToken:
    """One token for all calls, given at start."""

    def __init__(self, token: str) -> None:
        self._headers = {TOKEN_HEADER: token}

    async def headers(self, target: str, metadata: Mapping[str, str]) -> Mapping[str, str]:
        """Return the token."""
        return self._headers


class TokenFile:
    """One token for all calls, from a file that is read again when it changes.

    Secret mounts swap a symbolic link, so it is the file behind the path that is compared. A file that became
    unreadable or empty leaves the last good token in use.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._headers: Mapping[str, str] = {}
        self._trouble = ""

    async def headers(self, target: str, metadata: Mapping[str, str]) -> Mapping[str, str]:
        """Return the file's token; CREDENTIAL_SOURCE_UNAVAILABLE where there has been none yet."""
        trouble = self._refresh()
        if trouble and trouble != self._trouble:
            # The path and the kind of trouble, never what the file holds; once, not for every call.
            _log.error("token file %s: %s", self._path, trouble)
        self._trouble = trouble
        if not self._headers:
            raise GatewayError(CREDENTIAL_UNREADABLE)
        return self._headers

    def _refresh(self) -> str:
        """Read the file if it changed; return what is wrong with it, or nothing."""
        try:
            # Microseconds on a local file: cheaper than handing it to a thread.
            stat = self._path.stat()
            version = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if version == self._version:
                return ""
            token = self._path.read_text(encoding="ascii").strip()
        except OSError as error:
            return error.strerror or "cannot be read"
        except UnicodeDecodeError:
            token = ""
        if not is_token(token):
            return "holds no token"
        self._headers, self._version = {TOKEN_HEADER: token}, version
        return ""


def is_token(text: str) -> bool:
    """Tell whether a text can be sent as a header's value: visible ASCII, no blanks, not empty."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
