"""All systems in turn, again and again: what disturbs the machine for a while disturbs all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from benchmarks.peers.load import Load, Measured
from benchmarks.peers.running import Running, Server, served, upstream
from benchmarks.peers.systems import systems

LIMITS = (1, 10, 100, 1000)
IN_FLIGHT = (1, 8, 64)

# 64 calls in flight keep a core busy; latency is asked for with fewer, too.
SATURATED = tuple(Load(limit=limit) for limit in LIMITS)
LATENCY = tuple(Load(in_flight=number) for number in IN_FLIGHT)

# By name of the system, by load: one a round.
Results: TypeAlias = Mapping[str, Mapping[Load, Sequence[Measured]]]


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Attributes:
        results: Of all rounds.
        jobs: What a system does of the job, by its name.
        starts: Seconds until it had answered the first call, by its name.
        idle: MiB that it holds then, by its name.
    """

    results: Results
    jobs: Mapping[str, str]
    starts: Mapping[str, float]
    idle: Mapping[str, float]


async def compare(base: Path | None, rounds: int, seconds: float) -> Comparison:
    """Verify all systems, and measure them so many times."""
    async with _all(base) as running:
        results = await _rounds(running, rounds, seconds)
    servers = [one for one in running if isinstance(one, Server)]
    return Comparison(
        results,
        {one.system.name: one.system.job for one in running},
        {one.system.name: one.start for one in servers},
        {one.system.name: one.idle for one in servers},
    )


@asynccontextmanager
async def _all(base: Path | None) -> AsyncIterator[list[Running]]:
    """Start and verify one after the other; all of them stay, and who is not called costs nothing."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(upstream())
        running = []
        for system in systems(base):
            running.append(await stack.enter_async_context(served(system, url)))
            print(f"{system.name} is right", flush=True)
        yield running


async def _rounds(running: Sequence[Running], rounds: int, seconds: float) -> Results:
    loads = dict.fromkeys((*SATURATED, *LATENCY))
    results: dict[str, dict[Load, list[Measured]]] = {one.system.name: {load: [] for load in loads} for one in running}
    for number in range(rounds):
        # Nobody always comes first.
        first = number % len(running)
        order = (*running[first:], *running[:first])
        for load in loads:
            for one in order:
                results[one.system.name][load].append(await one.measure(load, seconds))
        print(f"round {number + 1} of {rounds} is over", flush=True)
    return results
