"""How the supervisor and a worker talk: messages over a pair of sockets, whose end tells either that it is alone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum

import msgspec

# Bytes of a message: settings hold tokens of 20,000 characters.
LARGEST = 256 * 1024


class Order(StrEnum):
    """What the supervisor tells a worker to do."""

    READ_FILES = "read files"
    HIDE = "hide"  # say NOT_SERVING, and go on
    DRAIN = "drain"
    LEAVE = "leave"


class Command(msgspec.Struct, frozen=True):
    """An order, and for a drain the seconds that calls in flight have to finish."""

    order: Order
    grace: float = 0.0


class Pulse(msgspec.Struct, frozen=True):
    """What a worker tells of itself with every beat.

    Attributes:
        hindrances: What keeps it from serving.
        remarks: What else operators should know.
    """

    hindrances: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def open_pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends of a channel that keeps messages apart."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def listen(end: socket.socket, heard: Callable[[bytes], None]) -> None:
    """Have a function called with every message, and with an empty one at the other side's end."""
    loop = asyncio.get_running_loop()
    end.setblocking(False)

    def read() -> None:
        try:
            message = end.recv(LARGEST)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            loop.remove_reader(end)
        heard(message)

    loop.add_reader(end, read)


def deafen(end: socket.socket) -> None:
    """Listen no more."""
    asyncio.get_running_loop().remove_reader(end)


def say(end: socket.socket, message: bytes) -> None:
    """Send a message; one that nobody takes is lost, for a pulse is out of date soon and an order needs a listener."""
    with suppress(OSError):
        end.send(message)
