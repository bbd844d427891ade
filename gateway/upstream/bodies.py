"""Bodies of answers: read within a limit, decompressed, and as far as they come where the status says enough."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import aiohttp

from gateway.core.error_body import MAX_BODY_BYTES
from gateway.core.errors import UPSTREAM_CONNECTION_LOST, UPSTREAM_PROTOCOL, GatewayError
from gateway.core.gunzip import STEP_BYTES, BadGzipError, Gunzip
from gateway.reliability.timeouts import PatientTimeout

LARGE = 2**20
# For what an error says beside its status, at the most.
ERROR_BODY_TIMEOUT = 1.0

_GZIP_NAMES = (["gzip"], ["x-gzip"])  # RFC 9110, section 8.4.1.3: they are the same


async def read_at_most(response: aiohttp.ClientResponse, limit: int) -> bytes | bytearray | None:
    """Read a body to its end, or return None once it is larger than the limit, with the rest unread.

    A large one is a bytearray: a copy of 57 MiB holds up an event loop for 30 ms.

    Args:
        response: The answer, of a session that does not decompress by itself.
        limit: Bytes, decompressed.

    Raises:
        GatewayError: The body is encoded in a way that was not asked for, or is cut off inside of it.
        aiohttp.ClientError: The connection broke.
    """
    parts: list[bytes | bytearray] = []
    return _join(parts) if await _collect(response, limit, parts) else None


async def read_error_body(response: aiohttp.ClientResponse, ends: float) -> bytes:
    """Read what comes of an error's body: its status counts, even where the body is cut off, stalls or has no end.

    Args:
        response: The answer, of a session that does not decompress by itself.
        ends: When the request must be over, on the event loop's clock: half of the time until then is left to it.

    Returns:
        What came, empty where it cannot be read or is too large to be looked at.
    """
    parts: list[bytes | bytearray] = []
    now = asyncio.get_running_loop().time()
    try:
        with PatientTimeout(now + min(ERROR_BODY_TIMEOUT, (ends - now) / 2)):
            if not await _collect(response, MAX_BODY_BYTES, parts):
                return b""
    except (aiohttp.ClientError, GatewayError, TimeoutError):
        pass  # what came until then is the body
    return bytes(_join(parts))


def _append(parts: list[bytes | bytearray], part: bytes, size: int) -> None:
    """Add a part to those of a body; those of a large one grow together, for many pieces leave memory in pieces."""
    if size <= LARGE or not parts:
        parts.append(part)
    elif isinstance(parts[0], bytearray):
        parts[0] += part
    else:
        parts[:] = [bytearray().join((*parts, part))]


def _join(parts: list[bytes | bytearray]) -> bytes | bytearray:
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _collect(response: aiohttp.ClientResponse, limit: int, parts: list[bytes | bytearray]) -> bool:
    """Read a body to its end; tell whether it is within the limit."""
    gunzip = Gunzip() if _is_gzip(response) else None
    decode: Callable[[bytes], Iterable[bytes]] = gunzip.feed if gunzip else _as_it_is
    size = 0
    try:
        async for received in response.content.iter_any():
            for part in decode(received):
                size += len(part)
                if size > limit:
                    return False
                _append(parts, part, size)
                if len(part) == STEP_BYTES:
                    await asyncio.sleep(0)
        if gunzip:
            gunzip.end()
    except BadGzipError as error:
        raise GatewayError(UPSTREAM_CONNECTION_LOST, phase="body") from error
    return True


def _is_gzip(response: aiohttp.ClientResponse) -> bool:
    """Tell whether a body is compressed, by gzip: nothing else was asked for."""
    names = (name.strip() for name in ",".join(response.headers.getall("Content-Encoding", ())).lower().split(","))
    encodings = [name for name in names if name not in ("", "identity")]
    if encodings and encodings not in _GZIP_NAMES:
        raise GatewayError(UPSTREAM_PROTOCOL, http_status=response.status, phase="body")
    return bool(encodings)


def _as_it_is(received: bytes) -> Iterable[bytes]:
    return (received,)
