"""A subject that runs: started as a process, found serving, called, and killed at the end."""

from __future__ import annotations

import asyncio
import os
import re
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from benchmarks.chaos.callers import Caller, GrpcCaller

# Seconds until a process must serve, on a machine that has much else to do.
START = 60.0
# What asyncio itself reads ahead of a pipe.
READ_AHEAD = 16 * 1024

_ADDRESS = re.compile(r"127\.0\.0\.1:[1-9]\d*")
_FOREIGN = re.compile(r"SWR_GATEWAY_|GRPC_|OTEL_|PYTHON|\w+_PROXY$", re.IGNORECASE)


@dataclass
class Served:
    """A subject that serves.

    Attributes:
        process: It, or what supervises it.
        address: Where calls go.
        admin: Where operators ask.
        dial: Makes a caller of an address and a tenant.
    """

    process: Process
    address: str
    admin: str = ""
    dial: Callable[[str, str], Caller] = GrpcCaller
    _callers: list[Caller] = field(default_factory=list)

    def caller(self, tenant: str) -> Caller:
        """Return a new caller, which hangs up when all is over."""
        self._callers.append(self.dial(self.address, tenant))
        return self._callers[-1]

    async def ends(self, within: float) -> float:
        """Say SIGTERM; return the seconds until it has ended, or the most of them."""
        began = time.monotonic()
        self.process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self.process.wait()
        return time.monotonic() - began

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Have all callers hang up."""
        for caller in self._callers:
            await caller.close()


@asynccontextmanager
async def process(
    command: Sequence[str], folder: Path, variables: Mapping[str, str], *, reads: bool = True
) -> AsyncIterator[tuple[Process, str]]:
    """Run a process for the time of a `with` block; yields it and what it says with an address.

    Args:
        command: What to run.
        folder: Where.
        variables: Of its environment, beside this one's that mean nothing to gateways.
        reads: Whether somebody reads its standard error after that line.

    Raises:
        RuntimeError: It ended at once; with what it said.
    """
    own = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
    started = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env={**own, **variables}, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, limit=READ_AHEAD
    )
    assert started.stderr
    reading = None
    try:
        async with asyncio.timeout(START):
            line = await _line_with_address(started.stderr)
        if reads:
            reading = asyncio.create_task(_read_all(started.stderr))
        yield started, line
    finally:
        with suppress(ProcessLookupError):
            started.kill()
        if reading:
            await reading
        await started.wait()


def addresses_in(line: str) -> list[str]:
    """Return all that a line names: where it serves, upstreams, operators' addresses."""
    return _ADDRESS.findall(line)


async def _line_with_address(stream: asyncio.StreamReader) -> str:
    lines = ""
    while line := (await stream.readline()).decode():
        lines += line
        if _ADDRESS.search(line):
            return line
    raise RuntimeError(f"it ended and said:\n{lines}")


async def _read_all(stream: asyncio.StreamReader) -> None:
    while await stream.read(READ_AHEAD):
        pass
