"""A system that runs: pinned to its core, found serving, its replies verified."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

import grpc

from benchmarks.chaos import envoy
from benchmarks.chaos.serving import addresses_in, process
from benchmarks.peers.load import BINARIES, SYSTEM_CORE, WARM, Load, Measured, measure, on_core, result_of
from benchmarks.peers.reference import request, wrong
from benchmarks.peers.systems import CLIENT, ENVOY, System
from benchmarks.process import resident_mebibytes
from benchmarks.trees import ROOT
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub

# Pages, as limit and offset, by which replies are verified.
VERIFIED = ((1, 0), (10, 700), (100, 100), (1000, 300))


@dataclass(frozen=True)
class Server:
    """A system that answers calls.

    Attributes:
        system: Which one.
        address: Where.
        process: Its id.
        start: Seconds until it had answered the first call.
        idle: MiB that it holds then.
    """

    system: System
    address: str
    process: int
    start: float
    idle: float

    async def measure(self, load: Load, seconds: float) -> Measured:
        """Call it."""
        return await measure(self.address, self.process, load, seconds)


@dataclass(frozen=True)
class Client:
    """A system that makes calls itself.

    Attributes:
        system: Which one.
        upstream: URL of whom it calls.
    """

    system: System
    upstream: str

    async def measure(self, load: Load, seconds: float) -> Measured:
        """Start it anew, for so long."""
        numbers = (load.limit, load.in_flight, seconds, WARM)
        return await result_of(*self.system.command(self.upstream), *map(str, numbers), core=SYSTEM_CORE)


Running: TypeAlias = Server | Client


@asynccontextmanager
async def upstream(*flags: str) -> AsyncIterator[str]:
    """Run the upstream, on the core of this process, for the time of a `with` block; yields its URL."""
    async with process((str(BINARIES / "upstream"), *flags), ROOT, {}) as (_, line):
        yield f"http://{addresses_in(line)[0]}"


@asynccontextmanager
async def served(system: System, url: str) -> AsyncIterator[Running]:
    """Run a system in front of an upstream for the time of a `with` block, in which its replies are right.

    Raises:
        ValueError: They are not.
    """
    if system.name == CLIENT:
        yield Client(system, url)
        return
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        running = process(system.command(url), system.folder, {"PYTHONPATH": str(system.folder)})
        with on_core(SYSTEM_CORE):
            started, line = await stack.enter_async_context(running)
        address = await _address(system, addresses_in(line))
        await _first_call(address)
        start, idle = time.monotonic() - began, resident_mebibytes(started.pid)
        for limit, offset in VERIFIED:
            if found := await wrong(address, url, limit, offset):
                raise ValueError(f"{system.name}, limit {limit}, offset {offset}: {'; '.join(found[:3])}")
        yield Server(system, address, started.pid, start, idle)


async def _address(system: System, said: Sequence[str]) -> str:
    """Return where it serves: Envoy says where to ask that."""
    return await envoy.listens_on(said[0]) if system.name == ENVOY else said[0]


async def _first_call(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        await RepoServiceStub(channel).ListRepos(request(1, 0), timeout=60, wait_for_ready=True)
