"""Serves the page: the embedded upstream, a gateway and Envoy, on free ports of this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from gateway.logs import configure_logging
from gateway.server.gateway import Gateway
from gateway.settings.model import Auth, Settings
from gateway.simulator.app import make_app, running
from gateway.simulator.data import default_repositories

FOLDER = Path(__file__).parent
ENVOY = Path(sys.executable).with_name("envoy")
# Seconds between two questions whether Envoy is ready.
PAUSE = 0.05


@asynccontextmanager
async def serving(upstream: web.Application) -> AsyncIterator[str]:
    """Serve the page for the time of a `with` block, with a gateway in front of this upstream.

    Yields:
        The address for a browser.
    """
    async with running(upstream) as upstream_url:
        settings = Settings(
            upstream_url=upstream_url, auth=Auth.NONE, listen=("127.0.0.1:0",), admin_listen=None, drain_grace=1.0
        )
        async with Gateway(settings) as gateway, _envoy(gateway.addresses[0]) as url:
            yield url


@asynccontextmanager
async def _envoy(gateway: str) -> AsyncIterator[str]:
    with TemporaryDirectory() as folder:
        admin = Path(folder) / "admin"
        process = await asyncio.create_subprocess_exec(
            ENVOY,
            *("--config-yaml", json.dumps(_configuration(gateway)), "--admin-address-path", admin),
            *("--concurrency", "1", "--disable-hot-restart", "--log-level", "error"),
            cwd=FOLDER,
            stdin=DEVNULL,
            start_new_session=True,  # Ctrl-C is for whoever started it, who ends it in its turn
        )
        try:
            yield f"http://{await _listener(process, admin)}/"
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


def _configuration(gateway: str) -> Any:
    """Return envoy.yaml with free ports, and this gateway."""
    configuration = yaml.safe_load((FOLDER / "envoy.yaml").read_text())
    resources = configuration["static_resources"]
    (listener,), (cluster,) = resources["listeners"], resources["clusters"]
    (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    configuration["admin"]["address"]["socket_address"]["port_value"] = 0
    listener["address"]["socket_address"]["port_value"] = 0
    endpoint["endpoint"]["address"]["socket_address"]["port_value"] = int(gateway.rpartition(":")[2])
    return configuration


async def _listener(process: Process, admin: Path) -> str:
    """Wait until Envoy is ready; return the address that it listens on."""
    async with aiohttp.ClientSession() as session:
        while process.returncode is None:
            # Its file may be there before the address is in it, and the address before the listener.
            with suppress(OSError, aiohttp.ClientError, ValueError):
                return await _ask_listener(session, admin)
            await asyncio.sleep(PAUSE)
    raise RuntimeError(f"Envoy ended with exit code {process.returncode} before it was ready")


async def _ask_listener(session: aiohttp.ClientSession, admin: Path) -> str:
    url = f"http://{admin.read_text()}/listeners?format=json"  # noqa: ASYNC240 - a line in a small file
    async with session.get(url) as response:
        (status,) = json.loads(await response.text())["listener_statuses"]
    address = status["local_address"]["socket_address"]
    return f"{address['address']}:{address['port_value']}"


async def _demo() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(make_app(default_repositories())) as url:
        print(f"Open {url} in a browser. Ctrl-C ends it.", flush=True)
        await stop.wait()


if __name__ == "__main__":
    if not (FOLDER / "dist" / "main.js").exists():
        sys.exit("error: the page is not built: make demo-web does it, or npm ci and npm run build in clients/web")
    configure_logging("warning", "console")
    asyncio.run(_demo())
