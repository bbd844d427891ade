"""One GET to the upstream, in bounded time and memory."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import NamedTuple, Self

import aiohttp
from yarl import URL

from gateway.core.error_body import readable_request_id
from gateway.core.errors import UPSTREAM_RESPONSE_TOO_LARGE, UPSTREAM_TIMEOUT, GatewayError
from gateway.core.status import is_page, read_error
from gateway.reliability.progress import Progress, no_request_id
from gateway.reliability.timeouts import PatientTimeout
from gateway.upstream.bodies import read_at_most, read_error_body
from gateway.upstream.connections import KeptConnections, Lease, lease_connection
from gateway.upstream.faults import CONNECTING, to_gateway_error
from gateway.upstream.session import open_session
from gateway.upstream.tls import UpstreamTls

_log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """A page that arrived whole.

    Attributes:
        body: Decompressed.
        content_range: The Content-Range header, if there was one.
        request_id: Returns the upstream's name for the request, should the page turn out to be none.
    """

    body: bytes | bytearray
    content_range: str | None
    request_id: Callable[[], str]


class StaleConnectionError(GatewayError):
    """No byte of an answer came over a kept connection: it says nothing of the upstream, which may have forgotten it.

    The cause is UPSTREAM_CONNECTION_LOST, or UPSTREAM_TIMEOUT where the connection was silent.
    """


class HeldUpError(GatewayError):
    """The time of a request ended while the gateway itself stood still: it says nothing of the upstream."""


class UpstreamClient:
    """A pool of connections to one origin.

    Nothing is shared between calls but connections, and those only between calls of the same owner.

    Args:
        origin: `http(s)://host[:port]`.
        tls: How connections to it are secured.
        attempt_timeout: Seconds one request may take.
        max_response_bytes: Largest body, decompressed.
        most_idle: Connections that are kept without a request.
        on_discarded: Called for each kept connection on which something arrived that nobody had asked for.
    """

    def __init__(
        self,
        origin: str,
        tls: UpstreamTls,
        *,
        attempt_timeout: float,
        max_response_bytes: int,
        most_idle: int = 100,
        on_discarded: Callable[[], None] = lambda: None,
    ) -> None:
        self._origin = origin
        self._tls = tls
        self._attempt_timeout = attempt_timeout
        self._max_response_bytes = max_response_bytes
        self._most_idle = most_idle
        self._on_discarded = on_discarded

    @property
    def origin(self) -> str:
        """Where it is."""
        return self._origin

    async def __aenter__(self) -> Self:
        """Open the session; it belongs to the running event loop."""
        self._session = open_session(KeptConnections(self._most_idle, self._on_discarded))
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
        owner: int = 0,
        fresh: bool = False,
    ) -> Answer:
        """Send one request and return its page.

        Args:
            target: Path and query, sent as they are, byte for byte.
            headers: What signs the request in, and names the call.
            secrets: Texts that no message may show.
            progress: Told how far the request has come, and the status and the request id of its answer.
            owner: Whose connections it may use.
            fresh: Whether it must not go over a kept connection.

        Raises:
            StaleConnectionError: A kept connection was lost or silent before the answer began.
            HeldUpError: The gateway stood still for so long that nobody can tell.
            GatewayError: The answer is an error, is no answer, or did not come in time.
        """
        progress.phase, progress.request_id = "headers", no_request_id
        lease = lease_connection(owner, fresh=fresh)
        try:
            return await self._request_in_time(target, headers, secrets, progress, lease)
        except GatewayError as error:
            error.upstream_request_id = error.upstream_request_id or progress.request_id()
            raise

    async def _request_in_time(
        self, target: str, headers: Mapping[str, str], secrets: tuple[str, ...], progress: Progress, lease: Lease
    ) -> Answer:
        attempt = PatientTimeout(asyncio.get_running_loop().time() + self._attempt_timeout)
        try:
            with attempt:
                return await self._request(target, headers, secrets, progress, attempt)
        except aiohttp.ClientError as error:
            fault = to_gateway_error(error, progress.phase)
            if fault.phase in CONNECTING:
                _log.debug("no connection to the upstream (%s): %s", fault.phase, error)
            is_held_up = lease.held_up and isinstance(error, aiohttp.ConnectionTimeoutError)
            kind = HeldUpError if is_held_up else StaleConnectionError if lease.is_unheard else GatewayError
            raise kind(fault.cause, phase=fault.phase, detail=fault.detail) from error
        except TimeoutError as error:
            kind = HeldUpError if attempt.was_late else StaleConnectionError if lease.is_unheard else GatewayError
            raise kind(UPSTREAM_TIMEOUT, phase=progress.phase) from error

    async def _request(
        self,
        target: str,
        headers: Mapping[str, str],
        secrets: tuple[str, ...],
        progress: Progress,
        attempt: PatientTimeout,
    ) -> Answer:
        url = URL(self._origin + target, encoded=True)
        async with self._session.get(
            url,
            headers=headers,
            allow_redirects=False,
            ssl=self._tls.current(),
        ) as response:
            progress.phase, progress.timings.status = "body", response.status
            progress.request_id = partial(readable_request_id, response.headers.get("X-Request-Id"), secrets)
            if is_page(response.status):
                body = await self._read_page(response)
                return Answer(body, response.headers.get("Content-Range"), progress.request_id)
            attempt.stop()  # a refusal is one from here on, and its body has a time of its own
            raise await _read_error(response, secrets, min(attempt.when, progress.deadline().at))

    async def _read_page(self, response: aiohttp.ClientResponse) -> bytes | bytearray:
        body = await read_at_most(response, self._max_response_bytes)
        if body is None:
            raise GatewayError(UPSTREAM_RESPONSE_TOO_LARGE, http_status=response.status, phase="body")
        return body


async def _read_error(response: aiohttp.ClientResponse, secrets: tuple[str, ...], ends: float) -> GatewayError:
    return read_error(
        response.status,
        await read_error_body(response, ends),
        request_id=response.headers.get("X-Request-Id", ""),
        retry_after=response.headers.get("Retry-After", ""),
        now=time.time(),
        secrets=secrets,
    )
