"""What tests of the client share. They run without the gateway's packages: a gateway is a process of another Python."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from commands import Start, starter
from in_threads import InThreads, Kind
from loops import Loop
from patience import Advance, advance_of
from swr_gateway_client import Client

# gRPC would ask the environment's proxy for gateways of this machine, too.
for variable in ("grpc_proxy", "https_proxy", "http_proxy"):
    os.environ.pop(variable, None)


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], Loop]]:
    """Have each test run on a loop of its own that ends with it."""
    return {"asyncio": Loop}


@pytest.fixture(params=[Client, InThreads], ids=["with a loop", "without"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Choose a client: what a test promises of one holds for the other."""
    chosen: Kind = request.param
    return chosen


@pytest.fixture
async def advance() -> Advance:
    """Put the event loop's clock forward."""
    return advance_of(asyncio.get_running_loop())


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with starter() as start:
        yield start
