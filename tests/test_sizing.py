"""The memory that the manifests give a pod, and the unit its service, holds all that their settings let in at once."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from commands import Start
from gateway.settings.model import Settings
from gateway.swr.v1 import repos_pb2
from scripted_upstream import Request, Script, ScriptedUpstream, page

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "sizing.md").read_text(encoding="utf-8")
DEPLOY = ROOT / "deploy"
METHOD = "/gateway.swr.v1.RepoService/ListRepos"
ROWS = 1000
# A connection of its own for each channel: one that has much to read is refused further replies.
OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1))
# Pages that differ: rows that are known already take no memory.
PAGES = 8


def given(folder: str) -> dict[str, str]:
    """The settings that say how much is let in."""
    lines = (DEPLOY / folder / "settings.env").read_text(encoding="utf-8").splitlines()
    pairs = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: value for name, value in pairs.items() if re.search("_BYTES$|_MAX_", name)}


def limit_of_a_pod() -> int:
    deployment = yaml.safe_load((DEPLOY / "base" / "deployment.yaml").read_text(encoding="utf-8"))
    limit = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
    number, unit = re.fullmatch(r"(\d+)([MG])i", limit).groups()  # type: ignore[union-attr] # or it fails
    return int(number) * {"M": 2**20, "G": 2**30}[unit]


def limit_of_the_unit() -> int:
    """Beyond this one the process is slowed down, long before it is killed."""
    unit = (DEPLOY / "systemd" / "swr-gateway.service").read_text(encoding="utf-8")
    [limit] = re.findall(r"(?m)^MemoryHigh=(\d+)M$", unit)
    return int(limit) * 2**20


def settings(folder: str) -> Settings:
    prefix = "SWR_GATEWAY_"
    plain: dict[str, Any] = {name.removeprefix(prefix).lower(): value for name, value in given(folder).items()}
    return Settings(upstream_url="http://localhost", auth="none", **plain)


def body_of(number: int, size: int) -> bytes:
    """A page of 1000 rows that is exactly so large."""
    tags = [f"{number}-release-{tag:08}" for tag in range(size // ROWS // 32)]
    rows = [{"name": f"{number}-{row}", "namespace": "n", "tags": tags, "num_images": 1} for row in range(ROWS)]
    body = json.dumps(rows).encode()
    assert len(body) <= size
    return body[:-1] + b" " * (size - len(body)) + b"]"


def peak_bytes(pid: int) -> int:
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(peak) * 1024


@pytest.mark.parametrize(("folder", "limit"), [("base", limit_of_a_pod), ("systemd", limit_of_the_unit)])
def test_what_is_shipped_keeps_the_rule_of_the_docs(folder: str, limit: Callable[[], int]) -> None:
    [rest] = re.findall(r"a limit of (\d+) MiB plus `MAX_IN_FLIGHT` times `MAX_RESPONSE_BYTES`", PAGE)
    at_once = settings(folder).max_in_flight * settings(folder).max_response_bytes
    assert int(rest) * 2**20 + at_once <= limit()


async def test_a_pod_has_room_for_all_permits_with_the_largest_answers(
    start: Start, upstream: ScriptedUpstream
) -> None:
    size, at_once = settings("base").max_response_bytes, settings("base").max_in_flight
    bodies = [page(body_of(number, size)) for number in range(PAGES)]
    all_there = asyncio.Event()
    numbers = itertools.count(1)

    def arrived(_: Request) -> bytes:
        if next(numbers) == at_once:
            all_there.set()
        return b""

    def choose(request: Request) -> Script:
        answer = bodies[int(request.clause("offset")) % PAGES]
        return answer[:-1], arrived, all_there, answer[-1:]

    upstream.choose = choose
    gateway = await start(
        *("serve", "--upstream-url", upstream.url, "--auth", "none", "--listen", "127.0.0.1:0"),
        SWR_GATEWAY_WRITE_TIMEOUT="50m",
        **given("base"),
    )
    address = await gateway.logs(r"serving on ([\d.:]+)")
    async with AsyncExitStack() as stack:
        channels = [grpc.aio.insecure_channel(address, OPTIONS) for _ in range(at_once // 4)]
        # Replies are counted and dropped: this process needs no memory for them.
        ask: list[Any] = [
            (await stack.enter_async_context(channel)).unary_unary(
                METHOD, repos_pb2.ListReposRequest.SerializeToString, len
            )
            for channel in channels
        ]
        sizes = await asyncio.gather(
            *(
                ask[number % len(ask)](repos_pb2.ListReposRequest(offset=number, limit=ROWS))
                for number in range(at_once)
            )
        )
    assert min(sizes) > size / 2
    assert peak_bytes(gateway.process.pid) < limit_of_a_pod()
