"""What no gateway in Python can do better than: grpc.aio with ready replies, and aiohttp with pages that nobody parses.

Run as `python -m benchmarks.peers.bounds echo UPSTREAM`, or `... client UPSTREAM LIMIT IN_FLIGHT SECONDS WARM`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import aiohttp
import msgspec
from yarl import URL

from benchmarks.bare import start_server, target
from benchmarks.peers.load import Measured
from benchmarks.peers.reference import expected
from gateway.swr.v1 import repos_pb2

_TICKS = os.sysconf("SC_CLK_TCK")


async def serve_echo(upstream: str) -> None:
    """Answer each request with the bytes of its reply, which are made when it comes for the first time."""
    ready: dict[bytes, bytes] = {}

    async def list_repos(request: bytes, _: object) -> bytes:
        if request not in ready:
            asked = repos_pb2.ListReposRequest.FromString(request)
            ready[request] = (await expected(upstream, asked.limit, asked.offset)).SerializeToString()
        return ready[request]

    server, address = await start_server(list_repos)
    print(f"serving on {address}", file=sys.stderr, flush=True)
    await server.wait_for_termination()


class Client:
    """Gets pages, so many at once.

    Args:
        upstream: Its URL.
        limit: Rows of a page.
    """

    def __init__(self, upstream: str, limit: int) -> None:
        self._urls = [URL(upstream + target(limit, page * 100), encoded=True) for page in range(8)]
        self._times: list[float] = []

    async def run(self, in_flight: int, seconds: float, warm: float) -> Measured:
        """Get pages for some seconds, and tell what it took."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            work = [asyncio.create_task(self._work(session, number)) for number in range(in_flight)]
            await asyncio.sleep(warm)
            self._times.clear()
            cpu, busy, began = time.process_time(), _busy(), time.perf_counter()
            await asyncio.sleep(seconds)
            times, used, took = sorted(self._times), time.process_time() - cpu, time.perf_counter() - began
            cores = [after - before for before, after in zip(busy, _busy(), strict=True)]
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
        p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
        return Measured(took, len(times), {}, p50, p99, used, cores)

    async def _work(self, session: aiohttp.ClientSession, number: int) -> None:
        while True:
            began = time.perf_counter()
            async with session.get(self._urls[number % len(self._urls)]) as response:
                await response.read()
            self._times.append(time.perf_counter() - began)
            number += 1


def _busy() -> list[float]:
    """Return how many seconds each core has worked: user, nice, system, irq and softirq of /proc/stat."""
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    cores = [line for line in lines if line[0].startswith("cpu") and line[0] != "cpu"]
    return [sum(int(line[column]) for column in (1, 2, 3, 6, 7)) / _TICKS for line in cores]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["echo", upstream]:
            asyncio.run(serve_echo(upstream))
        case ["client", upstream, limit, in_flight, seconds, warm]:
            result = asyncio.run(Client(upstream, int(limit)).run(int(in_flight), float(seconds), float(warm)))
            print(msgspec.json.encode(result).decode())
