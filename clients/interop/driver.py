"""A client that runs: the driver's process, which is told a command a line and tells an outcome a line."""

from __future__ import annotations

import asyncio
import base64
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from clients.interop import ROOT
from clients.interop.interop_pb2 import Call, Calls, Command, Connect, Outcome, Result

# Bytes of the longest line: 25,000 repositories in base64 are some 20 MB.
LONGEST_LINE = 256 * 1024 * 1024

# Lines of what a driver said last, for whoever has to mend it.
LAST_WORDS = 20


class UnsupportedError(Exception):
    """The client cannot do what a case is about; the text says why."""


class DriverError(Exception):
    """A driver ended, or answered what nobody asked; the text has its last words."""


class Driver:
    """The process of one client.

    Args:
        process: It, with pipes.
        said: Where its standard error goes.
    """

    def __init__(self, process: Process, said: Path) -> None:
        self._process = process
        self._said = said

    async def connect(self, connect: Connect) -> None:
        """Open a connection in place of the one there is."""
        await self._ask(Command(connect=connect))

    async def call(self, calls: Sequence[Call]) -> list[Result]:
        """Begin calls, all at once; return what came of each."""
        outcome = await self._ask(Command(calls=Calls(calls=calls)))
        if len(outcome.results) != len(calls):
            raise DriverError(f"{len(calls)} calls, and {len(outcome.results)} results")
        return list(outcome.results)

    async def _ask(self, command: Command) -> Outcome:
        assert self._process.stdin
        assert self._process.stdout
        with suppress(ConnectionError):
            self._process.stdin.write(base64.b64encode(command.SerializeToString()) + b"\n")
            await self._process.stdin.drain()
        line = await self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise DriverError(f"the driver ended and said:\n{self._last_words()}")
        outcome = Outcome.FromString(base64.b64decode(line, validate=False))
        if outcome.unsupported:
            raise UnsupportedError(outcome.unsupported)
        return outcome

    def _last_words(self) -> str:
        return "\n".join(self._said.read_text(errors="replace").splitlines()[-LAST_WORDS:])


@asynccontextmanager
async def driving(command: Sequence[str], said: Path) -> AsyncIterator[Driver]:
    """Run a driver for the time of a `with` block; what it says goes into a file."""
    with said.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=stderr, limit=LONGEST_LINE
        )
    try:
        yield Driver(process, said)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
