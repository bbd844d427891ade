"""What is put into an unlucky world: the gateway of a tree, and beside it Envoy and a Go service."""

from __future__ import annotations

import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos import envoy
from benchmarks.chaos.callers import HttpCaller
from benchmarks.chaos.serving import Served, addresses_in, process
from benchmarks.trees import ROOT

GATEWAY, ENVOY, GO = "gateway", "Envoy", "Go"

# Seconds of one request to the upstream, and of a call: the gateway's defaults, and the others' settings.
ATTEMPT_TIMEOUT, TIMEOUT = 5, 15

GO_BINARY = ROOT / ".tools" / "bin" / "gosvc"

_ANY_PORTS = ("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")


@dataclass(frozen=True)
class Subject:
    """What calls go through.

    Attributes:
        kind: GATEWAY, ENVOY or GO.
        name: Its column in the table.
        command: Makes a command line of the upstream's URL and of flags.
        find: Finds out where it serves, by the first line with an address that it says.
        folder: Where it runs, and where Python looks for its modules.
    """

    kind: str
    name: str
    command: Callable[[str, tuple[str, ...]], tuple[str, ...]]
    find: Callable[[Process, str], Awaitable[Served]]
    folder: Path = ROOT

    @asynccontextmanager
    async def serve(
        self, upstream: str, *flags: str, reads: bool = True, variables: Mapping[str, str] | None = None
    ) -> AsyncIterator[Served]:
        """Serve for the time of a `with` block.

        Args:
            upstream: Its URL.
            flags: Of a gateway's command line, which mean nothing to others.
            reads: Whether somebody reads its standard error.
            variables: Of its environment.
        """
        environment = {"PYTHONPATH": str(self.folder), **(variables or {})}
        async with (
            process(self.command(upstream, flags), self.folder, environment, reads=reads) as (started, line),
            await self.find(started, line) as served,
        ):
            yield served


def gateway(name: str, tree: Path = ROOT) -> Subject:
    """Return the gateway of a tree, with what this interpreter has installed."""

    def command(upstream: str, flags: tuple[str, ...]) -> tuple[str, ...]:
        return (sys.executable, "-m", "gateway", "serve", *_ANY_PORTS, "--upstream-url", upstream, *flags)

    async def find(started: Process, line: str) -> Served:
        address, _, admin = addresses_in(line)
        return Served(started, address, admin)

    return Subject(GATEWAY, name, command, find, tree)


def proxy() -> Subject:
    """Return Envoy: a proxy for HTTP, so its callers send the upstream's own requests."""

    def command(upstream: str, _: tuple[str, ...]) -> tuple[str, ...]:
        return envoy.command(upstream, ATTEMPT_TIMEOUT, TIMEOUT)

    async def find(started: Process, line: str) -> Served:
        (admin,) = addresses_in(line)
        return Served(started, await envoy.listens_on(admin), dial=HttpCaller)

    return Subject(ENVOY, ENVOY, command, find)


def go_service() -> Subject:
    """Return a gateway by hand: grpc-go and net/http."""

    def command(upstream: str, _: tuple[str, ...]) -> tuple[str, ...]:
        return (str(GO_BINARY), "-upstream", upstream, "-timeout", f"{TIMEOUT}s")

    async def find(started: Process, line: str) -> Served:
        (address,) = addresses_in(line)
        return Served(started, address)

    return Subject(GO, GO, command, find)
