"""Gateways that end, or ask their callers to connect anew, with calls in flight."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

from clients.interop.case import case
from clients.interop.checks import comes, same
from clients.interop.interop_pb2 import Call, Result
from clients.interop.stage import Stage, code_of
from gateway.swr.v1.repos_pb2 import ListReposRequest, RepoFilter
from scripted_upstream import page

IN_FLIGHT = 40
# Long enough for a restart on a machine that has much else to do.
PATIENCE_MS = 60_000

# How the age of connections is tried: batches of calls that overlap, each for a moment, on connections of a short life.
AGE = "300ms"
BATCHES, BATCH = 60, 10
LATENCY = 0.1


@case("40 calls in flight, the gateway is killed (SIGKILL) and back at once: calls that survive", "40 of 40")
async def restart(stage: Stage) -> str:
    released = asyncio.Event()
    stage.upstream.play((released, page("[]")))
    served = await stage.serve()
    await stage.connect(served.address)
    listed = asyncio.create_task(stage.calls(_calls(IN_FLIGHT)))
    await comes(stage.upstream.all_arrived(IN_FLIGHT), "the last call")
    served.process.kill()
    await served.process.wait()
    released.set()
    await stage.serve("--listen", served.address)
    return _survivors(await listed)


@case("40 calls in flight, and the gateway is told to end (SIGTERM): calls that survive", "40 of 40")
async def drain(stage: Stage) -> str:
    released = asyncio.Event()
    stage.upstream.play((released, page("[]")))
    served = await stage.serve()
    await stage.connect(served.address)
    listed = asyncio.create_task(stage.calls(_calls(IN_FLIGHT)))
    await comes(stage.upstream.all_arrived(IN_FLIGHT), "the last call")
    served.process.terminate()
    await comes(_gone(served.address), "the end of listening")
    released.set()
    survivors = _survivors(await listed)
    same(await served.process.wait(), 0, "the exit code of the gateway")
    return survivors


async def _gone(address: str) -> None:
    """Wait until nobody listens there any more: all connections have been told by then."""
    host, _, port = address.rpartition(":")
    while True:
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            return
        writer.close()
        await asyncio.sleep(0.05)


@case(
    f"{BATCHES * BATCH} calls, {BATCH} at a time, on connections that may become {AGE} old: calls that are lost",
    f"0 of {BATCHES * BATCH}",
)
async def connection_age(stage: Stage) -> str:
    stage.upstream.choose = lambda _: stage.world.later(random.uniform(0, LATENCY), page("[]"))
    served = await stage.serve("--max-connection-age", AGE)
    await stage.connect(served.address)
    lost: Counter[str] = Counter()
    for _ in range(BATCHES):
        lost.update(code_of(result) for result in await stage.calls(_calls(BATCH)) if code_of(result) != "OK")
    return _counted(lost.total(), BATCHES * BATCH, lost)


def _calls(count: int) -> list[Call]:
    """Return calls, each of which asks for something else."""
    return [
        Call(list=ListReposRequest(filter=RepoFilter(name=f"repo-{number}")), timeout_ms=PATIENCE_MS)
        for number in range(count)
    ]


def _survivors(results: Sequence[Result]) -> str:
    lost = Counter(code_of(result) for result in results)
    survived = lost.pop("OK", 0)
    return _counted(survived, len(results), lost)


def _counted(count: int, of: int, lost: Counter[str]) -> str:
    """Return a number of calls, and the statuses of those that were lost."""
    return f"{count} of {of}: {', '.join(sorted(lost))}" if lost else f"{count} of {of}"
