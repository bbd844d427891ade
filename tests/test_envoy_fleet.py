"""Gateways as processes of their own, behind real Envoys: they drain and come back under load, and are killed."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from certificates import CA, Folder, pem_of
from commands import Command, Start
from envoy import CALLER, EDGE, GATEWAY, Edit, Envoy, channel_to, envoy
from failures import Failure, read_failure
from gateway.simulator.app import Faults, make_app, running
from gateway.simulator.data import default_repositories
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from patience import until
from ports import held_port
from scripted_upstream import ScriptedUpstream, page

# Under load: who calls, what there is to list, and how often each kind of call must succeed before a phase is believed.
CALLERS, READERS = 16, 4
REPOSITORIES = 60
MANY = {"call": 100, "stream": 10}

# Calls that are in flight when a gateway is killed, and flags of the gateway with which they may be held.
HELD = 24
PATIENT = ("--no-coalesce", "--timeout", "1h", "--attempt-timeout", "1h")


class Fleet:
    """Gateways, each of which can be started again where it was.

    Args:
        start: Starts a command.
        arguments: Flags of all gateways.
    """

    def __init__(self, start: Start, *arguments: str) -> None:
        self._start = start
        self._arguments = arguments
        self._running: dict[str, tuple[Command, asyncio.Task[Any]]] = {}

    @property
    def addresses(self) -> list[str]:
        return list(self._running)

    async def begin(self, address: str) -> None:
        """Start a gateway that listens there."""
        command = await self._start("serve", "--auth", "none", "--listen", address, *self._arguments)
        await command.logs(rf"serving on ({re.escape(address)}),")
        # What it logs from here on is read all the time, or it would wait for a reader at some point.
        self._running[address] = command, asyncio.create_task(command.process.communicate())

    def signal(self, address: str, number: signal.Signals) -> None:
        self._running[address][0].signal(number)

    async def ends(self, address: str) -> int | None:
        """Wait for its end; return its exit code."""
        command, reading = self._running[address]
        await reading
        return command.process.returncode

    async def stop(self) -> None:
        for command, reading in self._running.values():
            if command.process.returncode is None:
                command.signal(signal.SIGKILL)
            await reading


@asynccontextmanager
async def fleet(start: Start, size: int, upstream_url: str, *more: str) -> AsyncIterator[Fleet]:
    gateways = Fleet(start, "--upstream-url", upstream_url, *more)
    with ExitStack() as held:
        ports = [held.enter_context(held_port()) for _ in range(size)]
        try:
            await asyncio.gather(*(gateways.begin(f"127.0.0.1:{port}") for port in ports))
            yield gateways
        finally:
            await gateways.stop()


@pytest.fixture
def edge_only(tmp_path: Path) -> tuple[str, ...]:
    """Flags of a gateway that lets in the edge and nobody else, with mutual TLS."""
    files = Folder(tmp_path / "gateway", cert=GATEWAY.chain, key=GATEWAY.key, ca=pem_of(CA))
    paths = {"--tls-cert": "cert", "--tls-key": "key", "--tls-client-ca": "ca"}
    flags = [text for flag, name in paths.items() for text in (flag, str(files.path(name)))]
    return (*flags, "--tls-allowed-sans", "edge.corp.example")


@dataclass
class Load:
    """Callers who call back to back, and readers who read streams back to back; none of them retries.

    Attributes:
        succeeded: How many of each kind have so far: `call`, `stream`.
        broken: Streams that broke behind their headers and were resumed.
        failures: Whatever else went wrong.
    """

    stub: Any
    succeeded: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    failures: list[Failure] = field(default_factory=list)
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self, number: int) -> None:
        while True:
            number = (number + 1) % REPOSITORIES
            try:
                await self.stub.ListRepos(repos_pb2.ListReposRequest(offset=number, limit=1))
            except grpc.aio.AioRpcError as error:
                self._fail(error)
                return
            self._succeed("call")

    async def read(self) -> None:
        while True:
            request = repos_pb2.StreamReposRequest(page_size=10, start_offset=0)
            while request.start_offset < REPOSITORIES:
                start = request.start_offset
                try:
                    async for message in self.stub.StreamRepos(request):
                        request.start_offset = message.next_offset
                except grpc.aio.AioRpcError as error:
                    # Behind headers that came without a first message, all that is seen of a break is a reset.
                    is_reset = error.code() is grpc.StatusCode.INTERNAL and "RST_STREAM" in str(error.details())
                    if request.start_offset == start and not is_reset:
                        self._fail(error)
                        return
                    self.broken += 1
            self._succeed("stream")

    async def goes_on(self) -> None:
        """Wait until many more have succeeded."""
        goal = {kind: self.succeeded[kind] + many for kind, many in MANY.items()}
        while not self.failures and any(self.succeeded[kind] < many for kind, many in goal.items()):
            self.moved.clear()
            await self.moved.wait()
        assert self.failures == []

    def _succeed(self, kind: str) -> None:
        self.succeeded[kind] += 1
        self.moved.set()

    def _fail(self, error: grpc.aio.AioRpcError) -> None:
        self.failures.append(read_failure(error))
        self.moved.set()


@asynccontextmanager
async def load_on(edge: Envoy) -> AsyncIterator[Load]:
    async with channel_to(edge.address, name="edge.corp.example") as channel:
        load = Load(RepoServiceStub(channel))
        work = [*(load.call(number) for number in range(CALLERS)), *(load.read() for _ in range(READERS))]
        workers = [asyncio.create_task(one) for one in work]
        try:
            yield load
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)


async def test_no_call_fails_while_gateways_drain_and_come_back_and_one_is_killed(
    start: Start, edge_only: tuple[str, ...], tmp_path: Path
) -> None:
    async with (
        running(make_app(default_repositories(REPOSITORIES), Faults(latency=0.005))) as upstream_url,
        fleet(start, 3, upstream_url, *edge_only, "--drain-delay", "2s") as gateways,
        envoy("load-balancer", tmp_path / "edge", EDGE, gateways.addresses) as edge,
    ):
        everyone = gateways.addresses
        await edge.until_healthy(*everyone)
        async with load_on(edge) as load:
            await load.goes_on()
            for leaving in everyone:
                gateways.signal(leaving, signal.SIGTERM)
                await edge.until_healthy(*(set(everyone) - {leaving}))
                await load.goes_on()
                assert await gateways.ends(leaving) == 0
                await load.goes_on()
                await gateways.begin(leaving)
                await edge.until_healthy(*everyone)
                answered = (await edge.gateway(leaving))["rq_success"]
                await load.goes_on()
                assert (await edge.gateway(leaving))["rq_success"] > answered
            assert load.broken == 0
            killed, *others = everyone
            gateways.signal(killed, signal.SIGKILL)
            await load.goes_on()
            await edge.until_healthy(*others)
            await load.goes_on()
            # What has begun to arrive cannot be started over by Envoy: the reader resumes it.
            assert load.broken <= READERS


async def test_no_call_fails_while_connections_reach_their_age(
    start: Start, edge_only: tuple[str, ...], tmp_path: Path
) -> None:
    async with (
        running(make_app(default_repositories(REPOSITORIES), Faults(latency=0.005))) as upstream_url,
        fleet(start, 2, upstream_url, *edge_only, "--max-connection-age", "1s") as gateways,
        envoy("load-balancer", tmp_path / "edge", EDGE, gateways.addresses) as edge,
    ):

        async def both_told_to_go_away_twice() -> bool:
            return await edge.stat(r"cluster\.gateways\.upstream_cx_close_notify") >= 4

        await edge.until_healthy(*gateways.addresses)
        async with load_on(edge) as load:
            await until(both_told_to_go_away_twice)
            await load.goes_on()
            assert load.broken == 0


async def list_repos(stub: Any, number: int) -> None:
    await stub.ListRepos(repos_pb2.ListReposRequest(offset=number, limit=1))


async def stream_repos(stub: Any, number: int) -> None:
    assert [message async for message in stub.StreamRepos(repos_pb2.StreamReposRequest(page_size=10 + number))]


async def code_of(call: Awaitable[None]) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@asynccontextmanager
async def held_calls(
    channel: grpc.aio.Channel, upstream: ScriptedUpstream
) -> AsyncIterator[asyncio.Future[list[grpc.StatusCode]]]:
    """Begin calls of both kinds, and wait until the upstream has each of them; the future is how they end."""
    stub = RepoServiceStub(channel)
    calls = [kind(stub, number) for kind in (list_repos, stream_repos) for number in range(HELD // 2)]
    ends = asyncio.gather(*map(code_of, calls))
    try:
        await upstream.all_arrived(HELD)
        yield ends
    finally:
        ends.cancel()


async def busiest(proxy: Envoy, gateways: list[str]) -> tuple[str, int]:
    """Return the gateway with the most calls in flight, and how many these are."""
    active = {gateway: (await proxy.gateway(gateway))["rq_active"] for gateway in gateways}
    assert sum(active.values()) == HELD
    return max(active.items(), key=lambda item: item[1])


def without_retries(configuration: Any) -> None:
    (listener,) = configuration["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["route_config"]["virtual_hosts"][0]["retry_policy"]


@pytest.mark.parametrize("edit", [None, without_retries])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_of_the_calls_a_gateway_cuts_off_none_fails_and_without_retries_only_they_do(
    number: signal.Signals,
    edit: Edit | None,
    start: Start,
    edge_only: tuple[str, ...],
    upstream: ScriptedUpstream,
    tmp_path: Path,
) -> None:
    """It is killed, or its grace ends."""
    answer_now = asyncio.Event()
    upstream.play((answer_now, page('[{"name":"nginx"}]')))
    async with (
        fleet(start, 3, upstream.url, *edge_only, *PATIENT, "--drain-grace", "100ms") as gateways,
        envoy("load-balancer", tmp_path / "edge", EDGE, gateways.addresses, edit) as edge,
        channel_to(edge.address, name="edge.corp.example") as channel,
    ):
        await edge.until_healthy(*gateways.addresses)
        async with held_calls(channel, upstream) as ends:
            gone, in_flight = await busiest(edge, gateways.addresses)
            gateways.signal(gone, number)
            await gateways.ends(gone)
            if edit is None:
                await upstream.all_arrived(HELD + in_flight)
            answer_now.set()
            lost = in_flight if edit else 0
            expected = {grpc.StatusCode.OK: HELD - lost, grpc.StatusCode.UNAVAILABLE: lost}
            assert Counter(await ends) == Counter(expected)


async def test_calls_of_a_gateway_killed_behind_its_sidecar_go_to_another(
    start: Start, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """The sidecar lives, and answers for a gateway that is not there any more."""
    answer_now = asyncio.Event()
    upstream.play((answer_now, page('[{"name":"nginx"}]')))
    async with fleet(start, 2, upstream.url, *PATIENT) as gateways, AsyncExitStack() as stack:
        sidecars = [
            await stack.enter_async_context(envoy("sidecar", tmp_path / f"sidecar-{number}", GATEWAY, [gateway]))
            for number, gateway in enumerate(gateways.addresses)
        ]
        addresses = [sidecar.address for sidecar in sidecars]
        client = await stack.enter_async_context(envoy("client-sidecar", tmp_path / "client", CALLER, addresses))
        channel = await stack.enter_async_context(channel_to(client.address))
        await client.until_healthy(*addresses)
        async with held_calls(channel, upstream) as ends:
            sidecar, in_flight = await busiest(client, addresses)
            gateways.signal(gateways.addresses[addresses.index(sidecar)], signal.SIGKILL)
            await upstream.all_arrived(HELD + in_flight)
            answer_now.set()
            assert Counter(await ends) == Counter({grpc.StatusCode.OK: HELD})
        await client.until_healthy(*(set(addresses) - {sidecar}))
