"""What tests share: an upstream that plays bytes, a gateway in front of any upstream, and how a failure is read."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1.health_pb2_grpc import HealthStub
from hypothesis import Phase, settings

from commands import Ended, Run, Start, starter
from failures import Failure, failure_of
from gateway.core import breaker
from gateway.files import reloading
from gateway.reliability import timeouts
from gateway.server.gateway import Gateway
from gateway.settings.model import Settings
from gateway.swr.v1 import repos_pb2
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from gateway.telemetry import spans
from gateway.upstream import bodies, session
from gateway.upstream import iam_client as iam
from loops import Loop
from patience import AGES, PATIENT, Advance, advance_of, until
from scripted_upstream import ScriptedUpstream, scripted_upstream

# gRPC would ask the environment's proxy for gateways of this machine, too.
for variable in ("grpc_proxy", "https_proxy", "http_proxy"):
    os.environ.pop(variable, None)

# What a shell runs in the background ignores interrupts, and so do the commands that it starts in turn.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Each example of a property takes as long as the machine lets it.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
# `make mutants` wants to know whether a test fails, the same each time, and not by how small an example.
settings.register_profile(
    "mutants", deadline=None, derandomize=True, database=None, phases=(Phase.explicit, Phase.generate)
)

# What changes a file is seen by whoever asks next.
reloading.PAUSE = 0.0

# So does what the gateway waits for; where such a limit is what a test is about, the test sets it.
reloading.PATIENCE = bodies.ERROR_BODY_TIMEOUT = session.CONNECT_TIMEOUT = iam.TIMEOUT = spans.CLOSE_TIMEOUT = AGES
# No timer is so late that the gateway must have stood still.
timeouts.LATE = AGES

# Settings of a test's gateway: one call is one request, and no limit of its own ends it, unless a test gives others.
PLAIN: dict[str, Any] = {
    **PATIENT,
    "auth": "none",
    "listen": "127.0.0.1:0",
    "admin_listen": None,
    "drain_grace": "1s",
    "retries": 0,
    "coalesce": False,
}
# For tests that ask what operators ask.
OPERATED = {"admin_listen": "127.0.0.1:0"}


@dataclass
class Served:
    """A running gateway, as its callers and its operators have it.

    Attributes:
        gateway: The gateway itself.
        channel: A channel to it, in plain text.
    """

    gateway: Gateway
    channel: Any
    _gateway_open: AsyncExitStack

    def __post_init__(self) -> None:
        self.address = self.gateway.addresses[0]
        self.stub: Any = RepoServiceStub(self.channel)
        self.health: Any = HealthStub(self.channel)

    def list(self, name: str = "", **options: Any) -> Any:
        """Begin to list the repositories of a name."""
        return self.stub.ListRepos(repos_pb2.ListReposRequest(filter=repos_pb2.RepoFilter(name=name)), **options)

    async def fail(self, name: str = "", **options: Any) -> Failure:
        """List them, which must fail."""
        return await failure_of(self.list(name, **options))

    def metric(self, name: str, **labels: str) -> float:
        """Return a metric as it stands, summed over the labels that are not given; it stays after the end."""
        full_name = f"swr_gateway_{name}"
        collector = self.gateway._metrics.registry._names_to_collectors[full_name]  # no such name is an error, not a 0
        samples = [sample for family in collector.collect() for sample in family.samples if sample.name == full_name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    async def until(self, **numbers: float) -> None:
        """Wait until metrics are so much, all of them at once."""
        await until(lambda: all(self.metric(name) == number for name, number in numbers.items()))

    async def ask(self, path: str) -> tuple[int, str]:
        """Ask as an operator does, of a gateway that is `OPERATED`; return the status and the text."""
        async with aiohttp.request("GET", f"http://{self.gateway.admin_address}{path}") as response:
            return response.status, await response.text()

    async def drain(self) -> None:
        """End it now, and not with the test: calls have been told of in all log lines, spans and metrics then."""
        await self._gateway_open.aclose()


Serve = Callable[..., Awaitable[Served]]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], Loop]]:
    """Have each test run on a loop of its own that ends with it."""
    return {"asyncio": Loop}


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """An upstream that plays bytes."""
    async with scripted_upstream() as running:
        yield running


@pytest.fixture
async def serve(upstream: ScriptedUpstream) -> AsyncIterator[Serve]:
    """Start gateways in front of the upstream, plain but for the settings that are given; they end with the test.

    As in `served = await serve(retries=2)`. A file whose tests all give the same has a fixture of that name of its own,
    which returns `partial(serve, retries=2)`.
    """
    async with AsyncExitStack() as stack:

        async def start(*, channel_options: Sequence[tuple[str, Any]] = (), **given: Any) -> Served:
            gateway = Gateway(Settings(**{"upstream_url": upstream.url} | PLAIN | given))
            gateway_open = await stack.enter_async_context(AsyncExitStack())
            await gateway_open.enter_async_context(gateway)
            channel = grpc.aio.insecure_channel(gateway.addresses[0], channel_options)
            return Served(gateway, await stack.enter_async_context(channel), gateway_open)

        yield start


@pytest.fixture
async def advance() -> Advance:
    """Put the event loop's clock forward."""
    return advance_of(asyncio.get_running_loop())


@pytest.fixture
def patient_circuit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a circuit stay open for hours."""
    monkeypatch.setattr(breaker, "FIRST_COOL_DOWN", AGES)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with starter() as start:
        yield start


@pytest.fixture
def run(start: Start) -> Run:
    """Run a command to its end."""

    async def run(*arguments: str, **variables: Any) -> Ended:
        return await (await start(*arguments, **variables)).ends()

    return run
