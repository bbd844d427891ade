"""What each exception of the HTTP client means.

aiohttp reports an answer that it cannot parse as a ClientResponseError with a status of its own making, 400: the status
of an exception is never looked at. Only an answer that arrived has an HTTP status.
"""

from __future__ import annotations

import ssl

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

# Phases in which an exception's text is the operating system's or the TLS library's, without filter and headers.
CONNECTING = ("dns", "connect", "tls")

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
    if _is_of_tls(error, phase):
        return GatewayError(UPSTREAM_TLS_FAILED, phase="tls", detail=str(error))
    for kind, cause, fixed_phase in _FAULTS:
        if isinstance(error, kind):
            phase = fixed_phase or phase
            return GatewayError(cause, phase=phase, detail=str(error) if phase in CONNECTING else "")
    raise error


def _is_of_tls(error: aiohttp.ClientError, phase: str) -> bool:
    """Tell whether a broken connection broke in the handshake of TLS, for which aiohttp has no exception of its own.

    A server that refuses our certificate says so after the handshake, as TLS 1.3 has it: the alert is what is read in
    place of an answer. One that hangs up in the handshake makes asyncio raise a ConnectionResetError without a number.
    """
    match error:
        case aiohttp.ClientConnectorError():
            return isinstance(error.os_error, ConnectionResetError) and error.os_error.errno is None
        case aiohttp.ClientOSError():
            return isinstance(error.__cause__, ssl.SSLError) and phase == "headers"
        case _:
            return False
