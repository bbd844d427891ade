"""Two workers beside one: calls a second, of pages that are dear to convert.

On a machine of two cores the callers and the upstream take their share of them, so the second worker has less than a
core of its own; the dearer a page is for the gateway alone, the less that share is. What cores that do nothing else
would give is computed: the calls that the busiest worker's time allows.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import grpc

from benchmarks.bare import METHOD
from benchmarks.process import SERVE, address_in, cpu_seconds, running
from gateway.swr.v1 import repos_pb2

LIMIT = 1000
CALLS = 960
ROUNDS = 3
CONNECTIONS = 64


class Run(NamedTuple):
    """How a run went: calls a second, CPU seconds of one call, and the busiest process's share of them."""

    rate: float
    cost: float
    share: float


def main() -> None:
    print(f"\nWorkers, limit {LIMIT}, rows never seen, {CONNECTIONS} connections\n")
    servers = {}
    with ExitStack() as stack:
        _, url = stack.enter_context(running("-m", "benchmarks.bare", "upstream"))
        for count in (1, 2):
            command = (*SERVE, "--upstream-url", url, "--row-memo-bytes", "0", "--workers", str(count))
            process, line = stack.enter_context(running(*command))
            servers[count] = process, address_in(line)
        rounds = [{count: asyncio.run(_measure(*server)) for count, server in servers.items()} for _ in range(ROUNDS)]
    for count in servers:
        run = Run(*(statistics.median(part) for part in zip(*(each[count] for each in rounds), strict=True)))
        print(
            f"{count} worker{'s' * (count > 1)}: {run.rate:>5.0f} calls/s here, {run.cost * 1e6:.0f} us of CPU a call, "
            f"busiest worker {run.share:.0%}"
        )
    here = statistics.median(each[2].rate / each[1].rate for each in rounds)
    free = statistics.median(each[1].cost * each[1].share / (each[2].cost * each[2].share) for each in rounds)
    print(
        f"two beside one: {here:.2f} times the calls here, {free:.2f} times on cores of their own (medians of rounds)"
    )


async def _measure(process: subprocess.Popen[str], address: str) -> Run:
    options = (("grpc.use_local_subchannel_pool", 1),)
    channels = [grpc.aio.insecure_channel(address, options) for _ in range(CONNECTIONS)]
    calls: list[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = [channel.unary_unary(METHOD) for channel in channels]
    request = repos_pb2.ListReposRequest(offset=0, limit=LIMIT).SerializeToString()

    async def work(number: int, count: int) -> None:
        for _ in range(count):
            await calls[number](request)

    async def all_of_them(count: int) -> None:
        await asyncio.gather(*(work(number, count // CONNECTIONS) for number in range(CONNECTIONS)))

    await all_of_them(CALLS // 10)
    workers = _children(process.pid) or [process.pid]
    before, began = [cpu_seconds(pid) for pid in workers], time.perf_counter()
    await all_of_them(CALLS)
    seconds = time.perf_counter() - began
    used = [cpu_seconds(pid) - earlier for pid, earlier in zip(workers, before, strict=True)]
    for channel in channels:
        await channel.close()
    return Run(CALLS / seconds, sum(used) / CALLS, max(used) / sum(used))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


if __name__ == "__main__":
    main()
