"""Envoy as a proxy in front of the upstream, set up as it should be for an upstream whose requests may be repeated."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp

BINARY = Path(sys.executable).with_name("envoy")

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_LOCAL = {"address": "127.0.0.1", "port_value": 0}


def command(upstream: str, attempt_timeout: float, timeout: float) -> tuple[str, ...]:
    """Return the command that runs it.

    Args:
        upstream: URL of what stands behind it.
        attempt_timeout: Seconds of one request.
        timeout: Seconds of a call, with all its requests.
    """
    configuration = {
        "admin": {"address": {"socket_address": _LOCAL}},
        "static_resources": {
            "listeners": [_listener(attempt_timeout, timeout)],
            "clusters": [_cluster(int(upstream.rpartition(":")[2]))],
        },
    }
    settings = ("--config-yaml", json.dumps(configuration), "--concurrency", "1", "--disable-hot-restart")
    return (str(BINARY), *settings, "--log-level", "info")


async def listens_on(admin: str) -> str:
    """Ask its admin address where calls go."""
    async with aiohttp.ClientSession(f"http://{admin}") as session:
        while True:
            async with session.get("/listeners?format=json") as response:
                if found := json.loads(await response.text()).get("listener_statuses"):
                    address = found[0]["local_address"]["socket_address"]
                    return f"{address['address']}:{address['port_value']}"
            await asyncio.sleep(0.05)


def _listener(attempt_timeout: float, timeout: float) -> dict[str, Any]:
    route = {
        "cluster": "upstream",
        "timeout": f"{timeout}s",
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,reset",
            "num_retries": 2,
            "per_try_timeout": f"{attempt_timeout}s",
        },
    }
    manager = {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "callers",
        "access_log": [_typed("envoy.access_loggers.stderr", "access_loggers.stream.v3.StderrAccessLog")],
        "route_config": {
            "virtual_hosts": [
                {"name": "upstream", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
            ]
        },
        "http_filters": [_typed("envoy.filters.http.router", "filters.http.router.v3.Router")],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {"name": "callers", "address": {"socket_address": _LOCAL}, "filter_chains": [{"filters": filters}]}


def _cluster(port: int) -> dict[str, Any]:
    endpoint = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}
    return {
        "name": "upstream",
        "type": "STATIC",
        "connect_timeout": "1s",
        # Its own answer to an upstream that fails; the default lets only three requests be sent again at a time.
        "outlier_detection": {"consecutive_5xx": 5},
        "circuit_breakers": {"thresholds": [{"max_retries": 100}]},
        "load_assignment": {
            "cluster_name": "upstream",
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
    }


def _typed(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"{_EXTENSIONS}.{kind}"}}
