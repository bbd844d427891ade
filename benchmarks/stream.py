"""StreamRepos beside the loop that callers write by hand, behind an upstream that takes its time; and what it holds.

The loop makes one ListRepos call after the other, with pages as large as the stream's.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import ExitStack

import grpc

from benchmarks.process import SERVE, address_in, peak_mebibytes, running
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub

LATENCY = "0.05"
COUNT = 25_000
PAGE_SIZE = 1000
ROUNDS = 3


def main() -> None:
    print(f"\n{COUNT} repositories behind 50 ms of latency, pages of {PAGE_SIZE}; seconds, median of rounds\n")
    with ExitStack() as stack:
        _, url = stack.enter_context(running("-m", "benchmarks.bare", "upstream", str(COUNT), LATENCY))
        _, line = stack.enter_context(running(*SERVE, "--upstream-url", url))
        rounds = [asyncio.run(_compare(address_in(line))) for _ in range(ROUNDS)]
    loop, stream = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"  ListRepos in a loop {loop:.2f}    StreamRepos {stream:.2f}    {loop / stream:.1f} times faster")
    few, many = (_peak_memory(count) for count in (1000, 100_000))
    print(f"  peak memory of the gateway: {few:.0f} MiB for 1000 repositories, {many:.0f} MiB for 100000")


async def _compare(address: str) -> tuple[float, float]:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = RepoServiceStub(channel)
        start = time.perf_counter()
        for offset in range(0, COUNT, PAGE_SIZE):
            await stub.ListRepos(repos_pb2.ListReposRequest(offset=offset, limit=PAGE_SIZE))
        middle = time.perf_counter()
        assert await _stream(stub) == COUNT
        return middle - start, time.perf_counter() - middle


async def _stream(stub: RepoServiceStub) -> int:
    call = stub.StreamRepos(repos_pb2.StreamReposRequest(page_size=PAGE_SIZE))
    return sum([len(message.repos) async for message in call])


def _peak_memory(count: int) -> float:
    """Run a gateway of its own, with the memo off: what it remembers is bounded by its setting and not counted here."""

    async def read(address: str) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            assert await _stream(RepoServiceStub(channel)) == count

    with ExitStack() as stack:
        _, url = stack.enter_context(running("-m", "benchmarks.bare", "upstream", str(count)))
        process, line = stack.enter_context(running(*SERVE, "--upstream-url", url, "--row-memo-bytes", "0"))
        asyncio.run(read(address_in(line)))
        return peak_mebibytes(process.pid)


if __name__ == "__main__":
    main()
