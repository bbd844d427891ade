"""Identical calls at the same time: requests to the upstream, and the time until all are answered."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
import urllib.request
from contextlib import ExitStack

import grpc

from benchmarks.process import SERVE, address_in, running
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub

CALLS = 1000
LIMIT = 100
ROUNDS = 3
REQUEST = repos_pb2.ListReposRequest(offset=0, limit=LIMIT)


def main() -> None:
    print(f"\n{CALLS} identical calls at the same time, upstream with a second of latency, pages of {LIMIT}\n")
    with ExitStack() as stack:
        _, url = stack.enter_context(running("-m", "benchmarks.bare", "upstream", "1000", "1"))
        for name, switch in (("shared", "--coalesce"), ("each for itself", "--no-coalesce")):
            listen = ("--admin-listen", "127.0.0.1:0", "--max-in-flight", str(CALLS))
            _, line = stack.enter_context(running(*SERVE, "--upstream-url", url, *listen, switch))
            asyncio.run(_all_at_once(address_in(line), 1))
            rounds = [_measure(line) for _ in range(ROUNDS)]
            requests, seconds = (statistics.median(column) for column in zip(*rounds, strict=True))
            print(
                f"  {name:<16} {requests:>5.0f} requests to the upstream, all answered after {seconds * 1000:>5.0f} ms"
            )


def _measure(line: str) -> tuple[float, float]:
    before = _upstream_requests(line)
    started = time.perf_counter()
    asyncio.run(_all_at_once(address_in(line), CALLS))
    return _upstream_requests(line) - before, time.perf_counter() - started


async def _all_at_once(address: str, calls: int) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = RepoServiceStub(channel)
        await asyncio.gather(*(stub.ListRepos(REQUEST) for _ in range(calls)))


def _upstream_requests(line: str) -> float:
    """Ask the gateway how many it has sent."""
    (admin,) = re.findall(r"operators on ([^\s\"]+)", line)
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=10) as response:
        metrics = response.read().decode()
    return sum(map(float, re.findall(r"^swr_gateway_upstream_attempts_total\{.*\} (\S+)$", metrics, re.MULTILINE)))


if __name__ == "__main__":
    main()
