"""What surrounds a client: gateways as processes, an upstream that plays bytes, the embedded one, certificates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.serving import Served
from benchmarks.chaos.subjects import gateway
from gateway.simulator.app import make_app, running
from gateway.simulator.data import default_repositories
from patience import until
from scripted_upstream import Script, ScriptedUpstream, page, scripted_upstream
from stream_server import stream_server

# Repositories of the embedded upstream.
TOTAL = 25_000

# A gateway with which one call is one request, and which ends none by itself.
PLAIN = ("--retries", "0", "--no-coalesce", "--no-circuit", "--timeout", "10m", "--attempt-timeout", "10m")

_GATEWAY = gateway("now")


@dataclass
class World:
    """What one client plays in.

    Attributes:
        upstream: Plays bytes.
        plain: Address of a gateway in front of it.
        embedded: Address of a gateway in front of the embedded upstream.
        folder: For files of cases.
    """

    upstream: ScriptedUpstream
    plain: str
    embedded: str
    folder: Path
    _due: list[asyncio.Event] = field(default_factory=list)

    def later(self, seconds: float, answer: bytes) -> Script:
        """Return the script of an answer that takes so long, unless all is over before."""
        due = asyncio.Event()
        self._due.append(due)
        asyncio.get_running_loop().call_later(seconds, due.set)
        return (due, answer)

    async def end(self) -> None:
        """Let the upstream come to the end of all that it is asked."""
        for due in self._due:
            due.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await until(lambda: not self.upstream.open)

    def reset(self) -> None:
        """Have the upstream forget what it was asked, and answer with empty pages."""
        self.upstream.requests.clear()
        self.upstream.hang_ups = 0
        self.upstream.choose = None
        self.upstream.play(page("[]"))

    @asynccontextmanager
    async def serve(self, *flags: str) -> AsyncIterator[Served]:
        """Serve another plain gateway in front of the upstream for the time of a `with` block."""
        async with _GATEWAY.serve(_address_of(self.upstream), *PLAIN, *flags) as served:
            yield served


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    """Set up a world for the time of a `with` block."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(scripted_upstream())
        simulated = await stack.enter_async_context(running(make_app(default_repositories(TOTAL))))
        around = World(upstream, "", "", folder)
        stack.push_async_callback(around.end)
        around.plain = (await stack.enter_async_context(_GATEWAY.serve(_address_of(upstream), *PLAIN))).address
        around.embedded = (await stack.enter_async_context(_GATEWAY.serve(simulated))).address
        yield around


def _address_of(upstream: ScriptedUpstream) -> str:
    """Return its URL without a name: a gateway's line of its start is read by addresses."""
    return upstream.url.replace("localhost", "127.0.0.1")


@dataclass
class Relay:
    """A way to a gateway that can lead elsewhere from one moment to the next.

    Attributes:
        target: Address of the gateway that new connections go to.
        address: Where it listens.
    """

    target: str
    address: str = ""
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection, to its end."""
        host, _, port = self.target.rpartition(":")
        try:
            their_reader, their_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        self._writers += (writer, their_writer)
        await asyncio.gather(_carry(reader, their_writer), _carry(their_reader, writer))

    def cut(self, target: str) -> None:
        """Break all connections; new ones go to another gateway."""
        self.target = target
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def relay(target: str) -> AsyncIterator[Relay]:
    """Listen on a free port, and lead to a gateway, for the time of a `with` block."""
    way = Relay(target)
    async with stream_server(way.serve) as port:
        way.address = f"127.0.0.1:{port}"
        try:
            yield way
        finally:
            way.cut(target)
