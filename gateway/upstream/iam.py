"""One request for a token to the cloud's identity service, IAM."""

from __future__ import annotations

import asyncio
import time

import aiohttp
from yarl import URL

from gateway.core.errors import UPSTREAM_MALFORMED_RESPONSE, UPSTREAM_TIMEOUT, GatewayError
from gateway.core.iam import SUBJECT_TOKEN_HEADER, TOKENS_PATH, IamUser, IssuedToken, read_issued_token
from gateway.core.status import read_error
from gateway.upstream.faults import to_gateway_error
from gateway.upstream.session import open_session, read_at_most
from gateway.upstream.tls import UpstreamTls

# It holds a catalog of the cloud's services.
MAX_BODY_BYTES = 1024 * 1024
# Calls wait for a token only where there is none, and no longer than their own time.
TIMEOUT = 10.0


class IamClient:
    """Asks IAM for tokens.

    Args:
        origin: IAM's scheme, host and port.
        user: Who signs in.
        tls: How the connection is secured.
    """

    def __init__(self, origin: str, user: IamUser, tls: UpstreamTls) -> None:
        self._url = URL(origin + TOKENS_PATH, encoded=True)
        self._user = user
        self._tls = tls

    async def fetch_token(self) -> IssuedToken:
        """Ask for a token.

        Raises:
            GatewayError: The answer is an error, is no answer, or did not come in time.
        """
        phase = "headers"
        try:
            # Hours lie between two requests: no connection is kept for the next.
            async with (
                asyncio.timeout(TIMEOUT),
                open_session() as session,
                session.post(
                    self._url,
                    data=self._user.request(),
                    headers={"Content-Type": "application/json;charset=utf8"},
                    allow_redirects=False,
                    ssl=self._tls.current(),
                ) as response,
            ):
                phase = "body"
                body = await read_at_most(response.content, MAX_BODY_BYTES)
                return self._read(response, body)
        except aiohttp.ClientError as error:
            raise to_gateway_error(error, phase) from error
        except TimeoutError as error:
            raise GatewayError(UPSTREAM_TIMEOUT, phase=phase) from error

    def _read(self, response: aiohttp.ClientResponse, body: bytes | None) -> IssuedToken:
        if response.status == 201 and body is not None:
            return read_issued_token(response.headers.get(SUBJECT_TOKEN_HEADER, ""), body, time.time())
        if response.status < 300:
            raise GatewayError(UPSTREAM_MALFORMED_RESPONSE, http_status=response.status, phase="body")
        raise read_error(
            response.status,
            body or b"",
            retry_after=response.headers.get("Retry-After", ""),
            now=time.time(),
            secrets=(self._user.password,),
        )
