"""A caller over bare HTTP/2 that makes calls and never reads their answers: no library offers one."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Frames.
_DATA, _HEADERS, _SETTINGS, _PING = 0, 1, 4, 6
# Flags: of answers to SETTINGS and PING, and of what ends a stream or its headers.
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW_SIZE = 4


class StillReader:
    """A connection whose streams have a window of 0: the other side may answer, and not send a byte of a message.

    It does what else a peer has to do, so it is alive in all other respects.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._next_stream = 1
        self._send(_SETTINGS, struct.pack(">HI", _INITIAL_WINDOW_SIZE, 0), start=_PREFACE)

    def call(self, path: str, headers: Mapping[str, str], message: bytes) -> None:
        """Begin a call of gRPC with one message."""
        grpc = {"te": "trailers", "content-type": "application/grpc"}  # codespell:ignore te
        stream = self._begin({":method": "POST", ":path": path, **grpc, **headers}, _END_HEADERS)
        self._send(_DATA, struct.pack(">BI", 0, len(message)) + message, _END_STREAM, stream)

    def get(self, path: str, headers: Mapping[str, str]) -> None:
        """Begin a GET."""
        self._begin({":method": "GET", ":path": path, **headers}, _END_HEADERS | _END_STREAM)

    async def stay(self) -> None:
        """Acknowledge settings and pings for as long as the connection lasts."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await self._reader.readexactly(9)
                kind, flags = head[3], head[4]
                content = await self._reader.readexactly(int.from_bytes(head[:3]))
                if kind in {_SETTINGS, _PING} and not flags & _ACK:
                    self._send(kind, b"" if kind == _SETTINGS else content, _ACK)

    def _begin(self, headers: Mapping[str, str], flags: int) -> int:
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        everything = {":scheme": "http", ":authority": "gateway", **headers}
        pseudo_first = sorted(everything.items(), key=lambda header: not header[0].startswith(":"))
        self._send(_HEADERS, b"".join(_literal(*header) for header in pseudo_first), flags, stream)
        return stream

    def _send(self, kind: int, content: bytes, flags: int = 0, stream: int = 0, *, start: bytes = b"") -> None:
        head = len(content).to_bytes(3) + struct.pack(">BBI", kind, flags, stream)
        self._writer.write(start + head + content)


@asynccontextmanager
async def still_reader(address: str) -> AsyncIterator[StillReader]:
    """Connect for the time of a `with` block."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection = StillReader(reader, writer)
    staying = asyncio.create_task(connection.stay())
    try:
        yield connection
    finally:
        writer.transport.abort()
        await staying


def _literal(name: str, value: str) -> bytes:
    """Encode a header as it is: not indexed, not compressed."""
    return b"\0" + b"".join(_length(len(text)) + text.encode() for text in (name, value))


def _length(number: int) -> bytes:
    """Encode the length of a text, below 254 bytes."""
    return bytes([number]) if number < 127 else bytes([127, number - 127])
