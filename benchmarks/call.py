"""CPU time of one ListRepos through the gateway, beside a bare grpc.aio echo plus a bare aiohttp GET of the same pages.

The sum of the two is what the libraries cost whatever a gateway does. `warm` is with pages and rows seen before, `cold`
with the memo off.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
from contextlib import ExitStack
from typing import NamedTuple

import grpc

from benchmarks.bare import LIMITS, METHOD
from benchmarks.peers.tables import TARGET_SHARE
from benchmarks.process import SERVE, address_in, cpu_seconds, running
from gateway.swr.v1 import repos_pb2

CALLS = {10: 6000, 100: 4000, 1000: 1200}
CONCURRENCY = 64
CONNECTIONS = 4
ROUNDS = 3


def main() -> None:
    print("\nOne call, microseconds of CPU (gateway process alone; median of rounds taken in turn)\n")
    print(f"{'limit':>6}  {'echo':>7}  {'GET':>7}  {'echo+GET':>9}  {'warm':>14}  {'cold':>14}")
    with ExitStack() as stack:
        _, url = stack.enter_context(running("-m", "benchmarks.bare", "upstream"))
        echo = stack.enter_context(running("-m", "benchmarks.bare", "echo"))
        warm = stack.enter_context(running(*SERVE, "--upstream-url", url))
        cold = stack.enter_context(running(*SERVE, "--upstream-url", url, "--row-memo-bytes", "0"))
        for limit in LIMITS:
            _print_row(limit, url, [Server(*echo), _gateway(*warm), _gateway(*cold)])
    print("\nIn brackets: (echo + GET) / ours, the share of the libraries' own bound that is reached;")
    print(f"target with limit 10: {TARGET_SHARE:.2f}; docs/performance.md says why it is missed")


class Server(NamedTuple):
    """A server under measurement."""

    process: subprocess.Popen[str]
    address: str


def _gateway(process: subprocess.Popen[str], line: str) -> Server:
    return Server(process, address_in(line))


def _print_row(limit: int, url: str, servers: list[Server]) -> None:
    rounds = []
    for _ in range(ROUNDS):
        served = [asyncio.run(measure(server, limit)) for server in servers]
        with running("-m", "benchmarks.bare", "client", url, str(limit), str(CALLS[limit]), str(CONCURRENCY)) as got:
            rounds.append([*served, float(got[1])])
    echo, warm, cold, get = (statistics.median(column) * 1e6 for column in zip(*rounds, strict=True))
    bound = echo + get
    print(
        f"{limit:>6}  {echo:>7.0f}  {get:>7.0f}  {bound:>9.0f}"
        f"  {warm:>7.0f} ({bound / warm:.2f})  {cold:>7.0f} ({bound / cold:.2f})"
    )


async def measure(server: Server, limit: int) -> float:
    """Return CPU seconds of the server for each call."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    channels = [grpc.aio.insecure_channel(server.address, options) for _ in range(CONNECTIONS)]
    calls: list[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = [channel.unary_unary(METHOD) for channel in channels]
    requests = [repos_pb2.ListReposRequest(offset=n, limit=limit).SerializeToString() for n in range(8)]

    async def work(worker: int, count: int) -> None:
        for number in range(count):
            await calls[worker % CONNECTIONS](requests[number % len(requests)])

    await asyncio.gather(*(work(worker, 5) for worker in range(CONCURRENCY)))
    before = cpu_seconds(server.process.pid)
    each = CALLS[limit] // CONCURRENCY
    await asyncio.gather(*(work(worker, each) for worker in range(CONCURRENCY)))
    used = cpu_seconds(server.process.pid) - before
    for channel in channels:
        await channel.close()
    return used / (each * CONCURRENCY)


if __name__ == "__main__":
    main()
