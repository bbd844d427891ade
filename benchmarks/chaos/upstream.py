"""The upstream of the scenarios: HTTP/1.1 on raw sockets, and each request answered as a scenario has it."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from benchmarks.pages import encode, records

# As many rows as no stream comes to the end of.
TOTAL = 1_000_000
BACKLOG = 1024

(_RECORD,) = records(1)
del _RECORD["total_range"]

_PAGE = re.compile(r"offset%3A%3A(\d+)%7Climit%3A%3A(\d+)")
_TENANT = re.compile(r"^x-auth-token: (\S+)", re.IGNORECASE | re.MULTILINE)


@dataclass
class Connection:
    """A connection to the upstream.

    Attributes:
        requests: Those that have come on it so far.
        is_forgotten: For scenarios: whether the way to the upstream does not know it any more.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: int = 0
    is_forgotten: bool = False

    async def write(self, content: bytes) -> None:
        """Send bytes, whatever they are."""
        self.writer.write(content)
        await self.writer.drain()

    async def keep_silent(self) -> None:
        """Answer nothing until the client hangs up."""
        while await self.reader.read(1024):
            pass
        self.close()

    def close(self) -> None:
        """Say good-bye as TCP does."""
        self.writer.close()

    def reset(self) -> None:
        """Answer what is still to come with a reset: so does a socket that lingers for no time."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.close()


@dataclass(frozen=True)
class Request:
    """A request: whose it is, and the page that it asks for."""

    connection: Connection
    tenant: str
    offset: int
    limit: int

    async def answer(self, row_bytes: int = 0) -> None:
        """Answer with rows of the tenant's own, as SWR's are, or with descriptions of so many bytes."""
        await self.connection.write(page(self.tenant, self.offset, self.limit, row_bytes))

    async def refuse(self, status: int) -> None:
        """Answer with an error."""
        await self.connection.write(f"HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n".encode())


Behavior: TypeAlias = Callable[[Request], Awaitable[None]]


@dataclass
class Upstream:
    """An upstream that listens.

    Attributes:
        port: Of 127.0.0.1.
        behave: Answers a request, or does something else to it.
        connections: All that were opened to it.
        requests: How many have come.
    """

    behave: Behavior
    port: int = 0
    connections: list[Connection] = field(default_factory=list)
    requests: int = 0
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, to its end."""
        connection = Connection(reader, writer)
        self.connections.append(connection)
        serving = asyncio.get_running_loop().create_task(self._serve(connection))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, connection: Connection) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not connection.writer.is_closing():
                head = (await connection.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.requests += 1
                connection.requests += 1
                await self.behave(_read(head, connection))
        connection.writer.close()


@asynccontextmanager
async def playing(behave: Behavior = Request.answer) -> AsyncIterator[Upstream]:
    """Run an upstream for the time of a `with` block."""
    upstream = Upstream(behave)
    server = await asyncio.start_server(upstream.begin, "127.0.0.1", 0, backlog=BACKLOG)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()
        for connection in upstream.connections:
            connection.writer.transport.abort()


@lru_cache(maxsize=64)
def page(tenant: str, offset: int, limit: int, row_bytes: int = 0) -> bytes:
    """Build the answer with a page of a tenant's rows."""
    record = _RECORD | ({"description": "x" * row_bytes} if row_bytes else {})
    body = encode([{**record, "name": f"{tenant}-{offset + number}"} for number in range(limit)])
    head = f"HTTP/1.1 200 OK\r\nContent-Range: {offset}-{limit}/{TOTAL}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _read(head: str, connection: Connection) -> Request:
    tenant, asked = _TENANT.search(head), _PAGE.search(head)
    assert tenant, "no x-auth-token"
    assert asked, "no page"
    return Request(connection, tenant[1], int(asked[1]), int(asked[2]))
