"""Runs the Envoy configurations that are shipped: other addresses and certificates, and all the rest as it stands."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import yaml

from certificates import CA, Mount, Pair, issue, issue_named, pem_of
from patience import until

SHIPPED = Path(__file__).parents[1] / "deploy" / "envoy"
BINARY = Path(sys.executable).with_name("envoy")
# Envoy's own limits, in seconds and not 0, which a machine that stands still for a while would outlast.
LIMITS = re.compile(r"\w*timeout|max_stream_duration|grpc_timeout_header_max")

# The names that the configurations look for.
EDGE = issue("edge.corp.example")
GATEWAY = issue("gateway.corp.example")
CALLER = issue_named("URI:spiffe://corp.example/ns/billing/sa/api")

Edit = Callable[[Any], object]


@dataclass(frozen=True)
class Envoy:
    """An Envoy that runs.

    Attributes:
        address: Where it listens.
        tls: Its certificate, key and authority.
        admin: A session with its admin address.
    """

    address: str
    tls: Mount
    admin: aiohttp.ClientSession

    async def gateway(self, address: str) -> dict[str, Any]:
        """Return what it knows of a gateway: its health, and numbers such as `rq_active` and `rq_success`."""
        return (await self._gateways())[address]

    async def stat(self, pattern: str) -> int:
        """Return a number of its own."""
        (found,) = (await _ask(self.admin, f"/stats?format=json&filter=^{pattern}$"))["stats"]
        return int(found["value"])

    async def until_counted(self, pattern: str) -> None:
        """Wait until a number of its own is more than 0: a thread of its own may count a moment after it has acted."""

        async def counted() -> bool:
            return await self.stat(pattern) > 0

        await until(counted)

    async def until_healthy(self, *gateways: str) -> None:
        """Wait until it sends calls to exactly these."""

        async def healthy() -> bool:
            known = await self._gateways()
            return {address for address, facts in known.items() if _is_healthy(facts)} == set(gateways)

        await until(healthy)

    async def _gateways(self) -> dict[str, dict[str, Any]]:
        clusters = (await _ask(self.admin, "/clusters?format=json"))["cluster_statuses"]
        return {
            _read(host["address"]): host["health_status"]
            | {stat["name"]: int(stat.get("value", 0)) for stat in host["stats"]}
            for cluster in clusters
            for host in cluster.get("host_statuses", ())
        }


@asynccontextmanager
async def envoy(
    name: str, folder: Path, identity: Pair, gateways: Sequence[str], edit: Edit | None = None
) -> AsyncIterator[Envoy]:
    """Run a configuration for the time of a `with` block.

    Args:
        name: Which one, without `.yaml`.
        folder: What it runs in; made here. Its `access.log` has a line a call once it has ended.
        identity: Its certificate.
        gateways: `host:port` of what stands behind it.
        edit: Changes it further.
    """
    assert BINARY.exists(), f"no {BINARY}: Envoy is one of the locked dependencies of the tests"
    tls = _render(name, folder, identity, gateways, edit)
    with (folder / "access.log").open("wb") as access_log, (folder / "envoy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            BINARY,
            *("-c", "envoy.yaml", "--admin-address-path", "admin"),
            *("--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"),
            cwd=folder,
            stdin=DEVNULL,
            stdout=access_log,
            stderr=log,
        )
        try:
            async with aiohttp.ClientSession(await _ready(process, folder)) as admin:
                (listener,) = (await _ask(admin, "/listeners?format=json"))["listener_statuses"]
                yield Envoy(_read(listener["local_address"]), tls, admin)
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


def channel_to(address: str, caller: Pair | None = None, *, name: str = "") -> grpc.aio.Channel:
    """Open a channel with a connection of its own, which retries nothing.

    Args:
        address: Where to.
        caller: The caller's certificate.
        name: Speak TLS, and look for this name in the certificate; plain text without one.
    """
    options: list[tuple[str, Any]] = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    if not name:
        return grpc.aio.insecure_channel(address, options)
    pair = (caller.key, caller.chain) if caller else (None, None)
    options.append(("grpc.ssl_target_name_override", name))
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(pem_of(CA), *pair), options)


def _render(name: str, folder: Path, identity: Pair, gateways: Sequence[str], edit: Edit | None) -> Mount:
    shutil.copytree(SHIPPED / "sds", folder / "sds")
    tls = Mount(folder / "tls", **{"tls.crt": identity.chain, "tls.key": identity.key, "ca.crt": pem_of(CA)})
    configuration = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())
    resources = configuration["static_resources"]
    for listener in (configuration["admin"], *resources["listeners"]):
        _write(listener["address"], "127.0.0.1:0")
    (cluster,) = resources["clusters"]
    (locality,) = cluster["load_assignment"]["endpoints"]
    first = locality["lb_endpoints"][0]
    locality["lb_endpoints"] = [deepcopy(first) for _ in gateways]
    for endpoint, gateway in zip(locality["lb_endpoints"], gateways, strict=True):
        _write(endpoint["endpoint"]["address"], gateway)
    _be_patient(configuration)
    if edit:
        edit(configuration)
    (folder / "envoy.yaml").write_text(yaml.safe_dump(configuration))
    return tls


def _be_patient(part: Any) -> None:
    """Let nothing be given up that takes a while."""
    for name, inner in part.items() if isinstance(part, dict) else enumerate(part):
        if isinstance(inner, dict | list):
            _be_patient(inner)
        elif LIMITS.fullmatch(str(name)) and inner != "0s":
            part[name] = "3600s"


async def _ready(process: Process, folder: Path) -> str:
    """Wait until it is; return the URL of its admin address."""
    url = ""

    async def ready() -> bool:
        nonlocal url
        assert process.returncode is None, _text(folder / "envoy.log")
        url = f"http://{_text(folder / 'admin')}"
        with suppress(aiohttp.ClientConnectionError, aiohttp.InvalidURL):
            async with aiohttp.ClientSession() as session, session.get(f"{url}/ready") as response:
                return response.status == 200
        return False

    await until(ready)
    return url


async def _ask(admin: aiohttp.ClientSession, path: str) -> Any:
    async with admin.get(path) as response:
        response.raise_for_status()
        return json.loads(await response.text())


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _write(address: dict[str, Any], target: str) -> None:
    host, _, port = target.rpartition(":")
    address["socket_address"] = {"address": host, "port_value": int(port)}


def _read(address: dict[str, Any]) -> str:
    return f"{address['socket_address']['address']}:{address['socket_address']['port_value']}"


def _is_healthy(facts: dict[str, Any]) -> bool:
    troubles = ("failed_active_health_check", "failed_outlier_check", "pending_active_hc")
    return facts["eds_health_status"] == "HEALTHY" and not any(facts.get(trouble) for trouble in troubles)
