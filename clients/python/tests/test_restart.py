"""What calls see of a gateway that is killed and comes back, or is not there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from commands import Command, Start
from in_threads import Kind
from scripted_upstream import Act, page, scripted_upstream
from swr_gateway_client import CallError, ConnectionFault

# At once, and no two of them the same: those would be one request.
CALLS = 40


async def serving(start: Start, target: str, upstream: str) -> Command:
    gateway = await start("serve", "--listen", target, "--upstream-url", upstream, "--auth", "none")
    await gateway.logs("^serving on ")
    return gateway


async def test_calls_in_flight_outlive_a_gateway_that_is_killed(kind: Kind, start: Start, tmp_path: Path) -> None:
    target = f"unix:{tmp_path}/s"
    async with scripted_upstream() as upstream, kind(target, timeout=3600.0) as client, asyncio.TaskGroup() as tasks:
        upstream.play((Act.STALL,))
        killed = await serving(start, target, upstream.url)
        calls = [tasks.create_task(client.list_repos(offset=offset)) for offset in range(CALLS)]
        await upstream.all_arrived(CALLS)
        upstream.play(page('[{"name": "r"}]'))
        await killed.stop()
        await serving(start, target, upstream.url)
        names = [[repo.name for repo in (await call).repos] for call in calls]
    assert names == [["r"]] * CALLS


async def test_a_call_waits_for_a_gateway_that_is_not_there_yet(kind: Kind, start: Start, tmp_path: Path) -> None:
    target = f"unix:{tmp_path}/s"
    async with scripted_upstream() as upstream, kind(target, timeout=3600.0) as client:
        call = asyncio.ensure_future(client.list_repos())
        await serving(start, target, upstream.url)
        assert list((await call).repos) == []


async def test_a_call_that_does_not_wait_says_at_once_that_nobody_listens(kind: Kind, tmp_path: Path) -> None:
    async with kind(f"unix:{tmp_path}/s", timeout=3600.0, wait_for_ready=False) as client:
        with pytest.raises(CallError) as raised:
            await client.list_repos()
    assert raised.value.code is grpc.StatusCode.UNAVAILABLE
    assert raised.value.connection_fault is ConnectionFault.NO_LISTENER
