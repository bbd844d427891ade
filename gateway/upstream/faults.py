"""What each exception of the HTTP client means.

aiohttp reports an answer that it cannot parse as a ClientResponseError with a status of its own making, 400: the status
of an exception is never looked at. Only an answer that arrived has an HTTP status.
"""

from __future__ import annotations

import aiohttp

from gateway.core.errors import (
    UPSTREAM_CONNECTION_LOST,
    UPSTREAM_PROTOCOL,
    UPSTREAM_TLS_FAILED,
    UPSTREAM_TLS_UNTRUSTED,
    UPSTREAM_UNREACHABLE,
    Cause,
    GatewayError,
)

# Most specific first. An empty phase is the one that the request was in.
_FAULTS: tuple[tuple[type[aiohttp.ClientError], Cause, str], ...] = (
    (aiohttp.ClientConnectorDNSError, UPSTREAM_UNREACHABLE, "dns"),
    (aiohttp.ClientConnectorCertificateError, UPSTREAM_TLS_UNTRUSTED, "tls"),
    (aiohttp.ClientConnectorSSLError, UPSTREAM_TLS_FAILED, "tls"),
    (aiohttp.ConnectionTimeoutError, UPSTREAM_UNREACHABLE, "connect"),
    (aiohttp.ClientConnectorError, UPSTREAM_UNREACHABLE, "connect"),
    (aiohttp.ClientConnectionError, UPSTREAM_CONNECTION_LOST, ""),
    (aiohttp.ClientPayloadError, UPSTREAM_CONNECTION_LOST, "body"),
    (aiohttp.ClientResponseError, UPSTREAM_PROTOCOL, ""),
)


def to_gateway_error(error: aiohttp.ClientError, phase: str) -> GatewayError:
    """Return what an exception of the HTTP client means for the caller.

    Args:
        error: The exception.
        phase: How far the request had come: `headers` or `body`.

    Raises:
        aiohttp.ClientError: The exception itself, where it stands for no fault of the upstream: a bug of ours.
    """
    for kind, cause, fixed_phase in _FAULTS:
        if isinstance(error, kind):
            return GatewayError(cause, phase=fixed_phase or phase)
    raise error
