"""Bodies of answers: read within a limit, decompressed, and as far as they come where the status says enough."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterable, Iterator

import aiohttp

from gateway.core.error_body import MAX_BODY_BYTES
from gateway.core.errors import UPSTREAM_CONNECTION_LOST, UPSTREAM_PROTOCOL, GatewayError

# For what an error says beside its status, at the most.
ERROR_BODY_TIMEOUT = 1.0

_GZIP = 16 + zlib.MAX_WBITS  # zlib's way to say gzip
_GZIP_NAMES = (["gzip"], ["x-gzip"])  # RFC 9110, section 8.4.1.3: they are the same
# Work between two breaths of the event loop: compressed bytes, and what they become.
_WINDOW_BYTES = 16 * 1024
_STEP_BYTES = 256 * 1024


async def read_at_most(response: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """Read a body to its end, or return None once it is larger than the limit, with the rest unread.

    Args:
        response: The answer, of a session that does not decompress by itself.
        limit: Bytes, decompressed.

    Raises:
        GatewayError: The body is encoded in a way that was not asked for, or is cut off inside of it.
        aiohttp.ClientError: The connection broke.
    """
    parts: list[bytes] = []
    return _join(parts) if await _collect(response, limit, parts) else None


async def read_error_body(response: aiohttp.ClientResponse, ends: float) -> bytes:
    """Read what comes of an error's body: its status counts, even where the body is cut off, stalls or has no end.

    Args:
        response: The answer, of a session that does not decompress by itself.
        ends: When the request must be over, on the event loop's clock: half of the time until then is left to it.

    Returns:
        What came, empty where it cannot be read or is too large to be looked at.
    """
    parts: list[bytes] = []
    now = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(min(ERROR_BODY_TIMEOUT, (ends - now) / 2)):
            return _join(parts) if await _collect(response, MAX_BODY_BYTES, parts) else b""
    except (aiohttp.ClientError, GatewayError, TimeoutError):
        return _join(parts)


def _join(parts: list[bytes]) -> bytes:
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _collect(response: aiohttp.ClientResponse, limit: int, parts: list[bytes]) -> bool:
    """Read a body to its end; tell whether it is within the limit."""
    gunzip = _Gunzip() if _is_gzip(response) else None
    decode: Callable[[bytes], Iterable[bytes]] = gunzip.feed if gunzip else _as_it_is
    size = 0
    async for received in response.content.iter_any():
        for part in decode(received):
            size += len(part)
            if size > limit:
                return False
            parts.append(part)
            if len(part) == _STEP_BYTES:
                await asyncio.sleep(0)
    if gunzip and not gunzip.is_complete:
        raise GatewayError(UPSTREAM_CONNECTION_LOST, phase="body")
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


class _Gunzip:
    """Decompresses gzip as it comes: one member or several, and zero bytes behind them, which are padding."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._has_begun = False

    @property
    def is_complete(self) -> bool:
        """Whether the last member has come to its end, checksum and all."""
        return self._member.eof or not self._has_begun

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Decompress what has come, in steps.

        Raises:
            GatewayError: It is no gzip.
        """
        self._has_begun = True
        try:
            for start in range(0, len(received), _WINDOW_BYTES):
                yield from self._decompress(received[start : start + _WINDOW_BYTES])
        except zlib.error as error:
            raise GatewayError(UPSTREAM_CONNECTION_LOST, phase="body") from error

    def _decompress(self, data: bytes) -> Iterator[bytes]:
        may_hold_more = False
        while data or may_hold_more:
            if self._member.eof:
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._member = zlib.decompressobj(_GZIP)
            part = self._member.decompress(data, _STEP_BYTES)
            if part:
                yield part
            may_hold_more = len(part) == _STEP_BYTES
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
