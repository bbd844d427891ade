"""What all credentials have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType

from gateway.files.reloading import Look

TOKEN_HEADER = "X-Auth-Token"
IDENTITY_BYTES = 16


@dataclass(frozen=True, slots=True)
class AuthHeaders:
    """What signs one request in.

    Attributes:
        headers: To be sent.
        secrets: Texts that are shown to nobody, should the upstream repeat them.
    """

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


class Credential(AbstractAsyncContextManager["Credential"]):
    """A way to authenticate to the upstream, as a context manager: it is at work inside.

    Attributes:
        is_callers: Whether each call brings its own, and each identity has to answer for what it does at the upstream;
            else all calls are one tenant's, whatever the gateway's own token is at the time.
    """

    is_callers = False

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what is at work in the background, if anything is."""

    @abstractmethod
    async def auth_headers(self, target: str, metadata: Mapping[str, str]) -> AuthHeaders:
        """Return what signs one request in.

        Args:
            target: Path and query of the request, as they will be sent.
            metadata: The caller's metadata.

        Raises:
            GatewayError: No credential can be had: the caller's fault or the gateway's.
        """

    def look_at_files(self) -> tuple[Look, ...]:
        """Read files again that changed, if the credential comes from any; may be called from another thread."""
        return ()

    def identity(self, metadata: Mapping[str, str]) -> bytes:
        """Return 16 bytes that stand for the credential of a call, and say nothing of the secret.

        They are a part of the key of what is cached and coalesced, so that it is never given to others. Calls that use
        the gateway's own credential have the same.
        """
        return bytes(IDENTITY_BYTES)

    async def renew(self, rejected: AuthHeaders) -> AuthHeaders | None:
        """Return what to try once more with, now that the upstream rejected one; None if there is nothing.

        Nothing is what there is for a caller's token, which the caller alone can replace, and for an access key, which
        the cloud locks after five rejections in a row.

        Raises:
            GatewayError: There is no credential any more.
        """
        return None


def with_token(token: str) -> AuthHeaders:
    """Return the headers of a token."""
    return AuthHeaders({TOKEN_HEADER: token}, (token,))
