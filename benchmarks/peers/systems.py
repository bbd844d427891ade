"""What is compared: the gateway of a tree, two by hand in Go, Envoy, and the bounds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import envoy
from benchmarks.peers.load import BINARIES
from benchmarks.process import SERVE
from benchmarks.trees import ROOT

WARM, COLD = "gateway", "gateway cold"
BEFORE, BEFORE_COLD = "before", "before cold"
GOHAND, GOSONIC, ENVOY = "gohand", "gosonic", "envoy"
ECHO, CLIENT = "echo", "client"

# Pages and rows are converted each time that they come.
NO_MEMO = ("--row-memo-bytes", "0")


@dataclass(frozen=True)
class System:
    """Something that answers calls, or in the case of a client makes them itself.

    Attributes:
        name: Its row in the tables.
        job: What it does of a gateway's job.
        command: Makes its command line of the upstream's URL.
        folder: Where it runs, and where Python looks for its modules.
    """

    name: str
    job: str
    command: Callable[[str], Sequence[str]]
    folder: Path = ROOT


def gateway(name: str, *flags: str, job: str = "", tree: Path = ROOT) -> System:
    """Return the gateway of a tree, with what this interpreter has installed."""
    return System(name, job, lambda upstream: (sys.executable, *SERVE, "--upstream-url", upstream, *flags), tree)


def systems(base: Path | None) -> Iterator[System]:
    """Yield all of them, with the gateway of another tree where there is one."""
    yield gateway(WARM, job="all, with deadlines, retries, limits, metrics; has seen the pages before")
    yield gateway(COLD, *NO_MEMO, job="the same, remembers neither pages nor rows")
    if base:
        yield gateway(BEFORE, job="the gateway of the other commit", tree=base)
        yield gateway(BEFORE_COLD, *NO_MEMO, job="the same, remembers neither pages nor rows", tree=base)
    yield System(GOHAND, "filter, Content-Range, error codes; net/http, encoding/json", _by_hand(GOHAND))
    yield System(GOSONIC, "the same, with bytedance/sonic", _by_hand(GOSONIC))
    yield System(ENVOY, "Content-Range by Lua, error codes; builds no filter", envoy.command)
    yield System(ECHO, "nothing: grpc.aio with ready replies", _bound("echo"))
    yield System(CLIENT, "nothing: aiohttp, no gRPC, parses no page", _bound("client"))


def _by_hand(name: str) -> Callable[[str], Sequence[str]]:
    return lambda upstream: (str(BINARIES / name), "-upstream", upstream)


def _bound(name: str) -> Callable[[str], Sequence[str]]:
    return lambda upstream: (sys.executable, "-m", "benchmarks.peers.bounds", name, upstream)
