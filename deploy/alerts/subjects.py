"""Gateways as processes, and their callers."""

from __future__ import annotations

import asyncio
import itertools
import re
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from benchmarks.chaos.serving import process
from deploy.alerts.prometheus import Server
from deploy.alerts.upstream import Upstream, playing
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub

OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0))
DEADLINE = 10.0


class Subject:
    """A gateway that serves, and what is before and behind it.

    Args:
        process: It, or what supervises it.
        upstream: What it asks.
        channel: Leads to it.
    """

    def __init__(self, process: Process, upstream: Upstream, channel: grpc.aio.Channel) -> None:
        self.process = process
        self.upstream = upstream
        self._stub: RepoServiceStub = RepoServiceStub(channel)
        self._offsets = itertools.count()

    async def call(self, *, other: bool = True) -> None:
        """List one repository, another or the first; whether that fails is looked at by Prometheus."""
        offset = next(self._offsets) if other else 0
        await _end(self._stub.ListRepos(repos_pb2.ListReposRequest(offset=offset, limit=1), timeout=DEADLINE))

    async def stream(self) -> None:
        """List a few in a stream."""
        request = repos_pb2.StreamReposRequest(page_size=1, start_offset=298)
        async for _ in self._stub.StreamRepos(request, timeout=DEADLINE):
            pass

    async def keep_calling(self, a_second: float, *, other: bool = True) -> None:
        """Call again and again, whether calls before have ended or not, until this is cancelled."""
        async with asyncio.TaskGroup() as calls:
            while True:
                calls.create_task(self.call(other=other))
                await asyncio.sleep(1 / a_second)

    async def call_in_a_row(self, count: int, *, at_once: int = 20, other: bool = True) -> None:
        """Make many calls, as fast as they are answered."""
        numbers = iter(range(count))

        async def some() -> None:
            for _ in numbers:
                await self.call(other=other)

        await asyncio.gather(*(some() for _ in range(at_once)))

    def workers(self) -> list[int]:
        """Return the processes of its workers."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def _end(call: grpc.aio.UnaryUnaryCall[repos_pb2.ListReposRequest, repos_pb2.ListReposResponse]) -> None:
    try:
        await call
    except grpc.aio.AioRpcError:
        return


@asynccontextmanager
async def serving(
    server: Server,
    job: str,
    *options: str,
    upstream: Upstream,
    reads: bool = True,
    trust: bytes | None = None,
    variables: Mapping[str, str] | None = None,
) -> AsyncIterator[Subject]:
    """Run a gateway that is scraped for the time of a `with` block.

    Args:
        server: Scrapes it.
        job: As which.
        options: Of `serve`.
        upstream: What it asks.
        reads: Whether somebody reads its log.
        trust: Whose certificate it has; None is no TLS.
        variables: Of its environment.
    """
    command = (sys.executable, "-m", "gateway", "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
    async with process(
        (*command, "--upstream-url", upstream.url, *options), Path(), variables or {}, reads=reads
    ) as told:
        [address] = re.findall(r"serving on ([\d.:]+)", told[1])
        [admin] = re.findall(r"operators on ([\d.:]+)", told[1])
        server.scrape(job, admin)
        async with _channel(address, trust) as channel:
            yield Subject(told[0], upstream, channel)


@asynccontextmanager
async def subject(server: Server, job: str, *options: str, reads: bool = True) -> AsyncIterator[Subject]:
    """Run a gateway without a credential, in front of an upstream of its own."""
    async with (
        playing() as upstream,
        serving(server, job, "--auth", "none", *options, upstream=upstream, reads=reads) as one,
    ):
        yield one


def _channel(address: str, trust: bytes | None) -> grpc.aio.Channel:
    if trust is None:
        return grpc.aio.insecure_channel(address, OPTIONS)
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(trust), OPTIONS)
