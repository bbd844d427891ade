"""Tokens that somebody else fetched: the caller, or who starts the gateway."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from gateway.core.errors import CREDENTIAL_MISSING, GatewayError
from gateway.core.tokens import CALLER_TOKEN, is_token
from gateway.credentials.base import IDENTITY_BYTES, AuthHeaders, Credential, with_token
from gateway.files.reloading import Look, Reloading, read_file
from gateway.metrics import Metrics
from gateway.start_errors import BadFileError

_NOTHING = AuthHeaders()


class TokenHasher:
    """Tells tokens apart by a hash, with a key that no other process has."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def identity(self, token: str) -> bytes:
        """Return 16 bytes that say nothing of a token."""
        return blake2b(token.encode(), digest_size=16, key=self._key).digest()


class NoCredential(Credential):
    """For an upstream that wants none: the embedded one, or a proxy that authenticates by itself."""

    async def auth_headers(self, target: str, metadata: Mapping[str, str]) -> AuthHeaders:
        """Return no headers."""
        return _NOTHING


class CallerToken(Credential):
    """The caller's own token, from the metadata of the call and for that call only."""

    is_callers = True

    def __init__(self) -> None:
        self._hasher = TokenHasher()

    async def auth_headers(self, target: str, metadata: Mapping[str, str]) -> AuthHeaders:
        """Return the caller's token; CREDENTIAL_MISSING where there is none."""
        token = metadata.get(CALLER_TOKEN, "")
        if not is_token(token):
            raise GatewayError(CREDENTIAL_MISSING)
        return with_token(token)

    def identity(self, metadata: Mapping[str, str]) -> bytes:
        """Return a keyed hash of the caller's token, which no other process can compare."""
        return self._hasher.identity(metadata.get(CALLER_TOKEN, ""))


class StaticToken(Credential):
    """One token for all calls, until it is replaced."""

    def __init__(self, token: str) -> None:
        self._auth_headers = with_token(token)
        self._replaced = 0

    def replace(self, token: str) -> None:
        """Send another token from now on."""
        self._auth_headers = with_token(token)
        self._replaced += 1

    async def auth_headers(self, target: str, metadata: Mapping[str, str]) -> AuthHeaders:
        """Return the token."""
        return self._auth_headers

    def identity(self, metadata: Mapping[str, str]) -> bytes:
        """Return how often it was replaced: the next token may have other rights."""
        return self._replaced.to_bytes(IDENTITY_BYTES)


class TokenFile(Credential):
    """One token for all calls, from a file that is read again when it changes.

    Raises:
        BadFileError: The file cannot be read, or holds no token.
    """

    def __init__(self, path: Path, metrics: Metrics) -> None:
        hasher = TokenHasher()

        def load() -> tuple[AuthHeaders, bytes]:
            token = read_token(path)
            return with_token(token), hasher.identity(token)

        self._token = Reloading("token_file", (path,), load, metrics)

    async def auth_headers(self, target: str, metadata: Mapping[str, str]) -> AuthHeaders:
        """Return the file's token."""
        return self._token.current()[0]

    async def renew(self, rejected: AuthHeaders) -> AuthHeaders | None:
        """Return the file's token if it is another one by now; the gateway has no other way to a new one."""
        self._token.look()
        current = self._token.current()[0]
        return None if current == rejected else current

    def identity(self, metadata: Mapping[str, str]) -> bytes:
        """Return a keyed hash of the file's token: the next one may have other rights."""
        return self._token.current()[1]

    def look_at_files(self) -> tuple[Look, ...]:
        """Read the file again if it changed."""
        return (self._token.look(),)


def read_token(path: Path) -> str:
    """Return the token that a file holds, without the blanks around it.

    Raises:
        BadFileError: The file cannot be read, or holds no token.
    """
    token = read_file(path).decode("ascii", errors="replace").strip()
    if not is_token(token):
        raise BadFileError(path, "holds no token: that is visible ASCII without blanks")
    return token
