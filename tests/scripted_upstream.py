"""An upstream that plays bytes: it does on order what a server can do to a client, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Union
from urllib.parse import unquote

from stream_server import stream_server


class Act(Enum):
    """What a script can do besides writing bytes."""

    CLOSE = auto()
    RESET = auto()
    STALL = auto()  # until the client hangs up


Step = Union[bytes, Act, asyncio.Event, "Reply"]
Script = tuple[Step, ...]


@dataclass
class Request:
    """A request as it arrived: its target byte for byte, header names in lower case, its number on its connection."""

    method: str
    target: str
    headers: dict[str, str]
    nth: int = 1

    @property
    def clauses(self) -> dict[str, str]:
        """The filter, clause by clause."""
        clauses = unquote(self.target.partition("filter=")[2]).split("|")
        return dict(clause.split("::", 1) for clause in clauses)

    def clause(self, key: str) -> str:
        """Return the value of one clause of the filter."""
        return self.clauses[key]


Reply = Callable[[Request], bytes]


@dataclass
class ScriptedUpstream:
    """Plays one script a request, in order; the last one again and again.

    Attributes:
        url: Where it listens.
        choose: Returns the script of a request, where one does not follow another.
        requests: What it was asked.
        connections: Connections that were opened to it.
        open: Those that are open.
        stalled: Set when a script has come to its stall: all before that is written.
        hang_ups: How many connections clients have closed on which an answer was due.
    """

    url: str = ""
    scripts: list[Script] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    choose: Callable[[Request], Script] | None = None
    connections: int = 0
    open: int = 0
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    hang_ups: int = 0
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    def play(self, *scripts: Script | bytes) -> None:
        """Order what the next requests are answered with."""
        self.scripts = [(script,) if isinstance(script, bytes) else script for script in scripts]

    @property
    def offsets(self) -> list[int]:
        """The offsets that it was asked for, sorted: requests that travel together arrive in any order."""
        return sorted(int(request.clause("offset")) for request in self.requests)

    async def all_arrived(self, count: int) -> None:
        """Wait until so many requests have arrived in all."""
        while len(self.requests) < count:
            self._arrived.clear()
            await self._arrived.wait()

    async def all_hung_up(self, count: int) -> None:
        """Wait until so many connections were closed on which an answer was due."""
        while self.hang_ups < count:
            self._hung_up.clear()
            await self._hung_up.wait()

    def _note_hang_up(self) -> None:
        self.hang_ups += 1
        self._hung_up.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        nth = 0
        try:
            while request := await _read_request(reader):
                request.nth = nth = nth + 1
                self.requests.append(request)
                self._arrived.set()
                if not await self._act(self._script(request), request, reader, writer):
                    return
        except ConnectionError:
            self._note_hang_up()
        finally:
            self.open -= 1
            writer.close()

    def _script(self, request: Request) -> Script:
        if self.choose is not None:
            return self.choose(request)
        return self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]

    async def _act(
        self, script: Script, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Play one script; tell whether the connection goes on."""
        for step in script:
            match step:
                case bytes():
                    writer.write(step)
                    await writer.drain()
                case asyncio.Event():
                    await step.wait()
                case Act.CLOSE:
                    return False
                case Act.RESET:
                    # A socket that lingers for no time answers what is still under way with a reset.
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    return False
                case Act.STALL:
                    self.stalled.set()
                    await reader.read()
                    self._note_hang_up()
                    return False
                case _:
                    writer.write(step(request))
                    await writer.drain()
        return True


@asynccontextmanager
async def scripted_upstream() -> AsyncIterator[ScriptedUpstream]:
    """Listen on a free port for the time of a `with` block."""
    upstream = ScriptedUpstream()
    upstream.play(page("[]"))
    async with stream_server(upstream.serve) as port:
        # By name, not by address: a client's cookies are kept for names only.
        upstream.url = f"http://localhost:{port}"
        yield upstream


def answer(status: int | str, body: bytes | str = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """Build a whole answer with a Content-Length."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


def page(body: bytes | str, headers: Mapping[str, str] | None = None) -> bytes:
    """Build a page: status 200 and JSON."""
    return answer(200, body, {"Content-Type": "application/json", **(headers or {})})


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    line, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, _ = line.split(" ")
    pairs = (header.partition(":") for header in lines)
    return Request(method, target, {name.lower(): value.strip() for name, _, value in pairs})
