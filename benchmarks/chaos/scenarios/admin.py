"""Clients of the admin port that are slow, or many: probes are answered, and nothing spins."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp

from benchmarks.chaos.scenario import Numbers, scenario
from benchmarks.chaos.serving import Served
from benchmarks.chaos.subjects import Subject
from benchmarks.chaos.upstream import playing
from benchmarks.process import count_of, cpu_seconds

MANY = 200
# Seconds that a request may take to come, and that a probe is given.
SLOW, PROBE = 14.0, 10.0
REQUEST = b"GET /livez HTTP/1.1\r\nHost: gateway\r\nX-Slow: "


@scenario("admin-slow", {"seconds until a client is cut off": SLOW - 1})
async def admin_slow(subject: Subject) -> Numbers:
    """Send a request of one byte after the other, without an end."""
    async with playing() as upstream, subject.serve(upstream.url) as served, _connections(served, 1) as (writer,):
        writer.write(REQUEST)
        began = time.monotonic()
        while not writer.is_closing() and time.monotonic() < began + SLOW:
            writer.write(b"x")
            await asyncio.sleep(0.2)
        return (time.monotonic() - began,)


@scenario("admin-many", {"threads for them": 64, "seconds of a probe": 7})
async def admin_many(subject: Subject) -> Numbers:
    """Connect 200 times and say nothing."""
    async with playing() as upstream, subject.serve(upstream.url) as served:
        pid = served.process.pid
        before = count_of(pid, "task")
        async with _connections(served, MANY):
            probe = asyncio.create_task(_probe_seconds(served))
            await asyncio.sleep(0.5)
            return count_of(pid, "task") - before, await probe


@scenario("admin-descriptors", {"CPUs that it takes": 0.05, "seconds of a probe after it": 7})
async def admin_descriptors(subject: Subject) -> Numbers:
    """Connect more often than the process may have files."""
    async with playing() as upstream, subject.serve(upstream.url) as served:
        pid = served.process.pid
        files = count_of(pid, "fd") + 10
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, files))
        async with _connections(served, MANY // 4):
            await asyncio.sleep(0.5)
            before, began = cpu_seconds(pid), time.monotonic()
            await asyncio.sleep(2)
            share = (cpu_seconds(pid) - before) / (time.monotonic() - began)
        return share, await _probe_seconds(served)


@asynccontextmanager
async def _connections(served: Served, count: int) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """Connect to the admin port so many times."""
    host, _, port = served.admin.rpartition(":")
    writers: list[asyncio.StreamWriter] = []
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                while len(writers) < count:
                    writers.append((await asyncio.open_connection(host, int(port)))[1])
        yield writers
    finally:
        for writer in writers:
            writer.transport.abort()


async def _probe_seconds(served: Served) -> float:
    """Return how long a probe takes, or the most that it is given."""
    began = time.monotonic()
    with suppress(aiohttp.ClientError, TimeoutError):
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PROBE)) as session,
            session.get(f"http://{served.admin}/livez") as response,
        ):
            response.raise_for_status()
            return time.monotonic() - began
    return PROBE
