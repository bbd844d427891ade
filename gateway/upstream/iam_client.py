"""One request for a token to the cloud's identity service, IAM."""

from __future__ import annotations

import asyncio
import logging
import time
from http import HTTPStatus

import aiohttp
from yarl import URL

from gateway.core.errors import UPSTREAM_MALFORMED_RESPONSE, UPSTREAM_TIMEOUT, GatewayError
from gateway.core.iam_messages import (
    NO_TOKEN,
    SUBJECT_TOKEN_HEADER,
    TOKENS_PATH,
    IamUser,
    IssuedToken,
    read_issued_token,
)
from gateway.core.status import read_error
from gateway.reliability.timeouts import PatientTimeout
from gateway.upstream.bodies import read_at_most, read_error_body
from gateway.upstream.faults import CONNECTING, to_gateway_error
from gateway.upstream.session import open_session
from gateway.upstream.tls import UpstreamTls

_log = logging.getLogger(__name__)

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
        ends = asyncio.get_running_loop().time() + TIMEOUT
        attempt = PatientTimeout(ends)
        try:
            with attempt:
                # Hours lie between two requests: no connection is kept for the next.
                async with (
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
                    if response.status >= 300:
                        attempt.stop()  # a refusal is one from here on, and its body has a time of its own
                        raise self._refusal(response, await read_error_body(response, ends))
                    return await _read_token(response)
        except aiohttp.ClientError as error:
            fault = to_gateway_error(error, phase)
            if fault.phase in CONNECTING:
                _log.debug("no connection to IAM (%s): %s", fault.phase, error)
            raise fault from error
        except TimeoutError as error:
            raise GatewayError(UPSTREAM_TIMEOUT, phase=phase) from error

    def _refusal(self, response: aiohttp.ClientResponse, body: bytes) -> GatewayError:
        return read_error(
            response.status,
            body,
            retry_after=response.headers.get("Retry-After", ""),
            now=time.time(),
            secrets=(self._user.password,),
        )


async def _read_token(response: aiohttp.ClientResponse) -> IssuedToken:
    body = await read_at_most(response, MAX_BODY_BYTES) if response.status == HTTPStatus.CREATED else None
    if body is None:
        raise GatewayError(UPSTREAM_MALFORMED_RESPONSE, message=NO_TOKEN, http_status=response.status, phase="body")
    return read_issued_token(response.headers.get(SUBJECT_TOKEN_HEADER, ""), bytes(body), time.time())
