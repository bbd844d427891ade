"""Decompresses gzip (RFC 1952) as it comes, in steps of bounded size."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

# What one step yields at the most, and how much it takes: however well a body is compressed, steps are short.
STEP_BYTES = 256 * 1024
_WINDOW_BYTES = 16 * 1024

_GZIP = 16 + zlib.MAX_WBITS  # zlib's way to say gzip


class BadGzipError(Exception):
    """It is no gzip, or is cut off."""


class Gunzip:
    """Decompresses one stream: a member or several, and zero bytes behind them, which are padding."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._has_begun = False

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Yield what has come, decompressed, in steps.

        Raises:
            BadGzipError: It is no gzip.
        """
        self._has_begun = True
        try:
            for start in range(0, len(received), _WINDOW_BYTES):
                yield from self._decompress(received[start : start + _WINDOW_BYTES])
        except zlib.error as error:
            raise BadGzipError from error

    def end(self) -> None:
        """Note that nothing more comes.

        Raises:
            BadGzipError: Something is missing: the last member has no end, checksum and all.
        """
        if self._has_begun and not self._member.eof:
            raise BadGzipError

    def _decompress(self, data: bytes) -> Iterator[bytes]:
        may_hold_more = False
        while data or may_hold_more:
            if self._member.eof:
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._member = zlib.decompressobj(_GZIP)
            part = self._member.decompress(data, STEP_BYTES)
            if part:
                yield part
            may_hold_more = len(part) == STEP_BYTES
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
