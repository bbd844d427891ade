"""What is put into an unlucky world: the gateway of a tree, and beside it Envoy and a Go service."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.chaos import envoy
from benchmarks.chaos.callers import HttpCaller
from benchmarks.chaos.serving import Served, addresses_in, process

GATEWAY, ENVOY, GO = "gateway", "Envoy", "Go"

# Seconds of one request to the upstream, and of a call: the gateway's defaults, and the others' settings.
ATTEMPT_TIMEOUT, TIMEOUT = 5, 15

ROOT = Path(__file__).parents[2]
# Where calls and operators are answered.
_LOCAL = ("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")

Variables = Mapping[str, str]


class Subject(Protocol):
    """What calls go through.

    Attributes:
        kind: GATEWAY, ENVOY or GO.
        name: Its column in the table.
    """

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str: ...

    def serve(
        self, upstream: str, *flags: str, reads: bool = True, variables: Variables | None = None
    ) -> AbstractAsyncContextManager[Served]:
        """Serve for the time of a `with` block.

        Args:
            upstream: Its URL.
            flags: Of a gateway's command line, which mean nothing to others.
            reads: Whether somebody reads its standard error.
            variables: Of its environment.
        """
        ...


@dataclass(frozen=True)
class Gateway:
    """The gateway of a tree, with what this interpreter has installed."""

    name: str
    tree: Path = ROOT
    kind: str = GATEWAY

    @asynccontextmanager
    async def serve(
        self, upstream: str, *flags: str, reads: bool = True, variables: Variables | None = None
    ) -> AsyncIterator[Served]:
        command = (sys.executable, "-m", "gateway", "serve", *_LOCAL, "--upstream-url", upstream, *flags)
        environment = {"PYTHONPATH": str(self.tree), **(variables or {})}
        async with process(command, self.tree, environment, reads=reads) as (started, line):
            address, _, admin = addresses_in(line)
            async with Served(started, address, admin) as served:
                yield served


@dataclass(frozen=True)
class Envoy:
    """A proxy for HTTP: its callers send the upstream's own requests."""

    name: str = ENVOY
    kind: str = ENVOY

    @asynccontextmanager
    async def serve(
        self, upstream: str, *flags: str, reads: bool = True, variables: Variables | None = None
    ) -> AsyncIterator[Served]:
        command = envoy.command(upstream, ATTEMPT_TIMEOUT, TIMEOUT)
        async with process(command, ROOT, variables or {}, reads=reads) as (started, line):
            address = await envoy.listens_on(addresses_in(line)[0])
            async with Served(started, address, dial=HttpCaller) as served:
                yield served


@dataclass(frozen=True)
class GoService:
    """A service by hand: grpc-go and net/http, with their defaults."""

    binary: Path
    name: str = GO
    kind: str = GO

    @asynccontextmanager
    async def serve(
        self, upstream: str, *flags: str, reads: bool = True, variables: Variables | None = None
    ) -> AsyncIterator[Served]:
        command = (str(self.binary), "-upstream", upstream, "-timeout", f"{TIMEOUT}s")
        async with process(command, ROOT, variables or {}, reads=reads) as (started, line):
            async with Served(started, addresses_in(line)[0]) as served:
                yield served
