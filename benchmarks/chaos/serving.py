"""A subject that runs: started as a process, found serving, called, and killed at the end."""

from __future__ import annotations

import asyncio
import os
import re
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from benchmarks.chaos.callers import Caller, GrpcCaller

# Seconds until a process must serve, on a machine that has much else to do.
START = 60.0
# Bytes that are read ahead of a pipe: more than its longest line.
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
    # A pipe of our own, for asyncio does not see the end of a process as long as one of its own is not read empty.
    our_end, its_end = os.pipe()
    loop = asyncio.get_running_loop()
    pipe, said = await loop.connect_read_pipe(_UpToAnAddress, os.fdopen(our_end, "rb"))
    started = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env={**own, **variables}, stdin=DEVNULL, stdout=DEVNULL, stderr=its_end
    )
    os.close(its_end)
    try:
        async with asyncio.timeout(START):
            line = await said.line
        if not reads:
            pipe.pause_reading()
        yield started, line
    finally:
        pipe.close()
        with suppress(ProcessLookupError):
            started.kill()
        await started.wait()


def addresses_in(line: str) -> list[str]:
    """Return all that a line names: where it serves, upstreams, operators' addresses."""
    return _ADDRESS.findall(line)


class _UpToAnAddress(asyncio.Protocol):
    """Reads up to the first line with an address, and drops what comes behind.

    Attributes:
        line: That line; a RuntimeError where there was none.
    """

    def __init__(self) -> None:
        self.line: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._said = ""

    def data_received(self, data: bytes) -> None:
        if not self.line.done():
            self._said += data.decode(errors="replace")
            complete = self._said.splitlines()[: self._said.count("\n")]
            if found := next(filter(_ADDRESS.search, complete), None):
                self.line.set_result(found)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.line.done():
            self.line.set_exception(RuntimeError(f"it ended and said:\n{self._said}"))
