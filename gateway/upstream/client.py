"""One GET to the upstream, in bounded time and memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from gateway.core.errors import UPSTREAM_RESPONSE_TOO_LARGE, UPSTREAM_TIMEOUT, GatewayError
from gateway.core.status import is_page, read_error
from gateway.reliability.progress import Progress
from gateway.upstream.bodies import read_at_most, read_error_body
from gateway.upstream.faults import to_gateway_error
from gateway.upstream.session import open_session
from gateway.upstream.tls import UpstreamTls


@dataclass(frozen=True, slots=True)
class Answer:
    """A page that arrived whole: the body, decompressed, and the Content-Range header if there was one."""

    body: bytes
    content_range: str | None


class UpstreamClient:
    """A pool of connections to one origin.

    Nothing is shared between calls but connections.

    Args:
        origin: `http(s)://host[:port]`.
        tls: How connections to it are secured.
        attempt_timeout: Seconds one request may take.
        max_response_bytes: Largest body, decompressed.
    """

    def __init__(
        self,
        origin: str,
        tls: UpstreamTls,
        *,
        attempt_timeout: float,
        max_response_bytes: int,
    ) -> None:
        self._origin = origin
        self._tls = tls
        self._attempt_timeout = attempt_timeout
        self._max_response_bytes = max_response_bytes

    @property
    def origin(self) -> str:
        """Where it is."""
        return self._origin

    async def __aenter__(self) -> Self:
        """Open the session; it belongs to the running event loop."""
        self._session = open_session()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(
        self,
        target: str,
        *,
        headers: Mapping[str, str],
        secrets: tuple[str, ...],
        progress: Progress,
    ) -> Answer:
        """Send one request and return its page.

        Args:
            target: Path and query, sent as they are, byte for byte.
            headers: What signs the request in, and names the call.
            secrets: Texts that no message may show.
            progress: Told how far the request has come, and the status of its answer.

        Raises:
            GatewayError: The answer is an error, is no answer, or did not come in time.
        """
        progress.phase = "headers"
        ends = asyncio.get_running_loop().time() + self._attempt_timeout
        try:
            async with asyncio.timeout_at(ends) as attempt:
                url = URL(self._origin + target, encoded=True)
                async with self._session.get(
                    url,
                    headers=headers,
                    allow_redirects=False,
                    ssl=self._tls.current(),
                ) as response:
                    progress.phase, progress.status = "body", response.status
                    if is_page(response.status):
                        return await self._read_page(response)
                    attempt.reschedule(None)  # a refusal is one from here on, and its body has a time of its own
                    raise await _read_error(response, secrets, min(ends, progress.deadline().at))
        except aiohttp.ClientError as error:
            raise to_gateway_error(error, progress.phase) from error
        except TimeoutError as error:
            raise GatewayError(UPSTREAM_TIMEOUT, phase=progress.phase) from error

    async def _read_page(self, response: aiohttp.ClientResponse) -> Answer:
        body = await read_at_most(response, self._max_response_bytes)
        if body is None:
            raise GatewayError(UPSTREAM_RESPONSE_TOO_LARGE, http_status=response.status, phase="body")
        return Answer(body, response.headers.get("Content-Range"))


async def _read_error(response: aiohttp.ClientResponse, secrets: tuple[str, ...], ends: float) -> GatewayError:
    return read_error(
        response.status,
        await read_error_body(response, ends),
        request_id=response.headers.get("X-Request-Id", ""),
        retry_after=response.headers.get("Retry-After", ""),
        now=time.time(),
        secrets=secrets,
    )
