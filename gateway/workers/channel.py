"""How the supervisor and a worker talk: messages over a pair of sockets, whose end tells either that it is alone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from enum import StrEnum
from typing import Self, TypeAlias

import msgspec

from gateway.metrics import Family

# Bytes before each message that tell its length.
_LENGTH_BYTES = 4
# Bytes that wait for the other side, beyond which it counts as one that does not listen.
_MAX_WAITING = 2**20
# Seconds in which the other side takes the last message.
_CLOSE_TIMEOUT = 2.0


class Order(StrEnum):
    """What the supervisor tells a worker to do."""

    READ_FILES = "read files"
    COUNT = "count"  # tell what was counted
    HIDE = "hide"  # say NOT_SERVING, and go on
    DRAIN = "drain"
    STOP_NOW = "stop now"


class Command(msgspec.Struct, frozen=True):
    """An order, and for a drain the seconds that calls in flight have to finish."""

    order: Order
    grace: float = 0.0


class Pulse(msgspec.Struct, frozen=True, tag=True):
    """What a worker tells of itself with every beat.

    Attributes:
        not_ready_reasons: What keeps it from serving.
        notes: What else operators should know.
    """

    not_ready_reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Counts(msgspec.Struct, frozen=True, tag=True):
    """What a worker has counted and measured.

    Attributes:
        families: All of its metrics.
        asked: Whether it was asked for them.
    """

    families: tuple[Family, ...]
    asked: bool


class FilesRead(msgspec.Struct, frozen=True, tag=True):
    """A worker has read its files again, as far as they changed."""


Told: TypeAlias = Pulse | Counts | FilesRead

encode = msgspec.msgpack.Encoder().encode
decode_command = msgspec.msgpack.Decoder(Command).decode
decode_told = msgspec.msgpack.Decoder(Told).decode


def open_pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a channel."""
    return socket.socketpair()


class Channel:
    """One end of a channel, for messages of any length.

    Iterating it yields the messages that come, until the other side's end.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Self:
        """Take over a socket."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield what comes."""
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES))
                yield await self._reader.readexactly(length)

    @property
    def is_behind(self) -> bool:
        """Whether the other side does not listen."""
        return self._writer.transport.get_write_buffer_size() > _MAX_WAITING

    def send(self, message: bytes) -> None:
        """Send a message, and do not wait until it is taken; one to a side that has gone is lost."""
        if not self._writer.is_closing():
            self._writer.write(len(message).to_bytes(_LENGTH_BYTES) + message)

    async def close(self) -> None:
        """Hang up, when what was said is sent or nobody takes it."""
        self._writer.close()
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()


def read_first(end: socket.socket) -> bytes:
    """Wait for a message before there is an event loop; an empty one is the other side's end."""
    length = int.from_bytes(end.recv(_LENGTH_BYTES, socket.MSG_WAITALL))
    return end.recv(length, socket.MSG_WAITALL)
