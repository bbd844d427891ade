"""HTTP/2 by hand: a client that speaks no more of it than a test says, and takes no more than it wants."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from types import SimpleNamespace
from typing import Any, cast


class Kind(IntEnum):
    """Of a frame, as far as they are looked at."""

    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8


ACK = END_STREAM = 1
END_HEADERS = 4
NO_ERROR, REFUSED_STREAM, ENHANCE_YOUR_CALM = 0, 7, 11
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 3, 4
WHOLE_WINDOW = 2**31 - 1 - 65_535


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    payload: bytes
    stream: int = 0

    def bytes(self) -> bytes:
        head = len(self.payload).to_bytes(3, "big") + bytes((self.kind, self.flags)) + self.stream.to_bytes(4, "big")
        return head + self.payload

    @property
    def ends_its_stream(self) -> bool:
        return self.kind == Kind.RST_STREAM or (
            self.kind in (Kind.DATA, Kind.HEADERS) and bool(self.flags & END_STREAM)
        )


@dataclass(frozen=True)
class Goaway:
    """Why a server says that a connection ends."""

    error: int
    debug: bytes


class Peer:
    """One connection.

    Args:
        window: Bytes that each stream may send before it is given more; the connection as a whole may send any number.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, window: int) -> None:
        self._reader = reader
        self._writer = writer
        self._unanswered = 1  # settings
        self._next_stream = 1
        settings = INITIAL_WINDOW_SIZE.to_bytes(2, "big") + window.to_bytes(4, "big")
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(Kind.SETTINGS, 0, settings).bytes())
        self.grow(0, WHOLE_WINDOW)

    def begin(self, path: str) -> int:
        """Begin a call with its headers alone; return the number of its stream."""
        stream = self._next_stream
        self._next_stream += 2
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "gateway",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        # Literals that no table holds: RFC 7541, section 6.2.2.
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in headers.items())
        self._send(Kind.HEADERS, END_HEADERS, block, stream)
        return stream

    def send(self, stream: int, *messages: bytes, end: bool) -> None:
        """Send messages, all in one frame; with none at all, an empty frame."""
        payload = b"".join(b"\0" + len(message).to_bytes(4, "big") + message for message in messages)
        self._send(Kind.DATA, END_STREAM if end else 0, payload, stream)

    def call(self, path: str, message: bytes) -> int:
        """Make a call as clients do; return the number of its stream."""
        stream = self.begin(path)
        self.send(stream, message, end=True)
        return stream

    async def answer_to(self, path: str) -> list[Frame]:
        """Make a call of no account, and return the frames of its answer."""
        return await self.frames_of(self.call(path, b""))

    def grow(self, stream: int, size: int) -> None:
        """Let a stream, or 0 for the connection, send so many bytes more."""
        self._send(Kind.WINDOW_UPDATE, 0, size.to_bytes(4, "big"), stream)

    async def frames_of(self, stream: int) -> list[Frame]:
        """Return the frames of a stream from now to its end."""
        frames: list[Frame] = []
        while not frames or not frames[-1].ends_its_stream:
            frame = await self.read()
            if frame.stream == stream:
                frames.append(frame)
        return frames

    async def data_of(self, stream: int) -> bytes:
        """Return the next piece of data of a stream."""
        while (frame := await self.read()).kind != Kind.DATA or frame.stream != stream:
            pass
        return frame.payload

    async def first_of(self, *streams: int) -> None:
        """Wait until each of these streams has sent something."""
        waiting = set(streams)
        while waiting:
            waiting.discard((await self.read()).stream)

    async def ping(self) -> Goaway | None:
        """Ping; return None where the connection goes on."""
        # The end is told behind the answer, and before the answer to what comes next.
        self._send(Kind.PING, 0, b"whatever")
        self._send(Kind.SETTINGS, 0, b"")
        self._unanswered += 1
        while self._unanswered:
            frame = await self.read()
            if frame.kind == Kind.GOAWAY:
                return _read_goaway(frame)
            self._unanswered -= (frame.kind, frame.flags) == (Kind.SETTINGS, ACK)
        return None

    async def end(self) -> Goaway:
        """Wait for the end."""
        while (frame := await self.read()).kind != Kind.GOAWAY:
            pass
        return _read_goaway(frame)

    async def closed(self) -> None:
        """Wait until the server has closed the connection."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self.read()

    async def settings(self) -> dict[int, int]:
        """Return what the server begins with."""
        while (frame := await self.read()).kind != Kind.SETTINGS or frame.flags & ACK:
            pass
        pairs = [frame.payload[at : at + 6] for at in range(0, len(frame.payload), 6)]
        return {int.from_bytes(pair[:2], "big"): int.from_bytes(pair[2:], "big") for pair in pairs}

    async def read(self) -> Frame:
        """Return the next frame; the server's settings are acknowledged, and its pings answered."""
        head = await self._reader.readexactly(9)
        payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        frame = Frame(head[3], head[4], payload, int.from_bytes(head[5:], "big"))
        if frame.kind in (Kind.SETTINGS, Kind.PING) and not frame.flags & ACK:
            self._send(Kind(frame.kind), ACK, payload if frame.kind == Kind.PING else b"")
        return frame

    def _send(self, kind: Kind, flags: int, payload: bytes, stream: int = 0) -> None:
        self._writer.write(Frame(kind, flags, payload, stream).bytes())


def _text(text: str) -> bytes:
    return bytes((len(text),)) + text.encode()


def _read_goaway(frame: Frame) -> Goaway:
    return Goaway(int.from_bytes(frame.payload[4:8], "big"), frame.payload[8:])


@asynccontextmanager
async def peer(address: str, window: int = 65_535) -> AsyncIterator[Peer]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Peer(reader, writer, window)
    finally:
        writer.close()


@asynccontextmanager
async def peer_with_calls(address: str, path: str, count: int) -> AsyncIterator[tuple[Peer, list[int]]]:
    """Make calls, all of which have arrived at a server of this process before the event loop turns again."""
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)))
    client = Peer(asyncio.StreamReader(), cast("Any", SimpleNamespace(write=connection.sendall)), 65_535)
    streams = [client.call(path, b"") for _ in range(count)]
    connection.sendall(Frame(Kind.PING, 0, b"whatever").bytes())
    received = b""
    while Frame(Kind.PING, ACK, b"whatever").bytes() not in received:
        received += connection.recv(65_536)
    client._reader, client._writer = await asyncio.open_connection(sock=connection)  # from now on it turns
    try:
        yield client, streams
    finally:
        client._writer.close()
