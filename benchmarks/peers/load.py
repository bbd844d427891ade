"""Calls, and what they cost: the load runs on a core of its own, together with the upstream."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from benchmarks.peers.reference import NAMESPACE
from benchmarks.trees import ROOT

BINARIES = ROOT / ".tools" / "bin"

SYSTEM_CORE, LOAD_CORE = 0, 1
# Seconds before those that are measured.
WARM = 0.5
# More calls are not put on one connection.
_CALLS_A_CONNECTION = 500


@dataclass(frozen=True)
class Load:
    """So many calls in flight, all the time.

    Attributes:
        limit: Rows of a page.
        in_flight: Calls at once.
        rows: As many rows on each page, whatever the limit says; 0 for what it says.
        wait: Milliseconds that the upstream takes for a page.
        pages: Different requests.
        streams: Read all repositories by StreamRepos.
        bursts: Begin all calls at once, again when the last one has ended.
    """

    limit: int = 10
    in_flight: int = 64
    rows: int = 0
    wait: int = 0
    pages: int = 8
    streams: bool = False
    bursts: bool = False

    def flags(self) -> Iterator[str]:
        """Yield the flags of the command line."""
        yield from ("-limit", str(self.limit), "-in-flight", str(self.in_flight), "-pages", str(self.pages))
        yield from ("-connections", str(max(4, self.in_flight // _CALLS_A_CONNECTION)))
        yield from ("-namespace", self._namespace())
        yield from (f"-{name}" for name, wanted in (("stream", self.streams), ("bursts", self.bursts)) if wanted)

    def _namespace(self) -> str:
        """Return the one that tells the upstream what to do."""
        if self.rows:
            return f"rows-{self.rows}"
        return f"wait-{self.wait}" if self.wait else NAMESPACE


@dataclass(frozen=True)
class Measured:
    """What came of it; times are seconds.

    Attributes:
        seconds: That were measured.
        calls: Calls that were answered.
        failed: Others, by their gRPC status.
        p50: Half of the calls took no longer.
        p99: 99 of 100 took no longer.
        cpu: Used by the system.
        busy: Used by anybody, by core.
    """

    seconds: float
    calls: int
    failed: Mapping[str, int]
    p50: float
    p99: float
    cpu: float
    busy: Sequence[float]

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds

    @property
    def cpu_per_call(self) -> float:
        """Seconds of CPU that the system used for a call."""
        return self.cpu / self.calls

    @property
    def foreign(self) -> float:
        """Share of the system's core that went to others."""
        return max(self.busy[SYSTEM_CORE] - self.cpu, 0) / self.seconds

    @property
    def load_core(self) -> float:
        """Share of the load's core that was used."""
        return self.busy[LOAD_CORE] / self.seconds


async def measure(address: str, process: int, load: Load, seconds: float) -> Measured:
    """Call a system, and have the CPU of its process measured.

    Raises:
        RuntimeError: No call was answered.
    """
    window = ("-seconds", str(seconds), "-warm", str(WARM), "-process", str(process))
    return await result_of(BINARIES / "load", "-address", address, *window, *load.flags())


async def result_of(*command: str | os.PathLike[str], core: int = LOAD_CORE) -> Measured:
    """Run a command on a core, and return what it says that it has measured.

    Raises:
        RuntimeError: It failed, or no call was answered.
    """
    with on_core(core):
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE, stderr=PIPE)
    said, errors = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{command} failed: {errors.decode()}")
    measured = msgspec.json.decode(said, type=Measured)
    if not measured.calls:
        raise RuntimeError(f"{command}: no call was answered: {measured.failed}")
    return measured


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Have processes that are started in a `with` block run on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
