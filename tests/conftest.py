"""What tests share: an upstream that plays bytes, a gateway in front of any upstream, and how a failure is read."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from hypothesis import Phase, settings

from commands import Ended, Run, Start, starter
from gateway.core import breaker
from gateway.files import reloading
from gateway.reliability import timeouts
from gateway.server.gateway import Gateway
from gateway.settings.model import Settings
from gateway.swr.v1.repos_pb2_grpc import RepoServiceStub
from gateway.telemetry import spans
from gateway.upstream import bodies, session
from gateway.upstream import iam_client as iam
from patience import AGES, PATIENT, Advance, advance_of
from scripted_upstream import ScriptedUpstream, scripted_upstream

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

Connect = Callable[..., Awaitable[grpc.aio.Channel]]


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """An upstream that plays bytes."""
    async with scripted_upstream() as running:
        yield running


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Start a gateway with any settings, and open a channel to it."""
    async with AsyncExitStack() as stack:

        async def start(
            upstream_url: str, *, channel_options: Sequence[tuple[str, Any]] = (), **given: Any
        ) -> grpc.aio.Channel:
            # One call is one request, unless a test wants it otherwise.
            defaults: dict[str, Any] = {
                "auth": "none",
                "listen": "127.0.0.1:0",
                "admin_listen": None,
                "drain_grace": "1s",
            }
            defaults |= {"retries": 0, "coalesce": False} | PATIENT
            gateway = await stack.enter_async_context(Gateway(Settings(upstream_url=upstream_url, **defaults | given)))
            return await stack.enter_async_context(grpc.aio.insecure_channel(gateway.addresses[0], channel_options))

        yield start


@pytest.fixture
async def advance() -> Advance:
    """Put the event loop's clock forward."""
    return advance_of(asyncio.get_running_loop())


@pytest.fixture
def patient_circuit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a circuit stay open for hours."""
    monkeypatch.setattr(breaker, "FIRST_COOL_DOWN", AGES)


@asynccontextmanager
async def settled_stub(upstream: ScriptedUpstream, **given: object) -> AsyncIterator[Any]:
    """A stub of a gateway that, when the context ends, has told operators of all calls: in log lines, in spans."""
    defaults = {"auth": "none", "listen": "127.0.0.1:0", "admin_listen": None, "upstream_url": upstream.url} | PATIENT
    async with Gateway(Settings.model_validate(defaults | given)) as running:
        channel = grpc.aio.insecure_channel(running.addresses[0])
        yield RepoServiceStub(channel)
    await channel.close()


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
