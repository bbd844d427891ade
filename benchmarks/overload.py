"""Goodput under too much load: calls that succeed each second, at the load that saturates the gateway and beyond it.

`slow upstream` is limited by the turns at the upstream, and calls arrive at a rate, whatever becomes of those before.
`fast upstream` is limited by the gateway's processor, and callers ask again when they have been answered.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import ExitStack
from typing import TypeAlias

import grpc

from benchmarks.bare import METHOD
from benchmarks.process import SERVE, address_in, running
from gateway.swr.v1 import repos_pb2

SECONDS = 4.0
DEADLINE = 2.0
IN_FLIGHT = 20
LATENCY = 0.05
CALLERS = 64
Call: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"
REQUEST = repos_pb2.ListReposRequest(offset=0, limit=10).SerializeToString()


def main() -> None:
    print("\nCalls that succeed each second, by load; in brackets what became of the others\n")
    simulate = ("-m", "gateway", "simulate", "--listen", "127.0.0.1:0", "--latency", f"{LATENCY * 1000:.0f}ms")
    limits = ("--max-in-flight", str(IN_FLIGHT), "--max-queue", str(2 * IN_FLIGHT))
    with ExitStack() as stack:
        _, said = stack.enter_context(running(*simulate))
        _, line = stack.enter_context(running(*SERVE, "--upstream-url", said.split()[-1], *limits))
        saturated = IN_FLIGHT / LATENCY
        rates = {factor: asyncio.run(_at_rate(address_in(line), factor * saturated)) for factor in (0.5, 1, 3)}
    _print("slow upstream", rates)
    with ExitStack() as stack:
        _, url = stack.enter_context(running("-m", "benchmarks.bare", "upstream"))
        _, line = stack.enter_context(running(*SERVE, "--upstream-url", url))
        callers = {factor: asyncio.run(_with_callers(address_in(line), factor * CALLERS)) for factor in (0.5, 1, 3)}
    _print("fast upstream", callers)


def _print(name: str, ended: dict[float, Counter[str]]) -> None:
    good = {factor: count["OK"] / SECONDS for factor, count in ended.items()}
    for factor, count in ended.items():
        others = ", ".join(f"{code} {number / SECONDS:.0f}" for code, number in count.items() if code != "OK")
        print(f"{name}, {factor:>3} times the load that saturates it: {good[factor]:>5.0f}  ({others or 'none'})")
    print(f"{name}, kept of its peak at three times that load: {good[3] / max(good.values()):.0%}\n")


async def _at_rate(address: str, rate: float) -> Counter[str]:
    """Begin calls at a rate; count how those end that were begun within the time."""
    ended: Counter[str] = Counter()
    async with _channel(address) as channel, asyncio.TaskGroup() as calls:
        call: Call = channel.unary_unary(METHOD)
        began = time.monotonic()
        for number in range(int(rate * SECONDS)):
            await asyncio.sleep(max(began + number / rate - time.monotonic(), 0))
            calls.create_task(_count(call(REQUEST, timeout=DEADLINE), ended))
    return ended


async def _with_callers(address: str, callers: float) -> Counter[str]:
    """Let callers ask again and again until the time is over."""
    ended: Counter[str] = Counter()

    async def ask() -> None:
        while time.monotonic() < until:
            await _count(call(REQUEST, timeout=DEADLINE), ended)

    async with _channel(address) as channel, asyncio.TaskGroup() as asking:
        call: Call = channel.unary_unary(METHOD)
        until = time.monotonic() + SECONDS
        for _ in range(int(callers)):
            asking.create_task(ask())
    return ended


def _channel(address: str) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(address, (("grpc.use_local_subchannel_pool", 1),))


async def _count(call: grpc.aio.Call, ended: Counter[str]) -> None:
    ended[(await call.code()).name] += 1


if __name__ == "__main__":
    main()
